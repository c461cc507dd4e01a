#include "kernels/cuda/matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"

namespace spd::cuda {

namespace {

constexpr std::size_t kWorkspace = 32 << 20;  // what NVIDIA recommends for compute capability 9

cudaDataType_t type_of(DType type) {
  return type == DType::f32 ? CUDA_R_32F : type == DType::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}

/// What the library may count on, up to what it gains from.
std::uint32_t alignment_of(const void* data) {
  constexpr std::uint32_t kMost = 16;
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  std::uint32_t alignment = kMost;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

}  // namespace

CublasLtFunctions::CublasLtFunctions(const Library& library) {
  library.bind(create, "cublasLtCreate");
  library.bind(destroy, "cublasLtDestroy");
  library.bind(status_string, "cublasLtGetStatusString");
  library.bind(desc_create, "cublasLtMatmulDescCreate");
  library.bind(desc_set, "cublasLtMatmulDescSetAttribute");
  library.bind(desc_destroy, "cublasLtMatmulDescDestroy");
  library.bind(layout_create, "cublasLtMatrixLayoutCreate");
  library.bind(layout_destroy, "cublasLtMatrixLayoutDestroy");
  library.bind(preference_create, "cublasLtMatmulPreferenceCreate");
  library.bind(preference_set, "cublasLtMatmulPreferenceSetAttribute");
  library.bind(preference_destroy, "cublasLtMatmulPreferenceDestroy");
  library.bind(heuristic, "cublasLtMatmulAlgoGetHeuristic");
  library.bind(matmul, "cublasLtMatmul");
}

struct Matmul::Plan {
  const CublasLtFunctions& lt;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, y = nullptr;
  cublasLtMatmulAlgo_t algo{};

  explicit Plan(const CublasLtFunctions& functions) : lt(functions) {}
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (desc) lt.desc_destroy(desc);
    for (cublasLtMatrixLayout_t layout : {a, b, y}) {
      if (layout) lt.layout_destroy(layout);
    }
  }
};

Matmul::Matmul(Device& device)
    : library_("libcublasLt.so.13", "nvidia-cublas"),
      lt_(library_),
      workspace_(device, kWorkspace) {
  check(lt_.create(&handle_), "cublasLtCreate");
}

Matmul::~Matmul() {
  plans_.clear();
  if (handle_) lt_.destroy(handle_);
}

void Matmul::check(cublasStatus_t status, const char* what) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorCode::device,
              fmt::format("{} of {}: {}", what, library_.path(), lt_.status_string(status)),
              "see whether nvidia-smi lists the GPU and enough memory is free");
}

const Matmul::Plan& Matmul::plan_for(const Product& p) {
  const std::array alignments = {alignment_of(p.a.data), alignment_of(p.b.data), alignment_of(p.y)};
  const ShapeKey key{static_cast<std::int64_t>(p.type),
                     p.a.rows,
                     p.a.cols,
                     p.a.stride,
                     p.a.transposed ? 1 : 0,
                     p.b.rows,
                     p.b.cols,
                     p.b.stride,
                     p.b.transposed ? 1 : 0,
                     p.y_stride,
                     alignments[0],
                     alignments[1],
                     alignments[2]};
  if (const auto found = plans_.find(key); found != plans_.end()) return *found->second;
  auto plan = std::make_unique<Plan>(lt_);
  check(lt_.desc_create(&plan->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  const auto turn = [&](cublasLtMatmulDescAttributes_t attribute, bool transposed) {
    const cublasOperation_t operation = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(lt_.desc_set(plan->desc, attribute, &operation, sizeof operation),
          "cublasLtMatmulDescSetAttribute");
  };
  turn(CUBLASLT_MATMUL_DESC_TRANSA, p.a.transposed);
  turn(CUBLASLT_MATMUL_DESC_TRANSB, p.b.transposed);
  const auto layout = [&](cublasLtMatrixLayout_t& to, DType type, std::int64_t rows,
                          std::int64_t cols, std::int64_t stride) {
    check(lt_.layout_create(&to, type_of(type), static_cast<std::uint64_t>(rows),
                            static_cast<std::uint64_t>(cols), std::max(stride, rows)),
          "cublasLtMatrixLayoutCreate");
  };
  layout(plan->a, p.type, p.a.rows, p.a.cols, p.a.stride);
  layout(plan->b, p.type, p.b.rows, p.b.cols, p.b.stride);
  layout(plan->y, DType::f32, p.rows(), p.cols(), p.y_stride);

  cublasLtMatmulPreference_t preference = nullptr;
  check(lt_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, decltype(lt_.preference_destroy)> owned(
      preference, lt_.preference_destroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(lt_.preference_set(preference, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments[0]);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments[1]);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments[2]);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments[2]);
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  check(lt_.heuristic(handle_, plan->desc, plan->a, plan->b, plan->y, plan->y, preference, 1,
                      &result, &found),
        "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic");
  plan->algo = result.algo;
  return *plans_.emplace(key, std::move(plan)).first->second;
}

void Matmul::run(const Product& p, const Queue& queue) {
  const Plan& plan = plan_for(p);
  const float one = 1.0f, beta = p.accumulate ? 1.0f : 0.0f;
  check(lt_.matmul(handle_, plan.desc, &one, p.a.data, plan.a, p.b.data, plan.b, &beta, p.y, plan.y,
                   p.y, plan.y, &plan.algo, workspace_.data(), workspace_.bytes(), queue.stream),
        "cublasLtMatmul");
}

}  // namespace spd::cuda

#include "kernels/cuda/matmul.h"

#include <fmt/format.h>

#include "kernels/device/error.h"

namespace spd::cuda {

namespace {

constexpr std::size_t kWorkspace = 32 << 20;  // what NVIDIA recommends for compute capability 9

cudaDataType_t type_of(DType type) {
  return type == DType::f32 ? CUDA_R_32F : type == DType::bf16 ? CUDA_R_16BF : CUDA_R_16F;
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

/// cuBLAS counts columns first: our row-major matrices are the transposes of its own, so that y^T =
/// weight * x^T with the weight read transposed.
struct Matmul::Plan {
  const CublasLtFunctions& lt;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, x = nullptr, y = nullptr;
  cublasLtMatmulAlgo_t algo{};

  explicit Plan(const CublasLtFunctions& functions) : lt(functions) {}
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (desc) lt.desc_destroy(desc);
    for (cublasLtMatrixLayout_t layout : {weight, x, y}) {
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

const Matmul::Plan& Matmul::plan_for(const Product& p, bool aligned) {
  const ShapeKey key{p.type,     p.tokens,        p.rows,     p.cols,
                     p.x_stride, p.weight_stride, p.y_stride, aligned};
  if (const auto found = plans_.find(key); found != plans_.end()) return *found->second;
  auto plan = std::make_unique<Plan>(lt_);
  check(lt_.desc_create(&plan->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  check(lt_.desc_set(plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
        "cublasLtMatmulDescSetAttribute");
  const auto layout = [&](cublasLtMatrixLayout_t& to, DType type, std::int64_t rows,
                          std::int64_t cols, std::int64_t stride) {
    check(lt_.layout_create(&to, type_of(type), static_cast<std::uint64_t>(rows),
                            static_cast<std::uint64_t>(cols), stride),
          "cublasLtMatrixLayoutCreate");
  };
  layout(plan->weight, p.type, p.cols, p.rows, p.weight_stride);
  layout(plan->x, p.type, p.cols, p.tokens, p.x_stride);
  layout(plan->y, DType::f32, p.rows, p.tokens, p.y_stride);

  cublasLtMatmulPreference_t preference = nullptr;
  check(lt_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, decltype(lt_.preference_destroy)> owned(
      preference, lt_.preference_destroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(lt_.preference_set(preference, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  const std::uint32_t alignment = aligned ? 16 : 4;
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    prefer(attribute, alignment);
  }
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  check(lt_.heuristic(handle_, plan->desc, plan->weight, plan->x, plan->y, plan->y, preference, 1,
                      &result, &found),
        "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic");
  plan->algo = result.algo;
  return *plans_.emplace(key, std::move(plan)).first->second;
}

void Matmul::run(const Product& p, const Queue& queue) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(p.y) % 16 == 0 && p.y_stride % 4 == 0;
  const Plan& plan = plan_for(p, aligned);
  const float one = 1.0f, beta = p.accumulate ? 1.0f : 0.0f;
  check(lt_.matmul(handle_, plan.desc, &one, p.weight, plan.weight, p.x, plan.x, &beta, p.y, plan.y,
                   p.y, plan.y, &plan.algo, workspace_.data(), workspace_.bytes(), queue.stream),
        "cublasLtMatmul");
}

}  // namespace spd::cuda

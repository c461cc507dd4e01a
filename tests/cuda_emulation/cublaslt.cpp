// cuBLASLt's matrix product, on OpenBLAS: f32 sums of f32, bf16 or f16. Refuses what the library
// refuses: leading dimensions that are too short, pointers that are not aligned as was promised.
#include <cblas.h>
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>
#include <vector>

#include "tests/cuda_emulation/access.h"
#include "tests/cuda_emulation/call.h"
#include "tests/cuda_emulation/capture.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/streams.h"

using namespace cuda_emulation;

namespace {

struct Desc {
  bool transposed_a = false, transposed_b = false;
};

struct Layout {
  cudaDataType type;
  std::uint64_t rows, cols;
  std::int64_t stride;
  std::size_t element() const { return type == CUDA_R_32F ? 4 : 2; }
};

struct Preference {
  std::uint64_t workspace = 0;
  std::uint32_t alignment_a = 256, alignment_b = 256, alignment_d = 256;
};

template <class T>
T* behind(const void* handle) {
  return const_cast<T*>(static_cast<const T*>(handle));
}

/// Notes what is read, column by column, and converts it to f32 without gaps.
std::vector<float> gather(Operation& op, const void* data, const Layout& layout) {
  std::vector<float> values(layout.rows * layout.cols);
  for (std::uint64_t c = 0; c < layout.cols; ++c) {
    const auto* const column =
        static_cast<const std::byte*>(data) +
        static_cast<std::int64_t>(c) * layout.stride * static_cast<std::int64_t>(layout.element());
    note_range(op, column, layout.rows * layout.element(), false);
    float* const to = values.data() + c * layout.rows;
    for (std::uint64_t r = 0; r < layout.rows; ++r) {
      if (layout.type == CUDA_R_32F) {
        to[r] = reinterpret_cast<const float*>(column)[r];
      } else if (layout.type == CUDA_R_16BF) {
        to[r] = __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(column)[r]);
      } else {
        to[r] = __half2float(reinterpret_cast<const __half*>(column)[r]);
      }
    }
  }
  return values;
}

struct Product {
  Desc desc;
  Layout a, b, d;
  const void *a_data, *b_data;
  float* d_data;
  float alpha, beta;
};

void run(Operation& op, const Product& p) {
  const std::vector<float> a = gather(op, p.a_data, p.a), b = gather(op, p.b_data, p.b);
  const auto m = static_cast<int>(p.d.rows), n = static_cast<int>(p.d.cols);
  const auto k = static_cast<int>(p.desc.transposed_a ? p.a.rows : p.a.cols);
  for (std::uint64_t c = 0; c < p.d.cols; ++c) {
    float* const column = p.d_data + static_cast<std::int64_t>(c) * p.d.stride;
    if (p.beta != 0.0f) note_range(op, column, p.d.rows * sizeof(float), false);
    note_range(op, column, p.d.rows * sizeof(float), true);
  }
  cblas_sgemm(CblasColMajor, p.desc.transposed_a ? CblasTrans : CblasNoTrans,
              p.desc.transposed_b ? CblasTrans : CblasNoTrans, m, n, k, p.alpha, a.data(),
              static_cast<int>(p.a.rows), b.data(), static_cast<int>(p.b.rows), p.beta, p.d_data,
              static_cast<int>(p.d.stride));
}

bool shapes_fit(const Desc& desc, const Layout& a, const Layout& b, const Layout& d) {
  const std::uint64_t m = desc.transposed_a ? a.cols : a.rows;
  const std::uint64_t k = desc.transposed_a ? a.rows : a.cols;
  const std::uint64_t n = desc.transposed_b ? b.rows : b.cols;
  for (const Layout* layout : {&a, &b, &d}) {
    if (layout->stride < static_cast<std::int64_t>(layout->rows)) return false;
  }
  return k == (desc.transposed_b ? b.cols : b.rows) && d.rows == m && d.cols == n &&
         a.type == b.type && d.type == CUDA_R_32F;
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  const Call call("cublasLtCreate");
  if (call.error() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_INITIALIZED ? "the library was not initialized"
         : status == CUBLAS_STATUS_NOT_SUPPORTED ? "the requested functionality is not supported"
                                                 : "an emulated error";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *desc = reinterpret_cast<cublasLtMatmulDesc_t>(new Desc);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  cublasOperation_t operation{};
  if (bytes != sizeof operation) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&operation, value, bytes);
  Desc& desc = *behind<Desc>(handle);
  if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) {
    desc.transposed_a = operation == CUBLAS_OP_T;
  } else if (attribute == CUBLASLT_MATMUL_DESC_TRANSB) {
    desc.transposed_b = operation == CUBLAS_OP_T;
  } else {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete behind<Desc>(desc);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t cols,
                                          std::int64_t stride) {
  if (type != CUDA_R_32F && type != CUDA_R_16BF && type != CUDA_R_16F) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, cols, stride});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete behind<Layout>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  Preference& preference = *behind<Preference>(handle);
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    std::memcpy(&preference.workspace, value, bytes);
  } else if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) {
    std::memcpy(&preference.alignment_a, value, bytes);
  } else if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES) {
    std::memcpy(&preference.alignment_b, value, bytes);
  } else if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) {
    std::memcpy(&preference.alignment_d, value, bytes);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete behind<Preference>(preference);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  *found = 0;
  if (!shapes_fit(*behind<Desc>(desc), *behind<Layout>(a), *behind<Layout>(b),
                  *behind<Layout>(d))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memset(static_cast<void*>(results), 0, sizeof *results);
  const Preference& wanted = *behind<Preference>(preference);
  results->algo.data[0] = wanted.alignment_d;
  results->algo.data[1] = wanted.alignment_a;
  results->algo.data[2] = wanted.alignment_b;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algo, void*, std::size_t,
                              cudaStream_t handle) {
  const Call call("cublasLtMatmul");
  if (call.error() != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  Stream* const stream = stream_of(handle);
  const Product product{*behind<Desc>(desc),
                        *behind<Layout>(a_layout),
                        *behind<Layout>(b_layout),
                        *behind<Layout>(d_layout),
                        a,
                        b,
                        static_cast<float*>(d),
                        *static_cast<const float*>(alpha),
                        *static_cast<const float*>(beta)};
  const bool aligned = reinterpret_cast<std::uintptr_t>(d) % algo->data[0] == 0 &&
                       reinterpret_cast<std::uintptr_t>(a) % algo->data[1] == 0 &&
                       reinterpret_cast<std::uintptr_t>(b) % algo->data[2] == 0;
  if (!stream || c != d || !aligned || !is_device_memory(d)) return CUBLAS_STATUS_INVALID_VALUE;
  Operation op;
  op.kind = OperationKind::call;
  op.name = "matmul";
  op.call = [product](Operation& running) { run(running, product); };
  put_or_capture(*stream, std::move(op));
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

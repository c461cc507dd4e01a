#include "kernels/cuda/gemv.h"

namespace spd::cuda {

void gemv_f32(const GemvArgs& args, const Queue& queue);
void gemv_bf16(const GemvArgs& args, const Queue& queue);
void gemv_f16(const GemvArgs& args, const Queue& queue);
void gemv_i8(const GemvArgs& args, const Queue& queue);

// Each type is a source of its own, so that they are compiled side by side.
void gemv(DType type, const GemvArgs& args, const Queue& queue) {
  switch (type) {
    case DType::f32:
      return gemv_f32(args, queue);
    case DType::bf16:
      return gemv_bf16(args, queue);
    case DType::f16:
      return gemv_f16(args, queue);
    case DType::i8:
      return gemv_i8(args, queue);
  }
}

}  // namespace spd::cuda

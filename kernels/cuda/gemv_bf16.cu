#include "kernels/cuda/gemv.cuh"

namespace spd::cuda {

void gemv_bf16(const GemvArgs& args, const Queue& queue) { launch_gemv<DType::bf16>(args, queue); }

}  // namespace spd::cuda

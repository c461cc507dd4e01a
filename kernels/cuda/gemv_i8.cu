#include "kernels/cuda/gemv.cuh"

namespace spd::cuda {

void gemv_i8(const GemvArgs& args, const Queue& queue) { launch_gemv<DType::i8>(args, queue); }

}  // namespace spd::cuda

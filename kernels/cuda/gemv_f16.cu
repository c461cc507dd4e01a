#include "kernels/cuda/gemv.cuh"

namespace spd::cuda {

void gemv_f16(const GemvArgs& args, const Queue& queue) { launch_gemv<DType::f16>(args, queue); }

}  // namespace spd::cuda

#include "kernels/cuda/gemv.cuh"

namespace spd::cuda {

void gemv_f32(const GemvArgs& args, const Queue& queue) { launch_gemv<DType::f32>(args, queue); }

}  // namespace spd::cuda

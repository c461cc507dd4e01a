// One way to launch a kernel, under nvcc and under the emulation.
#pragma once

#include <cstddef>

#include "kernels/cuda/cuda_error.h"
#include "kernels/cuda/language.cuh"
#include "kernels/cuda/queue.h"

namespace spd::cuda {

struct Shape {
  dim3 grid, block;
  std::size_t shared = 0;  ///< dynamic, bytes
};

/// Throws device Error. `name` is what reports and profiles call it.
template <class... Parameters, class... Arguments>
void launch(const Queue& queue, const char* name, const Shape& shape, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
#if defined(__CUDACC__)
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared;
  config.stream = queue.stream;
  config.attrs = &attribute;
  config.numAttrs = queue.programmatic ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
#else
  // By value, as a launch copies its parameters.
  std::tuple<std::decay_t<Parameters>...> kept{static_cast<Parameters>(arguments)...};
  check(::cuda_emulation::enqueue(
            queue.stream,
            {name, reinterpret_cast<const void*>(kernel), shape.grid, shape.block, shape.shared,
             queue.programmatic, [kernel, kept] { std::apply(kernel, kept); }}),
        name);
#endif
}

}  // namespace spd::cuda

// The CUDA runtime's functions on memory: allocation, copies, fills.
#include <cuda_runtime.h>

#include <cstring>

#include "tests/cuda_emulation/call.h"
#include "tests/cuda_emulation/capture.h"
#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/streams.h"

using namespace cuda_emulation;

namespace {

constexpr int kUnfinished = 0xcb;  // what a host target holds until its copy has run

bool pageable(const void* address) { return !is_device_memory(address) && !is_pinned(address); }

bool fits_kind(const Region& region, cudaMemcpyKind kind) {
  const bool to_device = is_device_memory(region.to), from_device = is_device_memory(region.from);
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

bool in_bounds(const Region& region) {
  const auto inside = [&](const void* address, std::size_t pitch) {
    if (!is_device_memory(address)) return true;
    return is_allocated(address, (region.height - 1) * pitch + region.width);
  };
  return inside(region.to, region.to_pitch) && inside(region.from, region.from_pitch);
}

/// As the documentation has it: from pageable memory the source is read before the call returns; to
/// pageable memory the call returns when all is done; pinned memory is read and written when the
/// copy runs.
cudaError_t copy(Call& call, const Region& region, cudaMemcpyKind kind, cudaStream_t handle) {
  Stream* const stream = stream_of(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (region.width == 0 || region.height == 0) return cudaSuccess;
  if (!fits_kind(region, kind) || !in_bounds(region)) return cudaErrorInvalidValue;
  const bool waits = pageable(region.to);
  if (stream->capture && (waits || pageable(region.from))) {
    stream->capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  Operation op;
  op.kind = OperationKind::copy;
  op.name = "copy";
  op.region = region;
  if (pageable(region.from)) {
    op.staged.resize(region.width * region.height);
    for (std::size_t row = 0; row < region.height; ++row) {
      std::memcpy(op.staged.data() + row * region.width,
                  static_cast<const unsigned char*>(region.from) + row * region.from_pitch,
                  region.width);
    }
  }
  if (!is_device_memory(region.to)) {
    for (std::size_t row = 0; row < region.height; ++row) {
      std::memset(static_cast<unsigned char*>(region.to) + row * region.to_pitch, kUnfinished,
                  region.width);
    }
  }
  put_or_capture(*stream, std::move(op));
  if (!waits) return cudaSuccess;
  const cudaError_t error = work(call.lock(), [&] { return idle(*stream); });
  if (error == cudaSuccess) host_has_seen(stream->clock);
  return error;
}

cudaError_t fill(const Region& region, int value, cudaStream_t handle) {
  Stream* const stream = stream_of(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (region.width == 0 || region.height == 0) return cudaSuccess;
  if (!is_device_memory(region.to) || !in_bounds(region)) return cudaErrorInvalidValue;
  Operation op;
  op.kind = OperationKind::fill;
  op.name = "memset";
  op.region = region;
  op.value = value;
  put_or_capture(*stream, std::move(op));
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  SPD_BEGIN_CALL(call);
  *address = nullptr;
  if (const cudaError_t error = forbid_in_capture(); error != cudaSuccess) return remember(error);
  if (bytes == 0) return cudaSuccess;
  *address = allocate_device(current_device(), bytes);
  return remember(*address ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void* address) {
  SPD_BEGIN_CALL(call);
  if (!address) return cudaSuccess;
  if (const cudaError_t error = forbid_in_capture(); error != cudaSuccess) return remember(error);
  if (!is_device_memory(address)) return remember(cudaErrorInvalidValue);
  // It waits for the whole device.
  const int device = device_at(device_offset(address));
  const cudaError_t error = work(call.lock(), [&] { return all_idle(device); });
  if (error != cudaSuccess) return remember(error);
  host_has_seen_all(device);
  return remember(free_device(address) ? cudaSuccess : cudaErrorInvalidValue);
}

/// The address is known at once; what uses it must come later in the stream, or wait for it.
cudaError_t cudaMallocAsync(void** address, std::size_t bytes, cudaStream_t handle) {
  SPD_BEGIN_CALL(call);
  *address = nullptr;
  Stream* const stream = stream_of(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture) {
    stream->capture->invalid = true;
    return remember(cudaErrorStreamCaptureUnsupported);  // not emulated
  }
  *address = allocate_device(stream->device, bytes);
  if (!*address) return remember(cudaErrorMemoryAllocation);
  Operation op;  // touches it all: who does not come after this has no right to it
  op.kind = OperationKind::fill;
  op.name = "cudaMallocAsync";
  op.region = {.to = *address, .width = bytes};
  op.value = 0xff;
  put(*stream, std::move(op));
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* address, cudaStream_t handle) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (!is_device_memory(address) || !is_allocated(address, 1)) {
    return remember(cudaErrorInvalidValue);
  }
  Operation op;
  op.kind = OperationKind::call;
  op.name = "cudaFreeAsync";
  op.call = [address](Operation&) { free_device(address); };
  put(*stream, std::move(op));
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** address, std::size_t bytes, unsigned) {
  SPD_BEGIN_CALL(call);
  if (const cudaError_t error = forbid_in_capture(); error != cudaSuccess) return remember(error);
  *address = allocate_pinned(bytes);
  return remember(*address ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* address) {
  SPD_BEGIN_CALL(call);
  if (!address) return cudaSuccess;
  const cudaError_t error = work(call.lock(), [] { return all_idle(-1); });
  if (error != cudaSuccess) return remember(error);
  return remember(free_pinned(address) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  SPD_BEGIN_CALL(call);
  return remember(copy(call, {.to = to, .from = from, .width = bytes}, kind, stream));
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  SPD_BEGIN_CALL(call);
  if (to_pitch < width || from_pitch < width) return remember(cudaErrorInvalidPitchValue);
  return remember(copy(call, {to, from, to_pitch, from_pitch, width, height}, kind, stream));
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  SPD_BEGIN_CALL(call);
  return remember(fill({.to = to, .width = bytes}, value, stream));
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  SPD_BEGIN_CALL(call);
  *total = options().memory;
  *free = *total - used_memory(current_device());
  return cudaSuccess;
}

}  // extern "C"

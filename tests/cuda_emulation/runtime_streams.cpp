// The CUDA runtime's functions on streams, events and launches.
#include <cuda_runtime.h>

#include <map>
#include <memory>

#include "tests/cuda_emulation/call.h"
#include "tests/cuda_emulation/capture.h"
#include "tests/cuda_emulation/streams.h"

using namespace cuda_emulation;

namespace {

constexpr std::size_t kSharedWithoutAsking = 48 << 10;
constexpr std::size_t kMostShared = 227 << 10;

std::map<const void*, std::size_t>& allowed_shared() {
  static auto* const bytes = new std::map<const void*, std::size_t>;
  return *bytes;
}

Event* event_of(cudaEvent_t handle) { return reinterpret_cast<Event*>(handle); }

bool fits(const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || block.z > 64) return false;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu) return false;
  if (grid.y > 65535 || grid.z > 65535) return false;
  const auto allowed = allowed_shared().find(launch.kernel);
  return launch.shared <=
         (allowed == allowed_shared().end() ? kSharedWithoutAsking : allowed->second);
}

}  // namespace

cudaError_t cuda_emulation::enqueue(cudaStream_t handle, Launch launch) {
  const Call call("cudaLaunchKernelExC");
  if (call.error() != cudaSuccess) return remember(call.error());
  Stream* const stream = stream_of(handle);
  if (!stream || stream->device != current_device()) {
    return remember(cudaErrorInvalidResourceHandle);
  }
  if (!fits(launch)) return remember(cudaErrorInvalidConfiguration);
  Operation op;
  op.kind = OperationKind::kernel;
  op.name = launch.name;
  op.launch = std::move(launch);
  put_or_capture(*stream, std::move(op));
  return cudaSuccess;
}

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  SPD_BEGIN_CALL(call);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > kMostShared) {
    return remember(cudaErrorInvalidValue);
  }
  allowed_shared()[kernel] = std::max(static_cast<std::size_t>(value), kSharedWithoutAsking);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  SPD_BEGIN_CALL(call);
  *stream = handle_of(make_stream(current_device()));
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  const cudaError_t error = work(call.lock(), [&] { return idle(*stream); });
  destroy_stream(*stream);
  return remember(error);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture) {
    stream->capture->invalid = true;
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  const cudaError_t error = work(call.lock(), [&] { return idle(*stream); });
  if (error == cudaSuccess) host_has_seen(stream->clock);
  return remember(error);
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture) {
    stream->capture->invalid = true;
    return remember(cudaErrorStreamCaptureUnsupported);
  }
  if (!idle(*stream)) work_once();
  if (lost_error() != cudaSuccess) return remember(lost_error());
  if (!idle(*stream)) return cudaErrorNotReady;
  host_has_seen(stream->clock);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(handle);
  if (!stream || !event) return remember(cudaErrorInvalidResourceHandle);
  return remember(wait_for_event(*stream, *event_of(event)));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  SPD_BEGIN_CALL(call);
  *event = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  SPD_BEGIN_CALL(call);
  // What still lies in a stream needs it.
  const cudaError_t error =
      work(call.lock(), [&] { return event_of(event)->done >= event_of(event)->recorded; });
  delete event_of(event);
  return remember(error);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(handle);
  if (!stream || !event) return remember(cudaErrorInvalidResourceHandle);
  return remember(record_event(*stream, *event_of(event)));
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  SPD_BEGIN_CALL(call);
  Event& event = *event_of(handle);
  if (is_captured(event)) return remember(cudaErrorCapturedEvent);
  if (event.done < event.recorded) work_once();
  if (lost_error() != cudaSuccess) return remember(lost_error());
  if (event.done < event.recorded) return cudaErrorNotReady;
  host_has_seen(event.clock);
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  SPD_BEGIN_CALL(call);
  Event& event = *event_of(handle);
  if (is_captured(event)) return remember(cudaErrorCapturedEvent);
  if (const cudaError_t error = forbid_in_capture(); error != cudaSuccess) return remember(error);
  const std::uint64_t wanted = event.recorded;
  const cudaError_t error = work(call.lock(), [&] { return event.done >= wanted; });
  if (error == cudaSuccess) host_has_seen(event.clock);
  return remember(error);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  SPD_BEGIN_CALL(call);
  const Event &from = *event_of(begin), &to = *event_of(end);
  if (from.recorded == 0 || to.recorded == 0) return remember(cudaErrorInvalidResourceHandle);
  if (from.done < from.recorded || to.done < to.recorded) return cudaErrorNotReady;
  *milliseconds = static_cast<float>((to.seconds - from.seconds) * 1e3);
  return cudaSuccess;
}

}  // extern "C"

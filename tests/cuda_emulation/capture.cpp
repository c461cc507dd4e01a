#include "tests/cuda_emulation/capture.h"

#include <algorithm>

#include "tests/cuda_emulation/call.h"
#include "tests/cuda_emulation/streams.h"

namespace cuda_emulation {

namespace {

/// Captures under way.
std::vector<std::unique_ptr<Capture>>& captures() {
  static auto* const all = new std::vector<std::unique_ptr<Capture>>;
  return *all;
}

std::unique_ptr<Capture> take(const Capture* capture) {
  const auto found = std::find_if(captures().begin(), captures().end(),
                                  [&](const auto& other) { return other.get() == capture; });
  auto taken = std::move(*found);
  captures().erase(found);
  return taken;
}

bool under_way(const Capture* capture) {
  return std::any_of(captures().begin(), captures().end(),
                     [&](const auto& other) { return other.get() == capture; });
}

Event* private_event(Capture& capture) { return &capture.events.emplace_back(); }

/// Whether what each stream did last is waited for by another of the graph.
bool all_rejoined(const Capture& capture) {
  for (const Stream* stream : capture.joined) {
    if (stream == capture.origin) continue;
    const Operation* last = nullptr;
    for (const Node& node : capture.nodes) {
      if (node.stream == stream) last = &node.op;
    }
    if (last == nullptr) continue;
    const bool waited =
        last->kind == OperationKind::record &&
        std::any_of(capture.nodes.begin(), capture.nodes.end(), [&](const Node& node) {
          return node.op.kind == OperationKind::wait && node.op.event == last->event;
        });
    if (!waited) return false;
  }
  return true;
}

/// An executable graph: the captured operations, and a stream for each that was captured beside
/// the origin.
struct Executable {
  std::shared_ptr<Capture> graph;
  std::vector<std::pair<Stream*, Stream*>> streams;  // captured, real
};

Stream& real_stream(Executable& executable, Stream* captured, Stream& launched_in) {
  if (captured == executable.graph->origin) return launched_in;
  for (const auto& [from, to] : executable.streams) {
    if (from == captured) return *to;
  }
  executable.streams.emplace_back(captured, &make_stream(launched_in.device));
  return *executable.streams.back().second;
}

}  // namespace

void put_or_capture(Stream& stream, Operation op) {
  if (stream.capture) {
    stream.capture->nodes.push_back({std::move(op), &stream});
  } else {
    put(stream, std::move(op));
  }
}

cudaError_t forbid_in_capture() {
  cudaError_t error = cudaSuccess;
  for (const auto& capture : captures()) {
    if (capture->mode == cudaStreamCaptureModeRelaxed) continue;
    capture->invalid = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

bool is_captured(const Event& event) { return event.capture != nullptr; }

cudaError_t record_event(Stream& stream, Event& event) {
  Operation op;
  op.kind = OperationKind::record;
  op.name = "event";
  event.capture = stream.capture;
  if (stream.capture) {
    op.event = private_event(*stream.capture);
    event.node = stream.capture->events.size() - 1;
  } else {
    op.event = &event;
    op.generation = ++event.recorded;
  }
  put_or_capture(stream, std::move(op));
  return cudaSuccess;
}

cudaError_t wait_for_event(Stream& stream, Event& event) {
  Operation op;
  op.kind = OperationKind::wait;
  op.name = "wait for an event";
  if (event.capture) {
    if (!under_way(event.capture)) return cudaErrorCapturedEvent;
    if (stream.capture && stream.capture != event.capture) {
      stream.capture->invalid = true;
      return cudaErrorStreamCaptureMerge;
    }
    stream.capture = event.capture;
    stream.capture->joined.insert(&stream);
    op.event = &stream.capture->events[event.node];
  } else {
    if (stream.capture) {
      stream.capture->invalid = true;
      return cudaErrorStreamCaptureIsolation;
    }
    op.event = &event;
    op.generation = event.recorded;
  }
  put_or_capture(stream, std::move(op));
  return cudaSuccess;
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture) return remember(cudaErrorIllegalState);
  captures().push_back(std::make_unique<Capture>());
  stream->capture = captures().back().get();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->capture->joined.insert(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  SPD_BEGIN_CALL(call);
  *graph = nullptr;
  Stream* const stream = stream_of(handle);
  if (!stream || !stream->capture) return remember(cudaErrorIllegalState);
  if (stream->capture->origin != stream) return remember(cudaErrorStreamCaptureUnmatched);
  std::unique_ptr<Capture> capture = take(stream->capture);
  const bool joined = all_rejoined(*capture);
  for (Stream* taking_part : capture->joined) taking_part->capture = nullptr;
  if (capture->invalid) return remember(cudaErrorStreamCaptureInvalidated);
  if (!joined) return remember(cudaErrorStreamCaptureUnjoined);
  *graph = reinterpret_cast<cudaGraph_t>(new std::shared_ptr<Capture>(std::move(capture)));
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  SPD_BEGIN_CALL(call);
  const Stream* const stream = stream_of(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  *status = !stream->capture           ? cudaStreamCaptureStatusNone
            : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                       : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  SPD_BEGIN_CALL(call);
  *executable = reinterpret_cast<cudaGraphExec_t>(
      new Executable{*reinterpret_cast<std::shared_ptr<Capture>*>(graph), {}});
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  SPD_BEGIN_CALL(call);
  if (nodes) return remember(cudaErrorNotSupported);  // only their number
  const Capture& capture = **reinterpret_cast<std::shared_ptr<Capture>*>(graph);
  *count = static_cast<std::size_t>(
      std::count_if(capture.nodes.begin(), capture.nodes.end(), [](const Node& node) {
        return node.op.kind != OperationKind::record && node.op.kind != OperationKind::wait;
      }));
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream_handle) {
  SPD_BEGIN_CALL(call);
  Stream* const stream = stream_of(stream_handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  auto& executable = *reinterpret_cast<Executable*>(handle);
  for (const Node& node : executable.graph->nodes) {
    Operation op = node.op;
    if (op.kind == OperationKind::record) op.generation = ++op.event->recorded;
    if (op.kind == OperationKind::wait) op.generation = op.event->recorded;
    put_or_capture(real_stream(executable, node.stream, *stream), std::move(op));
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  SPD_BEGIN_CALL(call);
  delete reinterpret_cast<std::shared_ptr<Capture>*>(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  SPD_BEGIN_CALL(call);
  auto* const executable = reinterpret_cast<Executable*>(handle);
  // Launches under way still need its events.
  const cudaError_t error = work(call.lock(), [] { return all_idle(-1); });
  for (const auto& [captured, real] : executable->streams) destroy_stream(*real);
  delete executable;
  return remember(error);
}

}  // extern "C"

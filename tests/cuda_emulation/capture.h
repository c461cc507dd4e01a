// Streams that record instead of working, and the graphs that come of it.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "tests/cuda_emulation/operation.h"

namespace cuda_emulation {

struct Stream;

/// One operation of a graph, and the captured stream in which it lies.
struct Node {
  Operation op;
  Stream* stream;
};

/// What a capture has gathered, and what a graph consists of. Events of the graph are its own.
struct Capture {
  Stream* origin = nullptr;
  cudaStreamCaptureMode mode{};
  std::set<Stream*> joined;  ///< the origin, too
  std::vector<Node> nodes;
  std::deque<Event> events;
  bool invalid = false;
};

/// Puts it into the stream, or into the capture that the stream takes part in.
void put_or_capture(Stream& stream, Operation op);
/// A call that a capture forbids (waits, allocations): spoils every capture under way that does not
/// allow it. cudaErrorStreamCaptureUnsupported where there is one.
cudaError_t forbid_in_capture();
/// Whether it was recorded last in a stream that captured: then it marks no work that was done.
bool is_captured(const Event& event);
cudaError_t record_event(Stream& stream, Event& event);
cudaError_t wait_for_event(Stream& stream, Event& event);

}  // namespace cuda_emulation

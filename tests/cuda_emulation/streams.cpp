#include "tests/cuda_emulation/streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>

#include "tests/cuda_emulation/access.h"
#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/memory.h"
#include "tests/cuda_emulation/order.h"
#include "tests/cuda_emulation/report.h"
#include "tests/cuda_emulation/statistics.h"

namespace cuda_emulation {

namespace {

struct Machine {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::unique_ptr<Stream>> streams;  // null: destroyed
  std::vector<std::uint32_t> free_indexes;
  std::uint32_t next_id = 0;
  std::uint64_t happened = 0;
  Clock host;
  cudaError_t lost = cudaSuccess;
};

Machine& machine() {
  static auto* const all = new Machine;
  return *all;
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void begin(Stream& stream, Operation& op) {
  const Clock enqueued = op.clock;
  join(op.clock, stream.clock);
  op.early_clock = op.clock;
  if (op.kind == OperationKind::kernel && op.launch.programmatic) {
    op.early_clock = enqueued;
    join(op.early_clock, stream.early_clock);
  }
}

void end(Stream& stream, Operation& op) {
  advance(op.clock, op.stream, end_time(op));
  join(stream.clock, op.clock);
  // A programmatic launch that follows may overlap with a kernel, with nothing else.
  stream.early_clock = op.kind == OperationKind::kernel ? op.early_clock : stream.clock;
}

void run_copy(Operation& op) {
  const Region& region = op.region;
  for (std::size_t row = 0; row < region.height; ++row) {
    auto* const to = static_cast<unsigned char*>(region.to) + row * region.to_pitch;
    const unsigned char* const from =
        op.staged.empty() ? static_cast<const unsigned char*>(region.from) + row * region.from_pitch
                          : op.staged.data() + row * region.width;
    for (const void* end_point : {static_cast<const void*>(to), static_cast<const void*>(from)}) {
      if (is_device_memory(end_point) && !is_allocated(end_point, region.width)) {
        report(fmt::format("{}: memory that was freed before it ran", op.name));
        return;
      }
    }
    note_range(op, from, region.width, false);
    note_range(op, to, region.width, true);
    std::memmove(to, from, region.width);
  }
}

void run_fill(Operation& op) {
  const Region& region = op.region;
  for (std::size_t row = 0; row < region.height; ++row) {
    auto* const to = static_cast<unsigned char*>(region.to) + row * region.to_pitch;
    if (!is_allocated(to, region.width)) {
      report(fmt::format("{}: memory that was freed before it ran", op.name));
      return;
    }
    note_range(op, to, region.width, true);
    std::memset(to, op.value, region.width);
  }
}

void run_at_once(Stream& stream, Operation& op) {
  begin(stream, op);
  switch (op.kind) {
    case OperationKind::copy:
      run_copy(op);
      break;
    case OperationKind::fill:
      run_fill(op);
      break;
    case OperationKind::call:
      op.call(op);
      break;
    case OperationKind::record:
      op.event->done = std::max(op.event->done, op.generation);
      op.event->seconds = now_seconds();
      join(op.event->clock, op.clock);
      break;
    case OperationKind::wait:
      join(op.clock, op.event->clock);
      break;
    case OperationKind::kernel:
      break;
  }
  end(stream, op);
}

/// Whether anything happened in this stream.
bool advance_stream(Stream& stream, std::string& stuck) {
  Operation& op = *stream.queue.front();
  if (op.kind == OperationKind::wait && op.event->done < op.generation) return false;
  if (op.kind != OperationKind::kernel) {
    run_at_once(stream, op);
    stream.queue.pop_front();
    return true;
  }
  if (!stream.grid) {
    begin(stream, op);
    count_launch(op);
    stream.grid = std::make_unique<Grid>(op);
  }
  if (accesses_checked()) begin_counting(op);
  bool happened = stream.grid->run(stuck);
  if (stuck.empty() && stream.grid->done()) {
    stream.grid.reset();
    if (op.launch.programmatic && !op.waited) {
      // What follows waits for this launch alone.
      report(fmt::format("{}: no thread waits for what precedes the launch", op.name));
    }
    end(stream, op);
    stream.queue.pop_front();
    happened = true;
  }
  return happened;
}

std::vector<Stream*> streams_to_try() {
  std::vector<Stream*> order;
  for (const auto& stream : machine().streams) {
    if (stream && !stream->queue.empty()) order.push_back(stream.get());
  }
  const std::vector<int>& wanted = options().stream_order;
  const auto rank = [&](const Stream* stream) {
    return stream->index < wanted.size() ? wanted[stream->index] : static_cast<int>(1 << 20);
  };
  if (!wanted.empty()) {
    std::stable_sort(order.begin(), order.end(),
                     [&](Stream* a, Stream* b) { return rank(a) < rank(b); });
  } else if (options().random_streams) {
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[random_below(static_cast<std::uint32_t>(i))]);
    }
  } else {
    std::stable_sort(order.begin(), order.end(), [](Stream* a, Stream* b) {
      return a->queue.front()->id < b->queue.front()->id;
    });
  }
  return order;
}

/// One piece of work of the first stream that has one. Whether anything happened.
bool step(std::string& stuck) {
  for (Stream* stream : streams_to_try()) {
    if (advance_stream(*stream, stuck)) {
      ++machine().happened;
      machine().changed.notify_all();
      return true;
    }
    if (!stuck.empty()) return false;
  }
  return false;
}

std::string describe_all() {
  std::string text = "nothing can go on";
  for (const auto& stream : machine().streams) {
    if (!stream || stream->queue.empty()) continue;
    text += stream->grid
                ? fmt::format(" [stream {}: {}]", stream->index, stream->grid->describe_waits())
                : fmt::format(" [stream {}: {}]", stream->index, stream->queue.front()->name);
  }
  return text;
}

void give_up(const std::string& why) {
  report(why);
  for (const auto& stream : machine().streams) {
    if (!stream) continue;
    stream->grid.reset();
    stream->queue.clear();
  }
  lose_device(cudaErrorLaunchFailure);
}

}  // namespace

std::mutex& everything() { return machine().mutex; }

Stream& make_stream(int device) {
  Machine& m = machine();
  auto made = std::make_unique<Stream>();
  Stream& stream = *made;
  stream.device = device;
  stream.clock = stream.early_clock = m.host;
  if (m.free_indexes.empty()) {
    stream.index = static_cast<std::uint32_t>(m.streams.size());
    m.streams.push_back(std::move(made));
    return stream;
  }
  // It goes on with the numbers of the stream that had its index.
  const auto smallest = std::min_element(m.free_indexes.begin(), m.free_indexes.end());
  stream.index = *smallest;
  m.free_indexes.erase(smallest);
  stream.sequence = at(m.host, stream.index) / kStepsAnOperation + 1;
  m.streams[stream.index] = std::move(made);
  return stream;
}

void destroy_stream(Stream& stream) {
  Machine& m = machine();
  const std::uint32_t index = stream.index;
  advance(m.host, index, (stream.sequence + 1) * kStepsAnOperation);
  m.streams[index].reset();
  m.free_indexes.push_back(index);
}

Stream* stream_of(cudaStream_t handle) {
  for (const auto& stream : machine().streams) {
    if (stream && handle_of(*stream) == handle) return stream.get();
  }
  return nullptr;
}

cudaStream_t handle_of(Stream& stream) { return reinterpret_cast<cudaStream_t>(&stream); }

void put(Stream& stream, Operation op) {
  Machine& m = machine();
  op.id = ++m.next_id;
  op.stream = stream.index;
  op.device = stream.device;
  op.sequence = ++stream.sequence;
  join(op.clock, m.host);
  introduce(op);
  stream.queue.push_back(std::make_unique<Operation>(std::move(op)));
  m.changed.notify_all();
}

cudaError_t work(std::unique_lock<std::mutex>& lock, const std::function<bool()>& until) {
  Machine& m = machine();
  const OpenMemory open;
  auto last = std::chrono::steady_clock::now();
  while (m.lost == cudaSuccess && !until()) {
    std::string stuck;
    if (step(stuck)) {
      last = std::chrono::steady_clock::now();
      continue;
    }
    if (!stuck.empty()) {
      give_up(stuck);
      break;
    }
    // Another host thread may put the missing work into a stream, or be doing it.
    const std::uint64_t seen = m.happened;
    m.changed.wait_for(lock, std::chrono::milliseconds(5));
    const auto now_at = std::chrono::steady_clock::now();
    if (m.happened != seen) last = now_at;
    if (now_at - last > std::chrono::milliseconds(options().patience_ms)) give_up(describe_all());
  }
  return m.lost;
}

void work_once() {
  const OpenMemory open;
  std::string stuck;
  step(stuck);
  if (!stuck.empty()) give_up(stuck);
}

bool all_idle(int device) {
  return std::all_of(machine().streams.begin(), machine().streams.end(), [&](const auto& stream) {
    return !stream || (device >= 0 && stream->device != device) || stream->queue.empty();
  });
}

void host_has_seen(const Clock& clock) { join(machine().host, clock); }

void host_has_seen_all(int device) {
  for (const auto& stream : machine().streams) {
    if (stream && (device < 0 || stream->device == device)) host_has_seen(stream->clock);
  }
}

cudaError_t lost_error() { return machine().lost; }

void lose_device(cudaError_t error) {
  machine().lost = error;
  machine().changed.notify_all();
}

void forget_loss() {
  Machine& m = machine();
  m.lost = cudaSuccess;
  for (const auto& stream : m.streams) {
    if (!stream) continue;
    stream->grid.reset();
    stream->queue.clear();
    stream->capture = nullptr;
  }
}

}  // namespace cuda_emulation

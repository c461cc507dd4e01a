#include "comm/shm_communicator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "comm/backoff.h"
#include "comm/chunk.h"
#include "kernels/device/cpu_device.h"
#include "kernels/device/host_memory.h"

namespace spd {

namespace {

// Two slots of a rank stay within a second-level cache, and one is long enough for the meetings not
// to matter.
constexpr std::size_t kSlotBytes = 256 * 1024;
constexpr std::size_t kSlotFloats = kSlotBytes / sizeof(float);
static_assert(kSlotFloats % kWireBlock == 0);
constexpr std::size_t kFewFloats = 1024;
constexpr int kTagBits = 16;
constexpr std::uint64_t kTagMask = (1u << kTagBits) - 1;
constexpr std::chrono::microseconds kInterruptPeriod{1000};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free,
              "flags are shared between processes");

/// Up to here everyone sums everything: one meeting less, (R-1)/2 times the bytes.
std::size_t one_shot_limit(int ranks) {
  if (ranks == 2) return kSlotBytes;  // no bytes to be saved
  return ranks <= 4 ? 32 * 1024 : 8 * 1024;
}

void prefetch(const void* from, std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  for (std::size_t at = 0; at < bytes; at += kLine) {
    __builtin_prefetch(static_cast<const std::byte*>(from) + at);
  }
}

/// Tells collectives apart that would meet by mistake.
std::uint64_t tag_of(const Collective& collective) {
  const std::uint64_t mixed = (collective.bytes * 32 + static_cast<std::uint64_t>(collective.kind) +
                               8 * static_cast<std::uint64_t>(collective.wire)) *
                              0x9e3779b97f4a7c15ull;
  return mixed >> (64 - kTagBits);
}

}  // namespace

std::size_t ShmCommunicator::bytes_needed(int ranks) {
  return ranks * (sizeof(Flag) + 2 * kSlotBytes);
}

ShmCommunicator::ShmCommunicator(std::shared_ptr<SharedMemory> memory, int rank,
                                 GroupSettings settings)
    : memory_(std::move(memory)),
      rank_(rank),
      ranks_(settings.members.size()),
      settings_(std::move(settings)),
      one_shot_bytes_(one_shot_limit(ranks_)),
      // Zero bytes are flags that were never raised: nobody needs to be the first to make them.
      flags_(std::launder(reinterpret_cast<Flag*>(memory_->data()))),
      encoded_(wire_bytes(WireFormat::bf16, kSlotFloats)) {}

ShmCommunicator::~ShmCommunicator() = default;

std::byte* ShmCommunicator::slot(int rank) const {
  return memory_->data() + ranks_ * sizeof(Flag) + (2 * rank + segment_) * kSlotBytes;
}

void ShmCommunicator::measure_stores() {
  constexpr int kInARow = 4;
  constexpr CallSite kSite{"measuring"};
  CpuDevice device;
  const auto stream = device.make_stream();
  std::vector<float> data(kSlotFloats);
  const auto seconds = [&](std::size_t bytes) {
    do_barrier(kSite);
    const auto begin = Clock::now();
    for (int times = 0; times < kInARow; ++times) {
      do_all_reduce(data.data(), bytes / sizeof(float), WireFormat::f32, *stream, kSite);
    }
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  const auto slowest = [&](std::span<double> values) {
    std::vector<double> all(values.size() * ranks_);
    do_all_gather(values.data(), all.data(), values.size_bytes(), *stream, kSite);
    for (std::size_t i = 0; i < all.size(); ++i) {
      double& value = values[i % values.size()];
      value = std::max(value, all[i]);
    }
  };
  stores_.measure(seconds, slowest);
  traffic_ = {};
}

void ShmCommunicator::post(std::size_t offset, const void* from, std::size_t bytes) {
  stores_.copy(slot(rank_) + offset, from, bytes);
  traffic_.node_bytes += bytes;
}

void ShmCommunicator::meet() {
  ++meetings_;
  ++traffic_.node_messages;
  flags_[rank_].value.store(meetings_ << kTagBits | tag_, std::memory_order_release);
  for (int step = 1; step < ranks_; ++step) wait_for((rank_ + step) % ranks_);
}

void ShmCommunicator::wait_for(int peer) {
  Backoff backoff(settings_.spin);
  auto look_at = Clock::time_point::min();
  for (;;) {
    const std::uint64_t flag = flags_[peer].value.load(std::memory_order_acquire);
    if (flag >> kTagBits >= meetings_) {
      if (flag >> kTagBits == meetings_ && (flag & kTagMask) != tag_) {
        throw TransportFailure(TransportFailure::Cause::peer_failed, {peer},
                               "it is in another collective");
      }
      return;
    }
    backoff.pause();
    if (!backoff.sleeping()) continue;
    const auto now = Clock::now();
    // The deadline is looked up only now that the wait is long: short ones do without a clock.
    if (!give_up_at_) give_up_at_ = settings_.give_up_at();
    const bool late = now >= *give_up_at_;
    // Asked first: a rank that was stopped itself finds that it is late and that it was missed.
    bool raised = false;
    if (settings_.failure_detector && (late || now >= look_at)) {
      raised = settings_.failure_detector->raised();
      look_at = now + kInterruptPeriod;
    }
    if (!late && !raised) continue;
    std::vector<int> owing;
    for (int other = 0; other < ranks_; ++other) {
      if (flags_[other].value.load(std::memory_order_acquire) >> kTagBits < meetings_) {
        owing.push_back(other);
      }
    }
    throw TransportFailure(
        raised ? TransportFailure::Cause::interrupted : TransportFailure::Cause::timeout,
        std::move(owing));
  }
}

template <class Body>
void ShmCommunicator::run(CollectiveKind kind, std::size_t bytes, const CallSite& site,
                          const Body& body, WireFormat wire) {
  const Collective collective{kind, bytes, sequence_++, site, wire};
  tag_ = tag_of(collective);
  give_up_at_.reset();
  try {
    body();
  } catch (const TransportFailure& failure) {
    throw diagnose(failure, settings_, rank_, collective);
  }
}

void ShmCommunicator::sum_slots(float* to, const float* own, std::size_t offset,
                                std::size_t count) const {
  std::array<float, 2048> total;
  const auto part = [&](int r, std::size_t at) {
    return r == rank_ ? own + at : reinterpret_cast<const float*>(slot(r)) + offset + at;
  };
  for (std::size_t at = 0; at < count; at += total.size()) {
    const std::size_t n = std::min(total.size(), count - at);
    // Asked for at once: the sum alone would have few lines on their way at a time. Of longer rows
    // the core itself sees more coming.
    for (int r = 0; r < ranks_ && count <= kFewFloats; ++r) {
      if (r != rank_) prefetch(part(r, at), n * sizeof(float));
    }
    // `to` may be what is ours to add: it is not written before all are added.
    float* sum = ranks_ == 2 ? to + at : total.data();
    sum_rows(part(0, at), part(1, at), n, sum);
    for (int r = 2; r < ranks_; ++r) sum_rows(sum, part(r, at), n, sum);
    if (ranks_ > 2) std::memcpy(to + at, sum, n * sizeof(float));
  }
}

void ShmCommunicator::one_shot(float* data, std::size_t count) {
  post(0, data, count * sizeof(float));
  meet();
  sum_slots(data, data, 0, count);
  next_segment();
}

void ShmCommunicator::reduce_scatter_all_gather(float* data, std::size_t count) {
  // Nobody else reads our chunk of our slot before the second meeting: the sum goes there.
  const Chunk mine = chunk_of(count, rank_, ranks_);
  for (const Chunk& theirs : {Chunk{0, mine.begin}, Chunk{mine.end(), count - mine.end()}}) {
    post(theirs.begin * sizeof(float), data + theirs.begin, theirs.count * sizeof(float));
  }
  meet();
  sum_slots(data + mine.begin, data + mine.begin, mine.begin, mine.count);
  post(mine.begin * sizeof(float), data + mine.begin, mine.count * sizeof(float));
  meet();
  for (int step = 1; step < ranks_; ++step) {
    const int r = (rank_ + step) % ranks_;
    const Chunk theirs = chunk_of(count, r, ranks_);
    std::memcpy(data + theirs.begin, reinterpret_cast<const float*>(slot(r)) + theirs.begin,
                theirs.count * sizeof(float));
  }
  next_segment();
}

void ShmCommunicator::post_encoded(const float* data, Chunk range, WireFormat wire) {
  encode(wire, data + range.begin, range.count, encoded_.data());
  post(wire_bytes(wire, range.begin), encoded_.data(), wire_bytes(wire, range.count));
}

void ShmCommunicator::sum_encoded(float* to, Chunk range, WireFormat wire) const {
  decode(wire, slot(0) + wire_bytes(wire, range.begin), range.count, to);
  for (int r = 1; r < ranks_; ++r) {
    decode_add(wire, slot(r) + wire_bytes(wire, range.begin), range.count, to);
  }
}

void ShmCommunicator::encoded_one_shot(float* data, std::size_t count, WireFormat wire) {
  post_encoded(data, {0, count}, wire);
  meet();
  sum_encoded(data, {0, count}, wire);
  round_trip(wire, data, count);
  next_segment();
}

void ShmCommunicator::encoded_scatter_gather(float* data, std::size_t count, WireFormat wire) {
  post_encoded(data, {0, count}, wire);
  meet();
  const Chunk mine = chunk_of(count, rank_, ranks_);
  sum_encoded(data + mine.begin, mine, wire);
  post_encoded(data, mine, wire);
  meet();
  for (int step = 0; step < ranks_; ++step) {
    const int r = (rank_ + step) % ranks_;
    const Chunk theirs = chunk_of(count, r, ranks_);
    decode(wire, slot(r) + wire_bytes(wire, theirs.begin), theirs.count, data + theirs.begin);
  }
  next_segment();
}

void ShmCommunicator::do_all_reduce(float* data, std::size_t count, WireFormat wire, Stream& stream,
                                    const CallSite& site) {
  stream.synchronize();
  const std::size_t bytes = count * sizeof(float);
  const bool at_once = bytes <= one_shot_bytes_ || ranks_ == 2;
  const auto body = [&] {
    for (std::size_t at = 0; at < count; at += kSlotFloats) {
      const std::size_t n = std::min(kSlotFloats, count - at);
      if (wire != WireFormat::f32) {
        at_once ? encoded_one_shot(data + at, n, wire) : encoded_scatter_gather(data + at, n, wire);
      } else {
        at_once ? one_shot(data + at, n) : reduce_scatter_all_gather(data + at, n);
      }
    }
  };
  run(CollectiveKind::all_reduce, bytes, site, body, wire);
}

void ShmCommunicator::do_all_gather(const void* send, void* recv, std::size_t bytes, Stream& stream,
                                    const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::all_gather, bytes, site, [&] {
    auto* to = static_cast<std::byte*>(recv);
    if (to + bytes * rank_ != send) std::memcpy(to + bytes * rank_, send, bytes);
    for (std::size_t at = 0; at < bytes; at += kSlotBytes) {
      const std::size_t n = std::min(kSlotBytes, bytes - at);
      post(0, static_cast<const std::byte*>(send) + at, n);
      meet();
      for (int step = 1; step < ranks_; ++step) {
        const int r = (rank_ + step) % ranks_;
        std::memcpy(to + bytes * r + at, slot(r), n);
      }
      next_segment();
    }
  });
}

void ShmCommunicator::do_broadcast(void* data, std::size_t bytes, int root, Stream& stream,
                                   const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::broadcast, bytes, site, [&] {
    for (std::size_t at = 0; at < bytes; at += kSlotBytes) {
      const std::size_t n = std::min(kSlotBytes, bytes - at);
      std::byte* part = static_cast<std::byte*>(data) + at;
      if (rank_ == root) post(0, part, n);
      meet();
      if (rank_ != root) std::memcpy(part, slot(root), n);
      next_segment();
    }
  });
}

namespace {

/// Chunks are gone through in pieces that fit into a slot together: body(part, piece), where
/// part(owner) is an owner's elements and `piece` how many floats each has room for.
template <class Body>
void for_each_piece(std::size_t count, int owners, std::size_t slot_floats, const Body& body) {
  const std::size_t piece = slot_floats / owners / kWireBlock * kWireBlock;
  const std::size_t largest = chunk_of(count, owners - 1, owners).count + kWireBlock;
  for (std::size_t at = 0; at < largest && at < count; at += piece) {
    body(
        [=](int owner) {
          const Chunk chunk = chunk_of(count, owner, owners);
          const std::size_t skip = std::min(at, chunk.count);
          return Chunk{chunk.begin + skip, std::min(piece, chunk.count - skip)};
        },
        piece);
  }
}

}  // namespace

void ShmCommunicator::do_reduce_scatter(float* data, std::size_t count, int owners, Stream& stream,
                                        const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::reduce_scatter, count * sizeof(float), site, [&] {
    for_each_piece(count, owners, kSlotFloats, [&](const auto& part, std::size_t piece) {
      for (int owner = 0; owner < owners; ++owner) {
        if (owner == rank_) continue;
        const Chunk theirs = part(owner);
        post(owner * piece * sizeof(float), data + theirs.begin, theirs.count * sizeof(float));
      }
      meet();
      if (rank_ < owners) {
        const Chunk mine = part(rank_);
        sum_slots(data + mine.begin, data + mine.begin, rank_ * piece, mine.count);
      }
      next_segment();
    });
  });
}

void ShmCommunicator::do_all_gather_chunks(float* data, std::size_t count, int owners,
                                           Stream& stream, const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::all_gather_chunks, count * sizeof(float), site, [&] {
    for_each_piece(count, owners, kSlotFloats, [&](const auto& part, std::size_t) {
      if (rank_ < owners) {
        const Chunk mine = part(rank_);
        post(0, data + mine.begin, mine.count * sizeof(float));
      }
      meet();
      for (int owner = 0; owner < owners; ++owner) {
        if (owner == rank_) continue;
        const Chunk theirs = part(owner);
        std::memcpy(data + theirs.begin, slot(owner), theirs.count * sizeof(float));
      }
      next_segment();
    });
  });
}

void ShmCommunicator::do_barrier(const CallSite& site) {
  run(CollectiveKind::barrier, 0, site, [&] {
    meet();
    next_segment();
  });
}

}  // namespace spd

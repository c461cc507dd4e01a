// The communicator in shared memory: ranks that are processes of one node.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/chunk.h"
#include "comm/communicator.h"
#include "comm/failure/group.h"
#include "comm/shared_memory.h"
#include "comm/slot_stores.h"

namespace spd {

/// Every rank has a flag and two slots in the shared memory. A payload is taken through the slots
/// in segments; slots alternate, so that a rank may fill the next one while others still read the
/// last.
///
/// Small payloads, one-shot: write your slot, raise your flag, wait for all flags, sum all slots in
/// rank order. Large ones, reduce-scatter + all-gather: after the first flag each rank sums its
/// chunk only, into its own slot, raises its flag again, and copies the others' chunks.
class ShmCommunicator final : public Communicator {
 public:
  static std::size_t bytes_needed(int ranks);

  /// `memory` is the same on all ranks, zero when the first begins, of at least bytes_needed.
  ShmCommunicator(std::shared_ptr<SharedMemory> memory, int rank, GroupSettings settings);
  ~ShmCommunicator() override;

  /// Chooses how slots are written by timing all-reduces: 2 to 5 ms. Collective over the group.
  void measure_stores();
  /// "stores past the caches: 2-8 KiB, 8-32 KiB", "plain stores".
  std::string stores() const { return stores_.to_string(); }

  int rank() const override { return rank_; }
  int size() const override { return ranks_; }
  const char* backend() const override { return "shm"; }
  Traffic traffic() const override { return traffic_; }

 private:
  using Clock = Transport::Clock;
  /// Count of meetings in the upper 48 bits, what the rank is doing in the lower 16.
  struct alignas(128) Flag {
    std::atomic<std::uint64_t> value;
  };

  void do_all_reduce(float* data, std::size_t count, WireFormat wire, Stream&,
                     const CallSite&) override;
  void do_all_gather(const void* send, void* recv, std::size_t bytes, Stream&,
                     const CallSite&) override;
  void do_broadcast(void* data, std::size_t bytes, int root, Stream&, const CallSite&) override;
  void do_barrier(const CallSite&) override;
  void do_reduce_scatter(float* data, std::size_t count, int owners, Stream&,
                         const CallSite&) override;
  void do_all_gather_chunks(float* data, std::size_t count, int owners, Stream&,
                            const CallSite&) override;

  template <class Body>
  void run(CollectiveKind kind, std::size_t bytes, const CallSite& site, const Body& body,
           WireFormat wire = WireFormat::f32);
  /// Raises the flag and returns when all others have raised theirs as often.
  void meet();
  void wait_for(int peer);
  void next_segment() { segment_ ^= 1; }
  std::byte* slot(int rank) const;
  /// Copies into this rank's slot.
  void post(std::size_t offset, const void* from, std::size_t bytes);
  void one_shot(float* data, std::size_t count);
  void reduce_scatter_all_gather(float* data, std::size_t count);
  /// to[0, count) = sum over ranks of the slots at `offset`, but `own` for this rank's.
  void sum_slots(float* to, const float* own, std::size_t offset, std::size_t count) const;

  // The same two ways with other wire formats than f32: slots hold encoded data.
  void encoded_one_shot(float* data, std::size_t count, WireFormat wire);
  void encoded_scatter_gather(float* data, std::size_t count, WireFormat wire);
  void post_encoded(const float* data, Chunk range, WireFormat wire);
  void sum_encoded(float* to, Chunk range, WireFormat wire) const;

  std::shared_ptr<SharedMemory> memory_;
  int rank_;
  int ranks_;
  GroupSettings settings_;
  std::size_t one_shot_bytes_;
  SlotStores stores_;
  Flag* flags_;
  std::vector<std::byte> encoded_;  // on its way into the slot
  std::uint64_t meetings_ = 0;
  int segment_ = 0;  // which of the two slots is in use
  Traffic traffic_;
  std::uint64_t sequence_ = 0;
  std::uint64_t tag_ = 0;                        // of the collective under way
  std::optional<Clock::time_point> give_up_at_;  // of the collective under way, once it is long
};

}  // namespace spd

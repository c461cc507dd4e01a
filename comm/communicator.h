// The one interface a model sees of its peers: collectives over a group of ranks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "comm/wire_format.h"
#include "kernels/device/device.h"

namespace spd {

/// Where in the model a collective is called: named in every error message.
struct CallSite {
  const char* what = "";  ///< "attn", "mlp", "logits", "start", ...; static storage
  int block = -1;         ///< decoder block, -1 outside of blocks
};
/// "block 3 attn", or just "logits" outside of blocks.
std::string to_string(const CallSite& site);

/// What a communicator has done so far, on this rank.
struct CommStats {
  std::uint64_t all_reduces = 0;
  std::uint64_t bytes = 0;  ///< payload handed to all_reduce, not bytes on the wire
  double seconds = 0.0;     ///< in all_reduce
};

/// What this rank has sent so far, headers not counted. In shared memory: what it wrote for others
/// to read, once however many read it, and how often it raised its flag.
struct Traffic {
  std::uint64_t node_messages = 0;
  std::uint64_t node_bytes = 0;  ///< to ranks of its own node
  std::uint64_t cross_messages = 0;
  std::uint64_t cross_bytes = 0;  ///< to other nodes

  Traffic& operator+=(const Traffic& other);
  Traffic operator-(const Traffic& before) const;
};

/// Collectives over a fixed group. All ranks call the same collectives in the same order with the
/// same sizes. Data are device addresses; work is ordered on the stream given and may return before
/// it is done. Results of all_reduce are bit-identical on all ranks.
///
/// Errors: timeout Error when peers do not arrive within the deadline, comm Error when a peer is
/// known to have failed; both name the missing rank(s), the collective, its size and the call site.
/// After an error the group is unusable.
class Communicator {
 public:
  using Milliseconds = std::chrono::milliseconds;

  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "mpi", "thread", ...
  virtual const char* backend() const = 0;

  /// data[i] = sum over ranks of data[i], in place, f32. `wire` is how the numbers travel: where
  /// the group spans nodes and is not flat, what each node has summed up in f32; else what each
  /// rank brings.
  void all_reduce(float* data, std::size_t count, Stream& stream, const CallSite& site,
                  WireFormat wire = WireFormat::f32);
  // An all-reduce in two halves, with room for another hop between them. With one owner they are a
  // reduce and a broadcast. A hop of its own, so always f32.

  /// On rank r < owners, chunk_of(count, r, owners) of data becomes the sum over all ranks; what
  /// is outside of a rank's own chunk is undefined afterwards.
  void reduce_scatter(float* data, std::size_t count, int owners, Stream& stream,
                      const CallSite& site);
  /// Every chunk is copied from its owner to all ranks.
  void all_gather_chunks(float* data, std::size_t count, int owners, Stream& stream,
                         const CallSite& site);
  /// recv[r * bytes ...] = send of rank r. `recv` holds size() * bytes; host or device alike.
  void all_gather(const void* send, void* recv, std::size_t bytes, Stream& stream,
                  const CallSite& site);
  /// Every rank's `data` becomes that of `root`.
  void broadcast(void* data, std::size_t bytes, int root, Stream& stream, const CallSite& site);
  /// Returns when every rank has called it.
  void barrier(const CallSite& site);

  const CommStats& stats() const { return stats_; }
  /// Zeros where nothing is sent (threads).
  virtual Traffic traffic() const { return {}; }

 protected:
  // A group of one is handled by the public methods: these see size() > 1 only.
  virtual void do_all_reduce(float* data, std::size_t count, WireFormat wire, Stream&,
                             const CallSite&) = 0;
  virtual void do_all_gather(const void* send, void* recv, std::size_t bytes, Stream&,
                             const CallSite&) = 0;
  virtual void do_broadcast(void* data, std::size_t bytes, int root, Stream&, const CallSite&) = 0;
  virtual void do_barrier(const CallSite&) = 0;
  /// By do_all_reduce and do_broadcast unless a backend has a shorter way.
  virtual void do_reduce_scatter(float* data, std::size_t count, int owners, Stream&,
                                 const CallSite&);
  virtual void do_all_gather_chunks(float* data, std::size_t count, int owners, Stream&,
                                    const CallSite&);

 private:
  CommStats stats_;
};

/// The default deadline of a collective.
inline constexpr Communicator::Milliseconds kDefaultDeadline{30'000};

}  // namespace spd

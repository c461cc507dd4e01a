// Collective algorithms over point-to-point messages. Every one gives bit-identical results on all
// ranks: sums are taken in an order fixed by the ranks, or by one rank and then copied.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "comm/transport.h"
#include "comm/wire_format.h"

namespace spd {

/// How an all-reduce of S bytes over R ranks is done; steps are message latencies one after
/// another, bytes are what each rank sends.
enum class AllReduceAlgorithm {
  one_shot,            ///< everyone to everyone: 1 step, (R-1) S
  recursive_doubling,  ///< pairs at distance 1, 2, 4, ...: log2(R) steps (+2 if R is no power of
                       ///< two), log2(R) S
  ring,                ///< reduce-scatter and all-gather along a ring: 2(R-1) steps, 2 S (R-1)/R
  scatter_gather,      ///< the same, each chunk straight to its owner: 2 steps, 2 S (R-1)/R
};
inline constexpr std::array kAllReduceAlgorithms{
    AllReduceAlgorithm::one_shot, AllReduceAlgorithm::recursive_doubling, AllReduceAlgorithm::ring,
    AllReduceAlgorithm::scatter_gather};
std::string_view name(AllReduceAlgorithm algorithm);
/// Throws usage Error for an unknown name.
AllReduceAlgorithm parse_all_reduce_algorithm(std::string_view text);

/// Memory for messages under way: grows to the largest need and stays.
class MessageBuffer {
 public:
  float* floats(std::size_t count) {
    if (memory_.size() < count) memory_.resize(count);
    return memory_.data();
  }
  std::byte* bytes(std::size_t count) {
    return reinterpret_cast<std::byte*>(floats((count + sizeof(float) - 1) / sizeof(float)));
  }

 private:
  std::vector<float> memory_;
};

/// One run of an algorithm: the messages, and how long to wait for them.
struct Exchange {
  Transport& transport;
  MessageBuffer& buffer;
  Transport::Clock::time_point until;
  Interrupt* interrupt;

  /// See Transport::wait.
  void wait(std::size_t later = 0) const { transport.wait(until, interrupt, later); }
};

/// Formats other than f32 know one_shot and scatter_gather; what is neither is done as the latter,
/// and between two ranks as the former.
void all_reduce(AllReduceAlgorithm algorithm, const Exchange& exchange, float* data,
                std::size_t count, WireFormat wire);
/// The two halves of scatter_gather, for any number of owners: see Communicator. 1 step each.
void reduce_scatter(const Exchange& exchange, float* data, std::size_t count, int owners);
void all_gather_chunks(const Exchange& exchange, float* data, std::size_t count, int owners);
/// Everyone to everyone: 1 step.
void all_gather(const Exchange& exchange, const void* send, void* recv, std::size_t bytes);
/// Binomial tree: log2(R) steps.
void broadcast(const Exchange& exchange, void* data, std::size_t bytes, int root);
/// Dissemination: log2(R) steps.
void barrier(const Exchange& exchange);

}  // namespace spd

// Messages between the ranks of a group: what a collective algorithm is written over.
#pragma once

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace spd {

/// Something outside the messages that ends a wait early: a peer has called for help.
class Interrupt {
 public:
  Interrupt() = default;
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  virtual ~Interrupt() = default;
  /// Looked at now and then during long waits; may take a few microseconds.
  virtual bool raised() = 0;
};

/// Point-to-point messages in host memory. Messages from one rank to another arrive in the order
/// they were started. Send and receive only start a transfer; their buffers belong to the transport
/// until wait() has returned.
class Transport {
 public:
  using Clock = std::chrono::steady_clock;

  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "mpi", "ucx".
  virtual const char* name() const = 0;

  void send(int to, const void* data, std::size_t bytes) {
    const bool crosses = !other_node_.empty() && other_node_[to];
    (crosses ? sent_.cross_messages : sent_.node_messages) += bytes > 0;
    (crosses ? sent_.cross_bytes : sent_.node_bytes) += bytes;
    do_send(to, data, bytes);
  }
  virtual void receive(int from, void* data, std::size_t bytes) = 0;
  /// Returns when everything started is done, but for the `later` transfers that were started last.
  /// Throws TransportFailure.
  virtual void wait(Clock::time_point until, Interrupt* interrupt, std::size_t later) = 0;

  /// Which peers are on another node, [size]: so that what is sent there is counted apart.
  void set_other_node(std::vector<bool> other_node) { other_node_ = std::move(other_node); }
  const Traffic& sent() const { return sent_; }

 protected:
  virtual void do_send(int to, const void* data, std::size_t bytes) = 0;

 private:
  std::vector<bool> other_node_;
  Traffic sent_;
};

/// A wait that did not end well. The communicator turns it into an Error that says who and where.
class TransportFailure : public std::runtime_error {
 public:
  enum class Cause { timeout, interrupted, peer_failed };

  /// `peers` are the ranks of the group that still owe or are owed something.
  TransportFailure(Cause cause, std::vector<int> peers, const std::string& detail = "")
      : std::runtime_error(detail), cause_(cause), peers_(std::move(peers)) {}

  Cause cause() const { return cause_; }
  const std::vector<int>& peers() const { return peers_; }

 private:
  Cause cause_;
  std::vector<int> peers_;
};

}  // namespace spd

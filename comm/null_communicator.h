// A communicator that does nothing, at once: the no-comm bound, the most any sync policy can win.
#pragma once

#include "comm/communicator.h"

namespace spd {

/// Sums stay partial and gathers leave `recv` as it is: for timing only, results are meaningless.
class NullCommunicator final : public Communicator {
 public:
  NullCommunicator(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const char* backend() const override { return "none"; }

 private:
  void do_all_reduce(float*, std::size_t, WireFormat, Stream&, const CallSite&) override {}
  void do_all_gather(const void*, void*, std::size_t, Stream&, const CallSite&) override {}
  void do_broadcast(void*, std::size_t, int, Stream&, const CallSite&) override {}
  void do_barrier(const CallSite&) override {}

  int rank_;
  int size_;
};

}  // namespace spd

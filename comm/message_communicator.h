// The communicator over messages: collectives over a Transport (MPI, UCX).
#pragma once

#include <memory>
#include <vector>

#include "comm/algorithm_table.h"
#include "comm/communicator.h"
#include "comm/failure/group.h"

namespace spd {

class MessageCommunicator final : public Communicator {
 public:
  MessageCommunicator(std::unique_ptr<Transport> transport, GroupSettings settings,
                      AlgorithmTable algorithms);
  ~MessageCommunicator() override;

  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }
  const char* backend() const override { return transport_->name(); }
  Traffic traffic() const override { return transport_->sent(); }

 private:
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

  std::unique_ptr<Transport> transport_;
  GroupSettings settings_;
  AlgorithmTable algorithms_;
  MessageBuffer buffer_;
  std::uint64_t sequence_ = 0;
};

}  // namespace spd

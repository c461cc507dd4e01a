#include "comm/message_communicator.h"

namespace spd {

MessageCommunicator::MessageCommunicator(std::unique_ptr<Transport> transport,
                                         GroupSettings settings, AlgorithmTable algorithms)
    : transport_(std::move(transport)),
      settings_(std::move(settings)),
      algorithms_(std::move(algorithms)) {
  const std::vector<int>& nodes = settings_.members.nodes;
  if (nodes.empty()) return;
  std::vector<bool> other_node;
  for (int node : nodes) other_node.push_back(node != nodes[rank()]);
  transport_->set_other_node(std::move(other_node));
}

MessageCommunicator::~MessageCommunicator() = default;

template <class Body>
void MessageCommunicator::run(CollectiveKind kind, std::size_t bytes, const CallSite& site,
                              const Body& body, WireFormat wire) {
  const Collective collective{kind, bytes, sequence_++, site, wire};
  try {
    body(Exchange{*transport_, buffer_, settings_.give_up_at(), settings_.failure_detector.get()});
  } catch (const TransportFailure& failure) {
    throw diagnose(failure, settings_, rank(), collective);
  }
}

void MessageCommunicator::do_all_reduce(float* data, std::size_t count, WireFormat wire,
                                        Stream& stream, const CallSite& site) {
  stream.synchronize();
  const std::size_t bytes = count * sizeof(float);
  const AllReduceAlgorithm algorithm = choose(algorithms_, wire_bytes(wire, count));
  const auto body = [&](const Exchange& exchange) {
    spd::all_reduce(algorithm, exchange, data, count, wire);
  };
  run(CollectiveKind::all_reduce, bytes, site, body, wire);
}

void MessageCommunicator::do_all_gather(const void* send, void* recv, std::size_t bytes,
                                        Stream& stream, const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::all_gather, bytes, site,
      [&](const Exchange& exchange) { spd::all_gather(exchange, send, recv, bytes); });
}

void MessageCommunicator::do_broadcast(void* data, std::size_t bytes, int root, Stream& stream,
                                       const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::broadcast, bytes, site,
      [&](const Exchange& exchange) { spd::broadcast(exchange, data, bytes, root); });
}

void MessageCommunicator::do_barrier(const CallSite& site) {
  run(CollectiveKind::barrier, 0, site, [](const Exchange& exchange) { spd::barrier(exchange); });
}

void MessageCommunicator::do_reduce_scatter(float* data, std::size_t count, int owners,
                                            Stream& stream, const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::reduce_scatter, count * sizeof(float), site,
      [&](const Exchange& exchange) { spd::reduce_scatter(exchange, data, count, owners); });
}

void MessageCommunicator::do_all_gather_chunks(float* data, std::size_t count, int owners,
                                               Stream& stream, const CallSite& site) {
  stream.synchronize();
  run(CollectiveKind::all_gather_chunks, count * sizeof(float), site,
      [&](const Exchange& exchange) { spd::all_gather_chunks(exchange, data, count, owners); });
}

}  // namespace spd

#include "comm/communicator.h"

#include <fmt/format.h>

#include <cstring>

#include "comm/chunk.h"

namespace spd {

std::string to_string(const CallSite& site) {
  return site.block < 0 ? std::string(site.what)
                        : fmt::format("block {} {}", site.block, site.what);
}

Traffic& Traffic::operator+=(const Traffic& other) {
  node_messages += other.node_messages;
  node_bytes += other.node_bytes;
  cross_messages += other.cross_messages;
  cross_bytes += other.cross_bytes;
  return *this;
}

Traffic Traffic::operator-(const Traffic& before) const {
  return {node_messages - before.node_messages, node_bytes - before.node_bytes,
          cross_messages - before.cross_messages, cross_bytes - before.cross_bytes};
}

void Communicator::all_reduce(float* data, std::size_t count, Stream& stream, const CallSite& site,
                              WireFormat wire) {
  const auto begin = std::chrono::steady_clock::now();
  if (size() > 1 && count > 0) do_all_reduce(data, count, wire, stream, site);
  stats_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  stats_.all_reduces += 1;
  stats_.bytes += count * sizeof(float);
}

void Communicator::reduce_scatter(float* data, std::size_t count, int owners, Stream& stream,
                                  const CallSite& site) {
  if (size() > 1 && count > 0) do_reduce_scatter(data, count, owners, stream, site);
}

void Communicator::all_gather_chunks(float* data, std::size_t count, int owners, Stream& stream,
                                     const CallSite& site) {
  if (size() > 1 && count > 0) do_all_gather_chunks(data, count, owners, stream, site);
}

void Communicator::do_reduce_scatter(float* data, std::size_t count, int, Stream& stream,
                                     const CallSite& site) {
  do_all_reduce(data, count, WireFormat::f32, stream, site);
}

void Communicator::do_all_gather_chunks(float* data, std::size_t count, int owners, Stream& stream,
                                        const CallSite& site) {
  for (int owner = 0; owner < owners; ++owner) {
    const Chunk chunk = chunk_of(count, owner, owners);
    if (chunk.count == 0) continue;
    do_broadcast(data + chunk.begin, chunk.count * sizeof(float), owner, stream, site);
  }
}

void Communicator::all_gather(const void* send, void* recv, std::size_t bytes, Stream& stream,
                              const CallSite& site) {
  if (size() > 1) {
    do_all_gather(send, recv, bytes, stream, site);
  } else if (send != recv) {
    std::memcpy(recv, send, bytes);
  }
}

void Communicator::broadcast(void* data, std::size_t bytes, int root, Stream& stream,
                             const CallSite& site) {
  if (size() > 1) do_broadcast(data, bytes, root, stream, site);
}

void Communicator::barrier(const CallSite& site) {
  if (size() > 1) do_barrier(site);
}

}  // namespace spd

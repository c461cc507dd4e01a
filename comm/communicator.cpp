#include "comm/communicator.h"

#include <fmt/format.h>

#include <cstring>

namespace spd {

std::string to_string(const CallSite& site) {
  return site.block < 0 ? std::string(site.what)
                        : fmt::format("block {} {}", site.block, site.what);
}

void Communicator::all_reduce(float* data, std::size_t count, Stream& stream, const CallSite& site,
                              WireFormat wire) {
  const auto begin = std::chrono::steady_clock::now();
  if (size() > 1 && count > 0) do_all_reduce(data, count, wire, stream, site);
  stats_.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  stats_.all_reduces += 1;
  stats_.bytes += count * sizeof(float);
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

// The address that MPI listens on: that of one network, rather than every address of the host.
#pragma once

#include <cstdint>

namespace spd {

/// While one exists, a TCP socket that this process would bind to every IPv4 address of the host is
/// bound to this one (in host order) instead, and one for every IPv6 address to the loopback. For
/// Open MPI's start: up to 4.1 its TCP transport listens on 0.0.0.0 whatever btl_tcp_if_include
/// says, and it has no setting for that. One at a time.
class ListenAddress {
 public:
  explicit ListenAddress(std::uint32_t address);
  ~ListenAddress();
  ListenAddress(const ListenAddress&) = delete;
  ListenAddress& operator=(const ListenAddress&) = delete;
};

}  // namespace spd

#include "comm/listen_address.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace spd {

namespace {

std::atomic<std::uint32_t> address_in_force{INADDR_ANY};

bool is_tcp(int socket) {
  int type = 0;
  socklen_t length = sizeof type;
  return getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

}  // namespace

ListenAddress::ListenAddress(std::uint32_t address) { address_in_force = address; }
ListenAddress::~ListenAddress() { address_in_force = INADDR_ANY; }

}  // namespace spd

// Takes the place of the C library's for this process and the libraries it loads: the program's own
// symbols come first. See bind(2).
extern "C" int bind(int socket, const sockaddr* address, socklen_t length) noexcept {
  using Bind = int (*)(int, const sockaddr*, socklen_t);
  static const auto original = reinterpret_cast<Bind>(dlsym(RTLD_NEXT, "bind"));
  if (original == nullptr) {
    errno = ENOSYS;
    return -1;
  }
  const std::uint32_t instead = spd::address_in_force;
  if (instead == INADDR_ANY || address == nullptr || !spd::is_tcp(socket)) {
    return original(socket, address, length);
  }
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in changed{};
    std::memcpy(&changed, address, sizeof changed);
    if (changed.sin_addr.s_addr == htonl(INADDR_ANY)) changed.sin_addr.s_addr = htonl(instead);
    return original(socket, reinterpret_cast<const sockaddr*>(&changed), sizeof changed);
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 changed{};
    std::memcpy(&changed, address, sizeof changed);
    if (IN6_IS_ADDR_UNSPECIFIED(&changed.sin6_addr)) {
      // Peers come by IPv4. Where there is no loopback, as it was asked for.
      changed.sin6_addr = in6addr_loopback;
      const auto* loopback = reinterpret_cast<const sockaddr*>(&changed);
      const int status = original(socket, loopback, sizeof changed);
      if (status == 0 || errno != EADDRNOTAVAIL) return status;
    }
  }
  return original(socket, address, length);
}

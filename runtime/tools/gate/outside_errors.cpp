// The error queue of a connected UDP socket (ip(7), IP_RECVERR).
#include "runtime/tools/gate/outside_errors.hpp"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

namespace weir::gate {
namespace {

/// Level and option, of each family.
struct option {
  int level, name;
};
option choose(const udp_socket& s, option v4, option v6) {
  return s.remote_endpoint().address.is_v4() ? v4 : v6;
}

}  // namespace

void hear_errors(const udp_socket& outside) {
  const auto [level, name] =
      choose(outside, {IPPROTO_IP, IP_RECVERR}, {IPPROTO_IPV6, IPV6_RECVERR});
  const int on = 1;
  (void)::setsockopt(outside.native_handle(), level, name, &on, sizeof on);
}

void forget_errors(const udp_socket& outside) {
  constexpr int most = 64;  // that may have come meanwhile
  const int fd = outside.native_handle();
  msghdr nothing{};
  for (int i = 0; i < most && ::recvmsg(fd, &nothing, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0; ++i)
    nothing = {};
}

std::optional<std::uint16_t> path_mtu(const udp_socket& outside) {
  const auto [level, name] = choose(outside, {IPPROTO_IP, IP_MTU}, {IPPROTO_IPV6, IPV6_MTU});
  int mtu = 0;
  socklen_t size = sizeof mtu;
  if (::getsockopt(outside.native_handle(), level, name, &mtu, &size) != 0 || mtu <= 0)
    return std::nullopt;
  return static_cast<std::uint16_t>(std::min(mtu, 65535));
}

}  // namespace weir::gate

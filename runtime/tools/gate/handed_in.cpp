// Asking a descriptor what it is: unix(7), Linux's Documentation/networking/tuntap.rst.
#include "runtime/tools/gate/handed_in.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "stack/device/vnet_header.hpp"
#include "weir/config.hpp"

namespace weir::gate {
namespace {

[[noreturn]] void refuse(const char* why) {
  throw config_error(fmt::format(
      "--fd: {}; give a connected Unix stream socket, or a TUN or TAP device with IFF_NO_PI and "
      "IFF_VNET_HDR",
      why));
}

}  // namespace

handed_in take_in(int fd, std::uint16_t mtu) {
  handed_in out;
  int domain = 0, type = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0) {
    size = sizeof type;
    ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    if (domain != AF_UNIX || type != SOCK_STREAM) refuse("it is a socket of another kind");
    sockaddr_storage peer;
    size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0)
      refuse("the socket is not connected");
    out.stream = unique_fd(fd);
    return out;
  }
  ifreq device{};
  if (::ioctl(fd, TUNGETIFF, &device) != 0) refuse("it is neither");
  const auto flags = static_cast<unsigned short>(device.ifr_flags);
  int header = stack::vnet_header_size;
  if ((flags & IFF_NO_PI) == 0 || (flags & IFF_VNET_HDR) == 0 ||
      ::ioctl(fd, TUNSETVNETHDRSZ, &header) != 0)
    refuse("the device lacks one of these flags");
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  out.ethernet = (flags & IFF_TAP) != 0;
  out.device.fd = unique_fd(fd);
  out.device.mtu = mtu;
  return out;
}

}  // namespace weir::gate

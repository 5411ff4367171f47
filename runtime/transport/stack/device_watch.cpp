// The watch over a TUN device, through rtnetlink.
#include "runtime/transport/stack/device_watch.hpp"

#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace weir::detail {
namespace {

stack::descriptor listen_to_links() {
  stack::descriptor out(
      ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl here{};
  here.nl_family = AF_NETLINK;
  here.nl_groups = RTMGRP_LINK;
  if (!out || ::bind(out.get(), reinterpret_cast<sockaddr*>(&here), sizeof here) != 0) return {};
  return out;
}

}  // namespace

device_watch::device_watch(driver& through, int device, packet_receiver& receiver)
    : receiver_(receiver), device_(device) {
  if (!attached()) return;
  links_ = listen_to_links();
  if (!links_) return;
  auto made = through.watch_descriptor(links_.get(), *this);
  if (!made) return;
  watch_ = std::move(*made);
  watch_->want_readable();
}

bool device_watch::attached() const {
  ifreq link{};
  return ::ioctl(device_, TUNGETIFF, &link) == 0;
}

/// Of whichever link: what came is thrown away, and the device asked. (It may have been given to
/// another namespace, which is no end.)
void device_watch::readable() {
  std::array<std::byte, 4096> rest;
  for (;;) {
    const auto n = ::recv(links_.get(), rest.data(), rest.size(), 0);
    if (n < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (n <= 0) break;
  }
  if (!attached()) return receiver_.device_failed(std::make_error_code(std::errc::no_such_device));
  watch_->want_readable();
}

}  // namespace weir::detail

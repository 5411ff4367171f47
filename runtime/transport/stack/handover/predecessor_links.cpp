// One sendmsg(2) a packet.
#include "runtime/transport/stack/handover/predecessor_links.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "stack/device/vnet_header.hpp"

namespace weir::detail {

bool predecessor_links::forward(std::span<const std::byte> packet,
                                const stack::receive_meta& meta) {
  std::array<std::byte, stack::vnet_header_size> header;
  stack::write_vnet_header(header.data(), meta);
  std::array<iovec, 2> parts{
      {{header.data(), header.size()}, {const_cast<std::byte*>(packet.data()), packet.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  while (at_ < links_.size()) {
    const auto sent = ::sendmsg(links_[at_], &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      ++forwarded_;
      return true;
    }
    switch (errno) {
      case EINTR: break;
      case EPIPE:
      case ECONNRESET:
      case ECONNREFUSED:
      case ENOTCONN: ++at_; break;
      default: ++full_; return true;
    }
  }
  return false;
}

}  // namespace weir::detail

// The headers and control messages of a batch, written and read, and the two calls that move it.
#include "runtime/transport/kernel/datagram_batch.hpp"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "runtime/transport/kernel/kernel_address.hpp"
#include "runtime/transport/kernel/kernel_datagram.hpp"
#include "weir/udp.hpp"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace weir::detail::kernel {
namespace {

/// Of one datagram: an address with its interface, the traffic class, a segment's size.
constexpr std::size_t control_size = CMSG_SPACE(sizeof(in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int));

struct message {
  sockaddr_in6 address;  // large enough for IPv4 too
  iovec part;
  alignas(cmsghdr) std::byte control[control_size];
};

template <class T>
T value_in(const cmsghdr* said) {
  T value;
  std::memcpy(&value, CMSG_DATA(said), sizeof value);
  return value;
}

ecn_mark mark_of(int traffic_class) { return static_cast<ecn_mark>(traffic_class & 3); }

void read_detail(const cmsghdr* said, incoming_datagram& out) {
  const auto is = [said](int level, int type) {
    return said->cmsg_level == level && said->cmsg_type == type;
  };
  if (is(IPPROTO_IP, IP_TOS)) {
    out.mark = mark_of(value_in<std::uint8_t>(said));
  } else if (is(IPPROTO_IPV6, IPV6_TCLASS)) {
    out.mark = mark_of(value_in<int>(said));
  } else if (is(IPPROTO_UDP, UDP_GRO)) {
    out.segment = static_cast<std::size_t>(value_in<int>(said));
  } else if (is(IPPROTO_IP, IP_PKTINFO)) {
    const auto info = value_in<in_pktinfo>(said);
    out.to = {ip_address::v4(ntohl(info.ipi_addr.s_addr)),
              static_cast<std::uint32_t>(info.ipi_ifindex)};
  } else if (is(IPPROTO_IPV6, IPV6_PKTINFO)) {
    const auto info = value_in<in6_pktinfo>(said);
    const auto interface = static_cast<std::uint32_t>(info.ipi6_ifindex);
    out.to = {address_from(info.ipi6_addr, interface), interface};
  }
}

void read_message(mmsghdr& from, const message& at, incoming_datagram& out) {
  out.size = from.msg_len;
  out.n = std::min<std::size_t>(out.size, out.buffer.size());
  out.from = endpoint_from(at.address);
  out.segment = 0;
  out.to = {};
  out.mark = ecn_mark::not_capable;
  for (auto* said = CMSG_FIRSTHDR(&from.msg_hdr); said != nullptr;
       said = CMSG_NXTHDR(&from.msg_hdr, said))
    read_detail(said, out);
  if (out.segment >= out.size) out.segment = 0;  // one datagram
}

/// Writes control messages one behind the other.
class control_writer {
 public:
  explicit control_writer(std::byte* at) : at_(at) {}

  template <class T>
  void add(int level, int type, const T& value) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof value);
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::memset(at_ + size_, 0, CMSG_SPACE(sizeof value));
    std::memcpy(at_ + size_, &header, sizeof header);
    std::memcpy(at_ + size_ + CMSG_LEN(0), &value, sizeof value);
    size_ += CMSG_SPACE(sizeof value);
  }
  std::size_t size() const { return size_; }

 private:
  std::byte* at_;
  std::size_t size_ = 0;
};

void write_path(control_writer& control, ip_family family, const datagram_path& from) {
  if (family == ip_family::v4) {
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(from.interface);
    std::memcpy(&info.ipi_spec_dst, from.address.bytes().data(), sizeof info.ipi_spec_dst);
    return control.add(IPPROTO_IP, IP_PKTINFO, info);
  }
  in6_pktinfo info{};
  info.ipi6_ifindex = from.interface;
  if (from.address.is_v6()) info.ipi6_addr = address_to(from.address);
  control.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
}

void write_message(msghdr& header, message& at, const datagram_socket& socket,
                   const outgoing_datagram& what) {
  header = {};
  if (!socket.connected) {
    header.msg_name = &at.address;
    header.msg_namelen = write_address(at.address, what.to);
  }
  at.part = {const_cast<std::byte*>(what.bytes.data()), what.bytes.size()};
  header.msg_iov = &at.part;
  header.msg_iovlen = 1;
  control_writer control(at.control);
  if (!what.from.address.is_unspecified() || what.from.interface != 0)
    write_path(control, socket.family, what.from);
  if (what.mark != ecn_mark::not_capable) {
    const bool v4 = socket.family == ip_family::v4;
    control.add(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS,
                socket.traffic_class | static_cast<int>(what.mark));
  }
  if (what.segment != 0 && what.segment < what.bytes.size())
    control.add(IPPROTO_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(what.segment));
  header.msg_control = control.size() == 0 ? nullptr : at.control;
  header.msg_controllen = control.size();
}

/// Whether a socket can be bound to it.
bool is_own(const ip_address& address) {
  const unique_fd probe(
      ::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const socket_address at({address, 0});
  return !probe || ::bind(probe.get(), at.data(), at.size) == 0 || errno != EADDRNOTAVAIL;
}

/// Of the datagram that could not be sent.
std::error_code sending_error(int number, const outgoing_datagram& what) {
  if (number == EAGAIN) return std::make_error_code(std::errc::operation_would_block);
  const auto& source = what.from.address;
  // The kernel has these words for other mistakes, too.
  if ((number == EINVAL || number == ENETUNREACH) && !source.is_unspecified() && !is_own(source))
    return std::make_error_code(std::errc::address_not_available);
  if (number == EINVAL && what.segment != 0)
    return std::make_error_code(std::errc::message_size);  // as older kernels say it
  return datagram_error_from(number);
}

std::error_code set(int fd, int level, int name) {
  constexpr int on = 1;
  return ::setsockopt(fd, level, name, &on, sizeof on) == 0 ? std::error_code() : last_error();
}

}  // namespace

std::error_code show_details(int fd, ip_family family, bool gro) {
  const bool v4 = family == ip_family::v4;
  const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (auto error = set(fd, level, v4 ? IP_RECVTOS : IPV6_RECVTCLASS)) return error;
  if (auto error = set(fd, level, v4 ? IP_PKTINFO : IPV6_RECVPKTINFO)) return error;
  return gro ? set(fd, IPPROTO_UDP, UDP_GRO) : std::error_code();
}

bool joins(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, IPPROTO_UDP, UDP_GRO, &value, &size) == 0 && value != 0;
}

result<std::size_t> receive_batch(int fd, const datagram_socket& socket,
                                  std::span<incoming_datagram> into) {
  std::array<message, udp_socket::max_batch> messages;
  std::array<mmsghdr, udp_socket::max_batch> headers;
  const auto most = std::min(into.size(), headers.size());
  for (std::size_t i = 0; i < most; ++i) {
    auto& header = headers[i].msg_hdr;
    header = {};
    messages[i].part = {into[i].buffer.data(), into[i].buffer.size()};
    header.msg_name = &messages[i].address;
    header.msg_namelen = sizeof messages[i].address;
    header.msg_iov = &messages[i].part;
    header.msg_iovlen = 1;
    header.msg_control = messages[i].control;
    header.msg_controllen = control_size;
  }
  int came;
  do
    came = ::recvmmsg(fd, headers.data(), static_cast<unsigned>(most), MSG_DONTWAIT | MSG_TRUNC,
                      nullptr);
  while (came < 0 && errno == EINTR);
  if (came < 0 && errno == EAGAIN) return std::errc::operation_would_block;
  if (came < 0) return last_error();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(came); ++i) {
    auto& out = into[i];
    read_message(headers[i], messages[i], out);
    if (socket.connected && out.from != socket.remote) continue;
    if (kept != i) std::swap(into[kept], out);
    ++kept;
  }
  return kept;
}

result<std::size_t> send_batch(int fd, const datagram_socket& socket,
                               std::span<const outgoing_datagram> batch) {
  std::array<message, udp_socket::max_batch> messages;
  std::array<mmsghdr, udp_socket::max_batch> headers;
  const auto most = std::min(batch.size(), headers.size());
  for (std::size_t i = 0; i < most; ++i)
    write_message(headers[i].msg_hdr, messages[i], socket, batch[i]);
  int sent;
  do
    sent = ::sendmmsg(fd, headers.data(), static_cast<unsigned>(most), MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return sending_error(errno, batch.front());
  return static_cast<std::size_t>(sent);
}

batch_step go_on(int fd, receive_datagram_operation& op) {
  batch_step out;
  while (!out.over) {
    ++out.calls;
    const auto came = receive_batch(fd, *op.socket, op.batch);
    if (!came) {
      out.over = came.error() != std::errc::operation_would_block;
      if (out.over) out.error = came.error();
      break;
    }
    op.size = *came;
    out.over = *came != 0;  // else all of them were others'
    for (const auto& one : op.batch.first(*came)) out.bytes += one.n;
  }
  return out;
}

batch_step go_on(int fd, send_datagram_operation& op) {
  batch_step out;
  while (op.sent < op.batch.size()) {
    ++out.calls;
    const auto left = op.batch.subspan(op.sent);
    const auto went = send_batch(fd, *op.socket, left);
    if (!went) {
      out.over = went.error() != std::errc::operation_would_block;
      if (out.over) out.error = went.error();
      return out;
    }
    op.sent += *went;
    for (const auto& one : left.first(*went)) out.bytes += one.bytes.size();
  }
  out.over = true;
  return out;
}

}  // namespace weir::detail::kernel

// See packet_clients.hpp. Packets leave past the queueing discipline, straight into the device.
#include "scenarios/packet_clients.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace weir::bench {
namespace {

namespace wire = stack::wire;

[[noreturn]] void refuse(const std::string& what) {
  throw std::system_error(errno, std::system_category(), what);
}

constexpr std::size_t checksum_at = 16;  // RFC 9293 3.1

int open_on(const std::string& device, bool hears, sockaddr_ll& where) {
  const unsigned index = ::if_nametoindex(device.c_str());
  if (index == 0) refuse("device " + device);
  const int fd = ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) refuse("a packet socket (CAP_NET_RAW)");
  // Protocol 0 hears nothing (packet(7)).
  where.sll_family = AF_PACKET;
  where.sll_protocol = hears ? htons(ETH_P_IP) : 0;
  where.sll_ifindex = static_cast<int>(index);
  const int on = 1, room = 32 << 20;
  ::setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  ::setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&where), sizeof where) == 0;
  where.sll_protocol = htons(ETH_P_IP);  // of what is sent
  if (bound) return fd;
  ::close(fd);
  refuse("binding a packet socket to " + device);
}

}  // namespace

packet_clients::packet_clients(const std::string& device, bool hears)
    : fd_(open_on(device, hears, to_)), out_(batch * packet_limit), in_(batch * packet_limit) {
  lengths_.reserve(batch);
  seen_.reserve(batch);
}

packet_clients::~packet_clients() { ::close(fd_); }

void packet_clients::send(const wire::tcp_segment& segment, std::span<const std::byte> payload) {
  const std::span<std::byte> packet =
      std::span(out_).subspan(lengths_.size() * packet_limit, packet_limit);
  const auto transport = packet.subspan(wire::min_ipv4_header);
  const std::size_t header = wire::emit_tcp_header(transport, segment);
  std::copy(payload.begin(), payload.end(),
            transport.begin() + static_cast<std::ptrdiff_t>(header));
  const std::size_t length = header + payload.size();
  wire::ipv4_fields ip;
  ip.source = segment.source;
  ip.destination = segment.destination;
  ip.protocol = wire::tcp_protocol;
  ip.total_length = static_cast<std::uint16_t>(wire::min_ipv4_header + length);
  wire::emit_ipv4(packet.data(), ip);
  wire::internet_sum sum;
  sum.add_pseudo(segment.source, segment.destination, wire::tcp_protocol,
                 static_cast<std::uint32_t>(length));
  sum.add(transport.first(length));
  const std::uint16_t checksum = htons(sum.checksum());
  std::memcpy(transport.data() + checksum_at, &checksum, sizeof checksum);
  lengths_.push_back(wire::min_ipv4_header + length);
  if (lengths_.size() == batch) flush();
}

void packet_clients::flush() {
  std::array<mmsghdr, batch> messages{};
  std::array<iovec, batch> parts{};
  for (std::size_t i = 0; i < lengths_.size(); ++i) {
    parts[i] = {out_.data() + i * packet_limit, lengths_[i]};
    messages[i].msg_hdr.msg_name = &to_;
    messages[i].msg_hdr.msg_namelen = sizeof to_;
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  for (std::size_t done = 0; done < lengths_.size();) {
    const int n = ::sendmmsg(fd_, &messages[done], static_cast<unsigned>(lengths_.size() - done),
                             MSG_DONTWAIT);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
      sent_ += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      if (errno != ENOBUFS && errno != EAGAIN) refuse("sending packets");
      ++done, ++dropped_;
    }
  }
  lengths_.clear();
}

std::span<const wire::tcp_segment> packet_clients::receive(int wait_ms) {
  seen_.clear();
  pollfd ready{fd_, POLLIN, 0};
  if (wait_ms > 0 && ::poll(&ready, 1, wait_ms) <= 0) return seen_;
  std::array<mmsghdr, batch> messages{};
  std::array<iovec, batch> parts{};
  for (std::size_t i = 0; i < batch; ++i) {
    parts[i] = {in_.data() + i * packet_limit, packet_limit};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int n = ::recvmmsg(fd_, messages.data(), batch, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto ip = wire::parse_ip(std::span(in_).subspan(at * packet_limit, messages[at].msg_len));
    if (ip.status != wire::ip_status::ok || ip.protocol != wire::tcp_protocol) continue;
    wire::tcp_segment segment;
    segment.source = ip.source;
    segment.destination = ip.destination;
    // Checksums are the sender's device's business: with offload they are not there yet.
    if (wire::parse_tcp(ip.payload, false, segment) == wire::parse_status::ok)
      seen_.push_back(segment);
  }
  return seen_;
}

std::uint64_t resident_bytes(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t total = 0, resident = 0;
  if (!(in >> total >> resident)) refuse("/proc/" + std::to_string(pid) + "/statm");
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace weir::bench

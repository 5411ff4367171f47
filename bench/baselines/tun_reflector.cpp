// Baseline: answers TCP over a TUN device from the arriving segment alone, with no table, no timer
// and no memory: the floor for any user-space stack on TUN. A segment is turned round (addresses,
// ports, sequence and acknowledgement swapped), data comes back as data. It relies on a lossless
// link and on requests that fit a segment; it is a yardstick, not a server.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "../clock.hpp"
#include "../private_net.hpp"
#include "baselines.hpp"

namespace weir::bench {
namespace {

constexpr std::size_t packet_limit = 64 * 1024;
constexpr std::uint16_t window = 65535;
constexpr std::uint32_t first_sequence = 0x10000000;

std::uint64_t sum(const std::uint8_t* bytes, std::size_t length, std::uint64_t total) {
  for (; length >= 4; bytes += 4, length -= 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes, 4);
    total += word;
  }
  std::uint32_t rest = 0;
  std::memcpy(&rest, bytes, length);
  return total + rest;
}

std::uint16_t fold(std::uint64_t total) {
  while (total >> 16 != 0) total = (total & 0xffff) + (total >> 16);
  return static_cast<std::uint16_t>(~total);
}

/// Turns the packet into its answer, in place. 0 when there is nothing to answer.
std::size_t reflect(std::uint8_t* packet, std::size_t length) {
  if (length < sizeof(iphdr) + sizeof(tcphdr)) return 0;
  auto* ip = reinterpret_cast<iphdr*>(packet);
  const std::size_t ip_bytes = ip->ihl * 4u;
  if (ip->version != 4 || ip->protocol != IPPROTO_TCP || ip_bytes + sizeof(tcphdr) > length)
    return 0;
  if (ntohs(ip->tot_len) != length) return 0;
  auto* tcp = reinterpret_cast<tcphdr*>(packet + ip_bytes);
  const std::size_t headers = ip_bytes + tcp->doff * 4u;
  if (tcp->rst || headers > length) return 0;
  const std::size_t data = length - headers;
  if (!tcp->syn && !tcp->fin && data == 0) return 0;

  const std::uint32_t arrived = ntohl(tcp->seq);
  const auto used = static_cast<std::uint32_t>(data) + tcp->syn + tcp->fin;
  const std::uint32_t ours = tcp->syn ? first_sequence : ntohl(tcp->ack_seq);
  std::swap(ip->saddr, ip->daddr);
  std::swap(tcp->source, tcp->dest);
  tcp->seq = htonl(ours);
  tcp->ack_seq = htonl(arrived + used);
  tcp->ack = 1;
  tcp->window = htons(window);
  std::memmove(packet + ip_bytes + sizeof(tcphdr), packet + headers,
               data);  // answers carry no options
  tcp->doff = sizeof(tcphdr) / 4;
  tcp->check = 0;
  const std::size_t segment = sizeof(tcphdr) + data;
  ip->tot_len = htons(static_cast<std::uint16_t>(ip_bytes + segment));
  ip->ttl = 64;
  ip->check = 0;
  ip->check = fold(sum(packet, ip_bytes, 0));
  const std::uint64_t pseudo = sum(reinterpret_cast<const std::uint8_t*>(&ip->saddr), 8, 0) +
                               htons(IPPROTO_TCP) + htons(static_cast<std::uint16_t>(segment));
  tcp->check = fold(sum(packet + ip_bytes, segment, pseudo));
  return ip_bytes + segment;
}

}  // namespace

void serve_tun_reflector(const baseline_settings& settings) {
  const std::string text = to_string(settings.where);
  const std::string ours = text.substr(0, text.rfind(':'));
  const int tun = open_tun("wreflect", 0);
  set_queue_length("wreflect",
                   10'000);  // the default of 500 packets drops a burst of 512 connections
  configure_interface("wreflect", ours.substr(0, ours.rfind('.')) + ".1", 24);
  announce(settings.where, "tun-reflector");
  alignas(8) static std::uint8_t packet[packet_limit];
  std::uint64_t idle_since = now_ns();
  ::fcntl(tun, F_SETFL, ::fcntl(tun, F_GETFL) | O_NONBLOCK);
  for (;;) {
    const ssize_t n = ::read(tun, packet, sizeof packet);
    if (n < 0 && errno == EAGAIN) {
      if (settings.busy_poll_us > 0 && now_ns() - idle_since < settings.busy_poll_us * 1000ull)
        continue;
      pollfd readable{tun, POLLIN, 0};
      ::poll(&readable, 1, -1);
      continue;
    }
    if (n < 0) throw std::system_error(errno, std::system_category(), "reading the TUN device");
    if (const std::size_t length = reflect(packet, static_cast<std::size_t>(n)); length > 0)
      if (::write(tun, packet, length) < 0) continue;  // a full queue loses it, like any link
    if (settings.busy_poll_us > 0) idle_since = now_ns();
  }
}

}  // namespace weir::bench

// What the host's fuzz targets share: segments as a peer would send them, what a host sent taken
// apart again, and the claims that hold after every step whatever came before.
#pragma once

#include <array>
#include <map>
#include <set>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/icmp.hpp"
#include "stack/wire/ip.hpp"
#include "stack/wire/tcp.hpp"
#include "weir/stack/host.hpp"

namespace weir::fuzz {

namespace wire = weir::stack::wire;

// What only checks need not guide the fuzzer, and tracing it costs more than the stack's own work.
#if defined(__clang__)
#define WEIR_UNTRACED __attribute__((no_sanitize("coverage")))
#else
#define WEIR_UNTRACED
#endif

/// The IP packet around `body`, which starts with a transport header.
inline std::vector<std::byte> ip_packet(const ip_address& source, const ip_address& destination,
                                        std::uint8_t protocol, std::span<const std::byte> body,
                                        std::uint8_t traffic_class = 0) {
  auto at = source.is_v6() ? wire::ipv6_header : wire::min_ipv4_header;
  std::vector<std::byte> out(at + body.size());
  std::copy(body.begin(), body.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
  if (source.is_v6()) {
    wire::ipv6_fields ip;
    ip.source = source, ip.destination = destination;
    ip.next_header = protocol;
    ip.traffic_class = traffic_class;
    ip.payload_length = static_cast<std::uint16_t>(body.size());
    wire::emit_ipv6(out.data(), ip);
  } else {
    wire::ipv4_fields ip;
    ip.source = source, ip.destination = destination;
    ip.protocol = protocol;
    ip.traffic_class = traffic_class;
    ip.total_length = static_cast<std::uint16_t>(out.size());
    wire::emit_ipv4(out.data(), ip);
  }
  return out;
}

/// The packet that carries `segment` and `payload`, checksums right.
WEIR_UNTRACED inline std::vector<std::byte> tcp_packet(const wire::tcp_segment& segment,
                                                       std::span<const std::byte> payload) {
  std::array<std::byte, wire::max_tcp_header> header;
  auto length = wire::emit_tcp_header(header, segment);
  std::vector<std::byte> body(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(length));
  body.insert(body.end(), payload.begin(), payload.end());
  wire::internet_sum sum;
  sum.add_pseudo(segment.source, segment.destination, wire::tcp_protocol,
                 static_cast<std::uint32_t>(body.size()));
  sum.add(body);
  wire::put16(body.data() + 16, sum.checksum());
  return ip_packet(segment.source, segment.destination, wire::tcp_protocol, body, segment.ecn);
}

/// The byte that peers send under a sequence number: reading anything else is a fault.
WEIR_UNTRACED inline std::byte stream_byte(std::uint32_t sequence) {
  return static_cast<std::byte>((sequence * 0x9e3779b1u) >> 24);
}

/// Holds after every step: bounds of memory and queues, counters that only grow.
class host_claims {
 public:
  void check(const stack::host& host) {
    check_counters(host.counters());
    std::uint64_t held = 0;
    host.for_each_connection([&](const stack::tcp_info& info) WEIR_UNTRACED {
      held += info.memory;
      claim(info.unacknowledged <= info.send_queued, "no more in flight than is queued");
      claim(info.receive_queued + std::uint64_t{info.out_of_order} <=
                std::uint64_t{host.options().tcp.receive_buffer} + 65535,
            "received bytes within the buffer");
      claim(info.state == stack::tcp_state::closed || info.send_mss > 0 ||
                info.state == stack::tcp_state::syn_sent ||
                info.state == stack::tcp_state::syn_received,
            "an MSS");
    });
    claim(held <= host.memory_in_use(), "what connections hold is counted");
    // Half-open and TIME_WAIT entries have bounds of their own, beside the queues'.
    claim(host.memory_in_use() <= host.options().limits.memory + 64 * 1024, "memory within bounds");
    host.for_each_listener([](const stack::listener_info& l) WEIR_UNTRACED {
      claim(l.syn_queue <= l.syn_backlog, "the SYN queue within its bound");
      claim(l.accept_queue <= l.backlog, "the accept queue within its bound");
    });
  }

 private:
  WEIR_UNTRACED void check_counters(const stack::host_counters& counters) {
    for (std::size_t i = 0; i < stack::host_counters::size; ++i) {
      auto value = counters[static_cast<stack::counter>(i)];
      claim(value >= before_[i], "counters only grow");
      before_[i] = value;
    }
  }

  std::array<std::uint64_t, stack::host_counters::size> before_{};
};

/// What a host owes to those who have not proved their address: for each, no more bytes than they
/// sent, SYN-ACKs apart (RFC 4987 3); an ICMP error may be longer by its own headers.
class address_ledger {
 public:
  void prove(const ip_address& who) { proved_.insert(who); }
  void received(std::span<const std::byte> packet) {
    if (packet.size() < wire::min_ipv4_header) return;
    bool v6 = wire::get8(packet.data()) >> 4 == 6;
    if (v6 && packet.size() < wire::ipv6_header) return;
    auto source = v6 ? wire::read_v6(packet.data() + 8) : wire::read_v4(packet.data() + 12);
    auto ip = wire::parse_ip(packet);
    bool segment =
        ip.status == wire::ip_status::ok && ip.protocol == wire::tcp_protocol && !ip.is_fragment;
    balance_[source] += static_cast<std::int64_t>(packet.size() + (segment ? 0 : v6 ? 48 : 28));
  }
  void sent(const wire::ip_header& ip, std::size_t size, bool is_syn_ack) {
    if (is_syn_ack || proved_.contains(ip.destination)) return;
    auto& left = balance_[ip.destination];
    left -= static_cast<std::int64_t>(size);
    claim(left >= 0, "no more bytes to an address than came from it, unless it is proved");
  }

 private:
  std::set<ip_address> proved_;
  std::map<ip_address, std::int64_t> balance_;
};

}  // namespace weir::fuzz

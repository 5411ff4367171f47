// A host's whole IP input on sequences of packets: fragments, ICMP, clocks that jump. Checksums are
// put right for most packets, so that the fuzzer gets past them. Nothing may break, and every bound
// holds.
#include <array>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "stack/ip/ip_layer.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

using namespace weir;
using namespace weir::fuzz;
namespace wire = weir::stack::wire;

namespace {

class checking_sink final : public stack::packet_sink {
 public:
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta& meta) override {
    packet_.clear();
    for (const auto& part : parts) packet_.insert(packet_.end(), part.begin(), part.end());
    auto h = wire::parse_ip(packet_);
    claim(h.status == wire::ip_status::ok, "what is sent parses");
    claim(h.total_length == packet_.size() && packet_.size() <= 1500,
          "what is sent has its length and fits");
    claim(h.ttl > 0, "TTL is never zero");
    claim(!h.destination.is_multicast() && !h.destination.is_limited_broadcast(),
          "no packet to a group");
    claim(meta.header_length <= packet_.size(), "headers inside the packet");
    ++sent;
    return sent % 7 != 0;
  }
  int sent = 0;

 private:
  std::vector<std::byte> packet_;
};

stack::host_options options() {
  stack::host_options o;
  o.addresses = {{ip_address::v4(0xc6120002), 24}, {*ip_address::parse("2001:db8::2"), 64}};
  o.limits.reassembly_bytes = 8 << 10;
  o.limits.icmp_errors_per_second = 50;
  return o;
}

// Puts in our addresses, the true length and right checksums, by the bits of `how`.
void mend(std::vector<std::byte>& packet, std::uint8_t how) {
  bool v6 = !packet.empty() && (how & 1) != 0;
  if (packet.size() < (v6 ? 40u : 20u)) return;
  auto* at = packet.data();
  at[0] = std::byte(v6 ? 0x60 : 0x40 | (wire::get8(at) & 15));
  if ((how & 2) != 0)
    wire::put16(at + (v6 ? 4 : 2), static_cast<std::uint16_t>(packet.size() - (v6 ? 40 : 0)));
  if ((how & 4) != 0) {
    if (v6) {
      auto source = *ip_address::parse("2001:db8::1"), own = *ip_address::parse("2001:db8::2");
      std::memcpy(at + 8, source.bytes().data(), 16);
      std::memcpy(at + 24, own.bytes().data(), 16);
    } else {
      wire::put32(at + 12, 0xc6120001);
      wire::put32(at + 16, 0xc6120002);
    }
  }
  if (!v6 && (how & 8) != 0) {
    auto header = std::min<std::size_t>((wire::get8(at) & 15u) * 4u, packet.size());
    wire::put16(at + 10, 0);
    wire::put16(at + 10, wire::checksum_of(std::span(packet).first(header)));
  }
  auto h = wire::parse_ip(packet);
  if ((how & 16) == 0 || h.status != wire::ip_status::ok || h.is_fragment) return;
  std::size_t field = h.protocol == 6 ? 16 : h.protocol == 17 ? 6 : 2;
  if (h.payload.size() < field + 2) return;
  auto* transport = at + h.header_length;
  wire::internet_sum sum;
  if (v6 || h.protocol != wire::icmp_v4)
    sum.add_pseudo(h.source, h.destination, h.protocol,
                   static_cast<std::uint32_t>(h.payload.size()));
  wire::put16(transport + field, 0);
  sum.add(h.payload);
  wire::put16(transport + field, sum.checksum());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto settings = options();
  checking_sink sink;
  stack::host_counters counters;
  stack::ip_layer ip(settings, sink, counters);
  input in(data, size);
  auto now = instant::from_ns(1'000'000'000);
  while (!in.empty()) {
    auto how = in.number8();
    if (how == 0xff) {
      now += std::chrono::milliseconds(in.number16());
      ip.advance(now);
      continue;
    }
    auto bytes = in.take(in.number8() * ((how & 32) != 0 ? 8u : 1u));
    std::vector<std::byte> packet(bytes.begin(), bytes.end());
    mend(packet, how);
    stack::receive_meta meta;
    meta.checksum_good = (how & 64) != 0;
    auto d = ip.input(now, packet, meta);
    if (auto* s = std::get_if<wire::tcp_segment>(&d)) {
      claim(s->payload.size() <= 65535, "a segment of an IP packet's size");
      // An answer as a stack would give it.
      auto reply = *s;
      std::swap(reply.source, reply.destination);
      std::span<const std::byte> parts[] = {s->payload};
      reply.gso_size = 536;
      ip.send_tcp(now, reply, parts);
    }
    if (auto* u = std::get_if<wire::udp_datagram>(&d)) ip.send_port_unreachable(now, *u);
    if (auto* r = std::get_if<stack::icmp_report>(&d)) {
      claim(ip.is_local(r->local.address), "reports concern our own packets");
      ip.lower_path_mtu(now, *r);
      auto mtu = ip.path_mtu(now, r->remote.address);
      claim(mtu <= 1500 && mtu >= (r->remote.address.is_v6() ? 1280 : 552),
            "path MTU within its bounds");
    }
    while (ip.has_looped()) (void)ip.input_looped(now);
  }
  return 0;
}

// Frames of an Ethernet link with a neighbour that is known: nothing is allocated, counted at
// operator new.
#include <doctest/doctest.h>

#include "support/allocations.hpp"
#include "unit/link_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

class counting_sink final : public stack::frame_sink {
 public:
  bool send_frame(std::span<const std::byte, wire::ethernet_header>,
                  std::span<const std::span<const std::byte>>,
                  const stack::transmit_meta&) override {
    ++frames;
    return true;
  }
  int frames = 0;
};

bytes packet(const char* from, const char* to) {
  ip_packet out;
  out.source = addr(from);
  out.destination = addr(to);
  out.protocol = 6;
  out.payload = pattern(100);
  return out.build();
}

}  // namespace

TEST_CASE("data_path_of_a_frame_in_and_out_allocates_nothing") {
  counting_sink sink;
  stack::ethernet_link link(guest_link(), sink);
  const auto now = instant::from_ns(1'000'000'000);
  const auto asks = frame(own_mac, guest_mac, wire::ethertype::arp,
                          arp_bytes({false, guest_mac, {}, addr("10.0.2.100"), addr("10.0.2.2")}));
  link.input(now, asks, {});
  const auto in =
      frame(own_mac, guest_mac, wire::ethertype::ipv4, packet("10.0.2.100", "192.0.2.1"));
  const auto out = packet("192.0.2.1", "10.0.2.100");
  const std::span<const std::byte> parts[] = {std::span(out).first(40), std::span(out).subspan(40)};
  const auto before = weir::test::allocations();
  bool delivered = true, sent = true;
  for (int i = 0; i < 100; ++i) {
    delivered = delivered && !link.input(now, in, {}).empty();
    sent = sent && link.output(now, parts, {});
    link.input(now, asks, {});
  }
  const auto after = weir::test::allocations();
  CHECK(after == before);
  CHECK(delivered);
  CHECK(sent);
  CHECK(sink.frames == 201);
}

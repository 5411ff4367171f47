// Counts heap allocations: none per datagram once a host is warm. Replaces operator new for this
// program.

#include "support/allocations.hpp"
#include "unit/udp_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct counting_sink final : stack::packet_sink {
  bool transmit(std::span<const std::span<const std::byte>>, const stack::transmit_meta&) override {
    ++packets;
    return true;
  }
  std::size_t packets = 0;
};

}  // namespace

TEST_CASE("receiving_and_sending_datagrams_allocates_nothing_once_warm") {
  for (bool v6 : {false, true}) {
    counting_sink sink;
    stack::host host(ip_options(), sink);
    auto id = host.udp_bind(own_at(v6, 53));
    REQUIRE(id);
    const auto small = from_peer(v6, 17, udp_bytes(peer(v6), own(v6), 1, 53, pattern(64))).build();
    const auto large =
        from_peer(v6, 17, udp_bytes(peer(v6), own(v6), 1, 53, pattern(1400))).build();
    std::vector<std::byte> buffer(4096);
    auto round = [&] {
      for (int i = 0; i < 20; ++i) host.input(at_ms(1), i % 3 == 0 ? large : small);
      stack::event what;
      while (host.next_event(what)) {
        for (;;) {
          auto got = host.udp_receive(*id, buffer);
          if (!got) break;
          std::span<const std::byte> part[] = {std::span(buffer).first(got->copied)};
          REQUIRE(host.udp_send(at_ms(1), *id, &got->from, part));
        }
      }
      std::span<const std::byte> fragmented[] = {buffer};
      auto to = peer_at(v6, 1);
      REQUIRE(host.udp_send(at_ms(1), *id, &to, fragmented));
      host.flush(at_ms(1));
    };
    for (int i = 0; i < 10; ++i) round();
    auto before = weir::test::allocations();
    for (int i = 0; i < 200; ++i) round();
    CHECK(weir::test::allocations() == before);
    CHECK(sink.packets >= 210 * 20);
  }
}

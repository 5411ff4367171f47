// Ephemeral ports (RFC 6056), and initial numbers of a pair of endpoints that is used again (RFC
// 6528).
#include <set>

#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

host_options with_secret(std::uint8_t seed) {
  host_options o;
  o.secret = secret_of(seed);
  return o;
}

std::uint16_t next_port(script& t, const endpoint& remote) {
  const auto id = t.h().connect(t.now(), remote, {}, {});
  REQUIRE(id);
  t.skip();
  return t.h().local_endpoint(*id).port;
}

}  // namespace

// covers: 6056-1
TEST_CASE("where the ports of a destination begin depends on the destination and a secret") {
  std::set<std::uint16_t> by_secret;
  std::set<int> distances;
  for (std::uint8_t seed = 1; seed <= 10; ++seed) {
    script t(with_secret(seed));
    const auto one = next_port(t, {t.them, 80});
    by_secret.insert(one);
    // Who sees the ports that are used towards him learns nothing of those towards another.
    distances.insert(next_port(t, at("10.0.0.77", 80)) - one);
    distances.insert(next_port(t, {t.them, 81}) - one);
  }
  CHECK(by_secret.size() >= 9);
  CHECK(distances.size() >= 18);
}

// covers: 6056-2, 6056-3
TEST_CASE("every port from 1024 up is used once for a destination, and then none is left") {
  script t;
  std::vector<bool> seen(65536);
  constexpr std::uint32_t all = 65536 - 1024;
  for (std::uint32_t i = 0; i < all; ++i) {
    const auto port = next_port(t, {t.them, 80});
    REQUIRE(port >= 1024);
    REQUIRE(!seen[port]);
    seen[port] = true;
  }
  CHECK(t.h().connect(t.now(), {t.them, 80}, {}, {}).error() == std::errc::address_in_use);
  // The same ports serve another destination: it is the 4-tuple that must not repeat.
  CHECK(t.h().connect(t.now(), {t.them, 81}, {}, {}));
}

// covers: 6056-2
TEST_CASE("only the port of a listener is left out") {
  script first;
  const auto chosen = next_port(first, {first.them, 80});
  const auto after = next_port(first, {first.them, 80});
  script second;
  REQUIRE(second.h().listen({second.us, chosen}, {}));
  CHECK(next_port(second, {second.them, 80}) == after);
}

// covers: 6056-3
TEST_CASE("a pair of endpoints that waits out its last segments is not used again") {
  script t;
  t.connect();
  t.out("S 0");
  const auto local = t.h().local_endpoint(t.socket);
  t.in("S. 0 ack 1 <mss 1460>");
  t.skip();
  t.shutdown();
  t.in("F. 1 ack 2");
  CHECK(t.state() == tcp_state::time_wait);
  t.close();
  t.skip();
  const endpoint remote{t.them, t.peer_port};
  CHECK(t.h().connect(t.now(), remote, local, {}).error() == std::errc::address_in_use);
  t.after(61s);
  CHECK(t.h().connect(t.now(), remote, local, {}));
}

// covers: 6528-3
TEST_CASE("a pair of endpoints that is used again starts above all that it sent before") {
  script t;
  t.establish("<mss 1460>");
  // More bytes than the clock has ticks meanwhile: no time passes at all.
  std::uint32_t at = 1;
  std::uint32_t last = 0;
  while (at < 500'000) {
    REQUIRE(t.send(50000u).value() > 0);
    while (t.sent() > 0) {
      const auto s = t.take();
      last = s.sequence + static_cast<std::uint32_t>(s.payload.size());
      at = t.place(s) + static_cast<std::uint32_t>(s.payload.size());
    }
    t.in(ack(at));
  }
  while (t.sent() > 0 || t.info().unacknowledged > 0) {
    for (; t.sent() > 0;) {
      const auto s = t.take();
      last = s.sequence + static_cast<std::uint32_t>(s.payload.size());
      at = t.place(s) + static_cast<std::uint32_t>(s.payload.size());
    }
    t.in(ack(at));
  }
  t.shutdown();
  t.skip();
  t.in("F. 1 ack " + std::to_string(at + 1));
  t.skip();
  t.close();
  t.peer_isn += 1000;
  t.in("S 0 <mss 1460>");
  CHECK(static_cast<std::int32_t>(t.take().sequence - last) > 0);
  CHECK(t.count(counter::time_wait_recycled) == 1);
}

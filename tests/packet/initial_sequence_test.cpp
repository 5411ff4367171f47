// Initial sequence numbers as the wire sees them (RFC 9293 3.4.1, RFC 6528): a clock that everyone
// shares plus a keyed hash of the connection's addresses and ports.
#include <doctest/doctest.h>

#include <set>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

std::uint32_t syn_ack_number(script& t) {
  t.in("S 0 <mss 1460>");
  const auto isn = t.take().sequence;
  t.in("R 1 win 0");  // forget it
  return isn;
}

std::uint32_t syn_number(script& t, const endpoint& remote, std::uint16_t local_port) {
  const auto id = t.h().connect(t.now(), remote, {t.us, local_port}, {});
  REQUIRE(id);
  const auto isn = t.take().sequence;
  t.h().close(t.now(), *id);
  t.skip();
  return isn;
}

}  // namespace

// covers: MUST-8, SHLD-1, 6528-1
TEST_CASE(
    "the initial number of one pair of endpoints follows a clock of about four microseconds") {
  script passive;
  passive.listen();
  script active;
  for (const auto wait : {1ms, 100ms, 1000ms, 60'000ms}) {
    CAPTURE(wait.count());
    const auto ticks = static_cast<double>(duration(wait).count()) / 4096;
    const auto from = syn_ack_number(passive);
    passive.after(wait);
    CHECK(std::abs(static_cast<double>(syn_ack_number(passive) - from) - ticks) <= 1);
    const auto active_from = syn_number(active, {active.them, 80}, 5000);
    active.after(wait);
    CHECK(std::abs(static_cast<double>(syn_number(active, {active.them, 80}, 5000) - active_from) -
                   ticks) <= 1);
  }
}

// covers: SHLD-1, 6528-1
TEST_CASE("the initial number depends on each part of the pair of endpoints") {
  script t;
  std::set<std::uint32_t> seen;
  seen.insert(syn_number(t, {t.them, 80}, 5000));
  seen.insert(syn_number(t, {t.them, 81}, 5000));
  seen.insert(syn_number(t, {t.them, 80}, 5001));
  seen.insert(syn_number(t, at("10.0.0.3", 80), 5000));
  CHECK(seen.size() == 4);
}

// covers: MUST-9, SHLD-1, 6528-2
TEST_CASE("what one knows of one host's initial numbers says nothing of another secret's") {
  // The distance between two flows of one host would be the same for every secret if the hash were
  // not keyed, or the key only added.
  std::set<std::uint32_t> distances, numbers;
  for (std::uint8_t seed = 1; seed <= 8; ++seed) {
    host_options o;
    o.secret = secret_of(seed);
    script t(o);
    const auto one = syn_number(t, {t.them, 80}, 5000);
    numbers.insert(one);
    distances.insert(syn_number(t, {t.them, 81}, 5000) - one);
  }
  CHECK(numbers.size() == 8);
  CHECK(distances.size() == 8);
}

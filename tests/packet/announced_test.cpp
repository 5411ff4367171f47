// host::expect(): a hint, and nothing but a hint. Whatever is announced, truly, wrongly or
// shapelessly, the host does what it does without.
#include <doctest/doctest.h>

#include <algorithm>

#include "packet/two_hosts.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// More connections than a host takes for cached (1024), so that hints are acted upon.
constexpr int connections = 1200;

struct seen {
  std::uint64_t packets = 0, fingerprint = 0;
  int echoed = 0;
  bool operator==(const seen&) const = default;
};

/// What is announced before a packet arrives: itself, parts of it, and what only looks like it.
void announce(host& to, std::span<const std::byte> packet) {
  std::vector<std::byte> as_v6(packet.begin(), packet.end());
  as_v6.resize(std::max<std::size_t>(as_v6.size(), 44));
  as_v6[0] = std::byte{0x60};
  as_v6[6] = std::byte{6};
  std::vector<std::span<const std::byte>> some{packet,           {},    packet.first(1),
                                               packet.first(23), as_v6, std::span(as_v6).first(43)};
  while (some.size() < 40) some.push_back(packet);
  to.expect(some);
}

seen live(bool announced) {
  host_options roomy;
  two_hosts net({}, roomy, roomy, 7);
  seen out;
  net.filter = [&](int to, std::span<const std::byte> packet) {
    for (auto byte : packet)
      out.fingerprint = (out.fingerprint ^ std::to_integer<std::uint64_t>(byte)) * 1099511628211u;
    if (announced) announce(to == 0 ? net.a() : net.b(), packet);
    return true;
  };
  const auto listener = *net.b().listen(at("10.0.0.2", 80), {.backlog = 2000});
  std::vector<socket_id> clients, servers;
  for (int i = 0; i < connections; ++i) {
    clients.push_back(*net.a().connect(net.now(), at("10.0.0.2", 80), {}, tcp_options{}));
    net.run_for(1ms);
  }
  REQUIRE(net.run_until([&] {
    while (auto got = net.b().accept(listener)) servers.push_back(*got);
    return servers.size() == clients.size();
  }));
  for (auto id : clients) CHECK(send_text(net.a(), net.now(), id, "ping").value() == 4);
  net.run_for(100ms);
  for (auto id : servers)
    CHECK(send_text(net.b(), net.now(), id, receive_text(net.b(), net.now(), id)).value() == 4);
  net.run_for(100ms);
  for (auto id : clients) out.echoed += receive_text(net.a(), net.now(), id) == "ping";
  out.packets = net.packets();
  return out;
}

}  // namespace

TEST_CASE("announced packets change nothing that is sent") {
  const auto without = live(false);
  CHECK(without.echoed == connections);
  CHECK(live(true) == without);
}

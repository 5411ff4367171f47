// UDP where several hosts share one device: a datagram reaches its socket whichever queue it came
// by, and no two shards have one port unless both say so.
#include <algorithm>
#include <memory>
#include <vector>

#include "unit/udp_support.hpp"
#include "weir/stack/shards.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct shared_device {
  explicit shared_device(unsigned count)
      : set(std::make_shared<stack::shard_set>(count, ip_options().secret)), sinks(count) {
    for (unsigned i = 0; i < count; ++i)
      hosts.push_back(std::make_unique<stack::host>(ip_options(), sinks[i], set, i));
  }
  /// A datagram of the peer's comes by this shard's queue; then every shard takes what is its.
  void datagram(unsigned by, std::uint16_t to_port, const char* what,
                std::uint16_t from_port = 40000) {
    packet(by,
           from_peer(false, 17, udp_bytes(peer(false), own(false), from_port, to_port, text(what)))
               .build());
  }
  void packet(unsigned by, const bytes& data) {
    hosts[by]->input(now, data);
    for (auto& h : hosts)
      if (h) h->take_handovers(now);
  }
  socket_id bind(unsigned on, std::uint16_t port,
                 stack::sharing_mode sharing = stack::sharing_mode::exclusive) {
    auto id = hosts[on]->udp_bind(own_at(false, port), {.sharing = sharing});
    REQUIRE(id);
    return *id;
  }
  std::error_code bind_error(unsigned on, std::uint16_t port,
                             stack::sharing_mode sharing = stack::sharing_mode::exclusive) {
    auto id = hosts[on]->udp_bind(own_at(false, port), {.sharing = sharing});
    return id ? std::error_code() : id.error();
  }
  std::size_t queued(unsigned on, socket_id id) { return hosts[on]->info_udp(id)->queued; }

  std::shared_ptr<stack::shard_set> set;
  std::vector<recording_sink> sinks;
  std::vector<std::unique_ptr<stack::host>> hosts;
  instant now = at_ms(1000);
};

constexpr auto sharded = stack::sharing_mode::sharded;

}  // namespace

TEST_CASE("a_datagram_that_comes_by_another_shards_queue_reaches_its_socket") {
  shared_device d(2);
  auto id = d.bind(1, 53);
  d.datagram(0, 53, "by the wrong one");
  d.datagram(1, 53, "by the right one");
  CHECK(d.queued(1, id) == 2);
  std::array<std::byte, 64> buffer;
  auto got = d.hosts[1]->udp_receive(id, buffer);
  REQUIRE(got);
  CHECK(got->size == 16);
  CHECK(std::equal(buffer.begin(), buffer.begin() + 16, text("by the wrong one").begin()));
  CHECK(got->from == peer_at(false, 40000));
  CHECK(d.hosts[0]->counters()[counter::datagrams_handed_over] == 1);
  CHECK(d.sinks[0].sent.empty());
  CHECK(d.sinks[1].sent.empty());
}

TEST_CASE("a_port_that_another_shard_has_is_in_use_until_it_is_closed") {
  shared_device d(2);
  auto id = d.bind(0, 53);
  CHECK(d.bind_error(1, 53) == std::errc::address_in_use);
  CHECK(d.bind_error(1, 53, sharded) == std::errc::address_in_use);
  auto everywhere = d.hosts[1]->udp_bind(any_at(false, 53), {.allow_wildcard = true});
  REQUIRE_FALSE(everywhere);
  CHECK(everywhere.error() == std::errc::address_in_use);
  d.hosts[0]->close(d.now, id);
  CHECK_FALSE(d.bind_error(1, 53));
  CHECK(d.bind_error(1, 54, stack::sharing_mode::shared) == std::errc::operation_not_supported);
}

TEST_CASE("sharded_sockets_get_each_flow_always_on_the_same_shard") {
  constexpr unsigned count = 4;
  constexpr std::uint16_t flows = 1000;
  shared_device d(count);
  std::vector<socket_id> ids;
  for (unsigned i = 0; i < count; ++i) ids.push_back(d.bind(i, 53, sharded));
  CHECK(d.bind_error(2, 53, sharded) == std::errc::address_in_use);  // one for each
  std::vector<std::size_t> before(count, 0);
  for (std::uint16_t flow = 0; flow < flows; ++flow) {
    for (unsigned by = 0; by < 2; ++by)
      d.datagram((flow + by) % count, 53, "x", static_cast<std::uint16_t>(2000 + flow));
    unsigned reached = 0;
    for (unsigned i = 0; i < count; ++i) {
      auto now_there = d.queued(i, ids[i]);
      if (now_there == before[i]) continue;
      CHECK(now_there == before[i] + 2);
      before[i] = now_there;
      ++reached;
    }
    CHECK(reached == 1);
    if (flow % 50 != 49) continue;
    for (unsigned i = 0; i < count; ++i) {  // the queues are not what this is about
      std::array<std::byte, 8> buffer;
      while (d.hosts[i]->udp_receive(ids[i], buffer)) continue;
      before[i] = 0;
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    auto received = d.hosts[i]->info_udp(ids[i])->received;
    CHECK(received > 2 * flows / count / 2);
    CHECK(received < 2 * flows / count * 2);
  }
}

TEST_CASE("what_a_member_that_left_would_have_got_goes_to_the_others") {
  shared_device d(2);
  auto stays = d.bind(0, 53, sharded);
  d.bind(1, 53, sharded);
  d.hosts[1].reset();
  for (std::uint16_t port = 2000; port < 2100; ++port) d.datagram(0, 53, "x", port);
  CHECK(d.queued(0, stays) == 100);
  CHECK(d.sinks[0].sent.empty());
}

TEST_CASE("an_icmp_error_finds_the_shard_whose_socket_it_is_about") {
  shared_device d(2);
  auto id = d.hosts[1]->udp_connect(peer_at(false, 9), {});
  REQUIRE(id);
  auto payload = text("x");
  std::span<const std::byte> part[] = {payload};
  REQUIRE(d.hosts[1]->udp_send(d.now, *id, nullptr, part));
  d.packet(0, error_packet(false, 3, 3, 0, d.sinks[1].sent.back().data));
  std::array<std::byte, 8> buffer;
  auto got = d.hosts[1]->udp_receive(*id, buffer);
  REQUIRE_FALSE(got);
  CHECK(got.error() == std::errc::connection_refused);
}

TEST_CASE("a_port_that_no_shard_has_is_answered_with_port_unreachable") {
  shared_device d(2);
  d.bind(1, 53);
  d.datagram(0, 54, "x");
  REQUIRE(d.sinks[0].sent.size() == 1);
  CHECK(as_icmp(d.sinks[0].sent[0]).code == 3);
}

TEST_CASE("chosen_ports_differ_between_shards") {
  shared_device d(2);
  std::vector<std::uint16_t> ports;
  for (int i = 0; i < 100; ++i)
    for (unsigned on = 0; on < 2; ++on) {
      auto id = d.hosts[on]->udp_bind(own_at(false, 0));
      REQUIRE(id);
      ports.push_back(d.hosts[on]->local_endpoint(*id).port);
    }
  std::sort(ports.begin(), ports.end());
  CHECK(std::adjacent_find(ports.begin(), ports.end()) == ports.end());
}

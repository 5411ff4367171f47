// What a host does for users on other threads: datagrams that are lent instead of copied, and
// several sharded sockets of one host at one address.
#include "unit/udp_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

constexpr auto sharded = stack::sharing_mode::sharded;

std::string shown(const stack::lent_datagram& lent) {
  return {reinterpret_cast<const char*>(lent.bytes.data()), lent.bytes.size()};
}

stack::lent_datagram lend(udp_bench& b, socket_id id) {
  auto lent = b.host.udp_lend(id);
  REQUIRE(lent);
  return *lent;
}

std::uint32_t queued(udp_bench& b, socket_id id) { return b.host.info_udp(id)->queued; }
std::uint64_t received(udp_bench& b, socket_id id) { return b.host.info_udp(id)->received; }

/// An ICMP port unreachable of the peer's for the datagram that was sent last.
void refuse_last(udp_bench& b) { b.in(error_packet(false, 3, 3, 0, b.sink.sent.back().data)); }

}  // namespace

TEST_CASE("lent_datagrams_keep_their_bytes_and_their_charge_until_they_are_given_back") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53), {.receive_datagrams = 3});
  for (const char* what : {"one", "two", "three"}) b.datagram(false, 53, text(what));
  const auto first = lend(b, id), second = lend(b, id);
  CHECK(queued(b, id) == 3);
  b.datagram(false, 53, text("too many"));
  CHECK(b.host.info_udp(id)->dropped == 1);
  CHECK(shown(first) == "one");
  CHECK(shown(second) == "two");
  CHECK(first.from == peer_at(false, 40000));
  CHECK(first.to == own(false));
  b.host.udp_give_back(id, first.token);
  b.datagram(false, 53, text("four"));
  CHECK(b.receive(id) == "three");
  CHECK(shown(second) == "two");
  b.host.udp_give_back(id, second.token);
  const auto last = lend(b, id);
  CHECK(shown(last) == "four");
  CHECK(b.host.udp_lend(id).error() == std::errc::operation_would_block);
  b.host.udp_give_back(id, last.token);
}

TEST_CASE("an_empty_datagram_is_lent_as_one") {
  udp_bench b;
  auto id = b.bind(own_at(true, 53));
  b.datagram(true, 53, {});
  const auto lent = lend(b, id);
  CHECK(lent.bytes.empty());
  CHECK(lent.from == peer_at(true, 40000));
  b.host.udp_give_back(id, lent.token);
  CHECK(queued(b, id) == 0);
}

TEST_CASE("what_was_lent_costs_nothing_once_it_was_given_back_and_the_socket_closed") {
  udp_bench b;
  const auto before = b.host.memory_in_use();
  auto id = b.bind(own_at(false, 53));
  for (int i = 0; i < 5; ++i) b.datagram(false, 53, text("x"));
  const auto first = lend(b, id), second = lend(b, id);
  b.host.udp_give_back(id, second.token);
  b.host.udp_give_back(id, first.token);
  b.host.close(b.now, id);
  CHECK(b.host.memory_in_use() == before);
}

TEST_CASE("connecting_leaves_what_was_lent_and_drops_the_rest_of_others") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  b.datagram(false, 53, text("lent"), 1);
  b.datagram(false, 53, text("another's"), 1);
  b.datagram(false, 53, text("mine"), 2);
  b.datagram(false, 53, text("another's"), 1);
  const auto lent = lend(b, id);
  CHECK_FALSE(b.host.udp_connect(id, peer_at(false, 2)));
  CHECK(shown(lent) == "lent");
  b.host.udp_give_back(id, lent.token);
  CHECK(b.receive(id) == "mine");
  CHECK(b.receive(id) == "-");
  CHECK(queued(b, id) == 0);
}

TEST_CASE("several_sharded_sockets_of_one_host_share_an_address_by_hash") {
  constexpr std::size_t count = 4;
  constexpr std::uint16_t flows = 400;
  udp_bench b;
  std::array<socket_id, count> ids;
  for (auto& id : ids)
    id = b.bind(own_at(false, 53), {.receive_buffer = 4 << 20, .sharing = sharded});
  std::array<std::size_t, flows> chosen{};
  for (int round = 0; round < 2; ++round)
    for (std::uint16_t flow = 0; flow < flows; ++flow) {
      std::array<std::uint64_t, count> before{};
      for (std::size_t i = 0; i < count; ++i) before[i] = received(b, ids[i]);
      b.datagram(false, 53, text("x"), static_cast<std::uint16_t>(2000 + flow));
      std::size_t reached = count;
      for (std::size_t i = 0; i < count; ++i)
        if (received(b, ids[i]) == before[i] + 1) reached = i;
      REQUIRE(reached < count);
      if (round == 0) chosen[flow] = reached;
      CHECK(chosen[flow] == reached);  // the same one, always
    }
  for (auto id : ids) CHECK(received(b, id) > 2 * flows / count / 2);
  // Who leaves changes nothing between the others.
  b.host.close(b.now, ids[3]);
  for (std::uint16_t flow = 0; flow < flows; ++flow) {
    std::array<std::uint64_t, count> before{};
    for (std::size_t i = 0; i < 3; ++i) before[i] = received(b, ids[i]);
    b.datagram(false, 53, text("x"), static_cast<std::uint16_t>(2000 + flow));
    for (std::size_t i = 0; i < 3; ++i)
      if (chosen[flow] == i) CHECK(received(b, ids[i]) == before[i] + 1);
  }
  CHECK(b.sent() == 0);  // nobody was refused
}

TEST_CASE("who_does_not_share_does_not_join_and_is_not_joined") {
  udp_bench b;
  const auto refusal = [&](const endpoint& at, stack::udp_options how) {
    auto id = b.host.udp_bind(at, how);
    return id ? std::error_code() : id.error();
  };
  b.bind(own_at(false, 53), {.sharing = sharded});
  CHECK(refusal(own_at(false, 53), {}) == std::errc::address_in_use);
  CHECK(refusal(any_at(false, 53), {.allow_wildcard = true, .sharing = sharded}) ==
        std::errc::address_in_use);
  b.bind(own_at(false, 54));
  CHECK(refusal(own_at(false, 54), {.sharing = sharded}) == std::errc::address_in_use);
  b.bind(any_at(false, 55), {.allow_wildcard = true, .sharing = sharded});
  CHECK(refusal(own_at(false, 55), {.sharing = sharded}) == std::errc::address_in_use);
  CHECK_FALSE(refusal(any_at(false, 55), {.allow_wildcard = true, .sharing = sharded}));
}

TEST_CASE("a_member_that_is_connected_gets_its_remotes_datagrams_and_no_others") {
  for (const bool wildcard : {false, true}) {
    CAPTURE(wildcard);
    udp_bench b;
    const stack::udp_options how{.allow_wildcard = true, .sharing = sharded};
    const auto at = wildcard ? any_at(false, 53) : own_at(false, 53);
    auto tied = b.bind(at, how);
    auto open = b.bind(at, how);
    CHECK_FALSE(b.host.udp_connect(tied, peer_at(false, 2007)));
    for (std::uint16_t port = 2000; port < 2050; ++port) b.datagram(false, 53, text("x"), port);
    CHECK(received(b, tied) == 1);
    CHECK(received(b, open) == 49);
    b.host.close(b.now, open);
    b.datagram(false, 53, text("x"), 2001);  // only one that is tied to another is left
    CHECK(b.count(counter::drop_udp_no_socket) == 1);
  }
}

TEST_CASE("an_icmp_error_finds_the_member_that_sent") {
  udp_bench b;
  std::array<socket_id, 4> ids;
  for (auto& id : ids) id = b.bind(own_at(false, 53), {.sharing = sharded});
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto to = static_cast<std::uint16_t>(100 + i);
    CHECK_FALSE(b.host.udp_connect(ids[i], peer_at(false, to)));
    CHECK_FALSE(b.send(ids[i], text("x")));
    refuse_last(b);
    for (std::size_t j = 0; j < ids.size(); ++j)
      CHECK(b.receive_error(ids[j]) ==
            (j == i ? std::errc::connection_refused : std::errc::operation_would_block));
  }
}

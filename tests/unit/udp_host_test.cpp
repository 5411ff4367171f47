// UDP sockets of the stack: binding, receiving, sending, bounds. RFC 768, RFC 1122 4.1, RFC 8085.
#include <algorithm>
#include <set>
#include <vector>

#include "stack/udp/udp_sockets.hpp"
#include "unit/udp_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

stack::udp_options wildcard() {
  stack::udp_options o;
  o.allow_wildcard = true;
  return o;
}

}  // namespace

TEST_CASE("a_datagram_reaches_the_socket_on_its_port_with_its_source") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 53));
    b.datagram(v6, 53, text("query"), 1234);
    stack::event what;
    REQUIRE(b.host.next_event(what));
    CHECK(what.socket == id);
    CHECK(any(what.what, stack::ready::readable));
    CHECK_FALSE(b.host.next_event(what));
    endpoint from;
    CHECK(b.receive(id, &from) == "query");
    CHECK(from == peer_at(v6, 1234));
    CHECK(b.receive(id) == "-");
    CHECK(b.count(counter::datagrams_received) == 1);
    CHECK(b.sent() == 0);
  }
}

TEST_CASE("an_empty_datagram_is_received_as_one") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  b.datagram(false, 53, {});
  std::array<std::byte, 16> buffer;
  auto got = b.host.udp_receive(id, buffer);
  REQUIRE(got);
  CHECK(got->size == 0);
  CHECK(got->from == peer_at(false, 40000));
  CHECK(b.receive(id) == "-");
}

TEST_CASE("what_does_not_fit_the_buffer_is_told_by_the_size") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  b.datagram(false, 53, pattern(100));
  b.datagram(false, 53, text("next"));
  std::array<std::byte, 16> buffer;
  auto got = b.host.udp_receive(id, buffer);
  REQUIRE(got);
  CHECK(got->size == 100);
  CHECK(got->copied == 16);
  CHECK(std::equal(buffer.begin(), buffer.end(), pattern(100).begin()));
  CHECK(b.receive(id) == "next");
}

TEST_CASE("datagrams_are_sent_with_a_checksum_from_the_bound_address_and_port") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 53));
    auto to = peer_at(v6, 4000);
    CHECK_FALSE(b.send(id, text("answer"), &to));
    REQUIRE(b.sent() == 1);
    auto out = as_udp(b.sink.sent[0]);
    CHECK(out.from == own_at(v6, 53));
    CHECK(out.to == to);
    CHECK(out.payload == text("answer"));
    CHECK(out.checksum != 0);
    CHECK(b.count(counter::datagrams_sent) == 1);
  }
}

TEST_CASE("a_checksum_that_comes_out_as_zero_is_sent_as_all_ones") {
  // RFC 768: two bytes are chosen so that the sum of everything is 0xffff.
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 53));
    auto to = peer_at(v6, 4000);
    CHECK_FALSE(b.send(id, raw({0, 0}), &to));
    unsigned plain = as_udp(b.sink.sent[0]).checksum;
    CHECK_FALSE(b.send(id, raw({plain >> 8, plain & 0xff}), &to));
    CHECK(as_udp(b.sink.sent[1]).checksum == 0xffff);
  }
}

TEST_CASE("a_device_that_completes_checksums_gets_the_pseudo_header_sum") {
  auto o = ip_options();
  o.transmit_checksum_offload = true;
  udp_bench b(o);
  auto id = b.bind(own_at(false, 53));
  auto to = peer_at(false, 4000);
  CHECK_FALSE(b.send(id, text("x"), &to));
  REQUIRE(b.sent() == 1);
  CHECK(b.sink.sent[0].meta.needs_checksum);
  CHECK(b.sink.sent[0].meta.checksum_start == 20);
  CHECK(b.sink.sent[0].meta.checksum_offset == 6);
}

TEST_CASE("a_v4_datagram_without_a_checksum_is_accepted") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  auto datagram = udp_bytes(peer(false), own(false), 1, 53, text("bare"));
  wire::put16(datagram.data() + 6, 0);
  b.in(from_peer(false, 17, datagram).build());
  CHECK(b.receive(id) == "bare");
}

// covers: 8200-12
TEST_CASE("a_v6_datagram_without_a_checksum_is_dropped") {
  udp_bench b;
  auto id = b.bind(own_at(true, 53));
  auto datagram = udp_bytes(peer(true), own(true), 1, 53, text("bare"));
  wire::put16(datagram.data() + 6, 0);
  b.in(from_peer(true, 17, datagram).build());
  CHECK(b.receive(id) == "-");
  CHECK(b.count(counter::drop_udp_checksum) == 1);
  CHECK(b.sent() == 0);
}

// covers: 8200-12
TEST_CASE("a_datagram_with_a_bad_checksum_is_dropped_silently") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 53));
    auto datagram = udp_bytes(peer(v6), own(v6), 1, 53, text("spoilt"));
    datagram.back() ^= std::byte(1);
    b.in(from_peer(v6, 17, datagram).build());
    CHECK(b.receive(id) == "-");
    CHECK(b.count(counter::drop_udp_checksum) == 1);
    CHECK(b.sent() == 0);
  }
}

TEST_CASE("a_length_beyond_the_packet_or_under_the_header_is_dropped") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  for (std::uint16_t length : {0, 7, 15}) {
    auto datagram = udp_bytes(peer(false), own(false), 1, 53, text("abcdef"));
    wire::put16(datagram.data() + 4, length);
    wire::put16(datagram.data() + 6, 0);
    b.in(from_peer(false, 17, datagram).build());
  }
  CHECK(b.receive(id) == "-");
  CHECK(b.count(counter::drop_udp_malformed) == 3);
}

TEST_CASE("fragments_are_delivered_as_one_datagram") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 7));
    for (const auto& piece : udp_fragments(v6, 1900, 600)) b.in(piece);
    std::array<std::byte, 2048> buffer;
    auto got = b.host.udp_receive(id, buffer);
    REQUIRE(got);
    CHECK(got->size == 1900);
    auto expected = pattern(1900);
    CHECK(std::equal(expected.begin(), expected.end(), buffer.begin()));
    CHECK(b.receive(id) == "-");
  }
}

TEST_CASE("a_datagram_larger_than_the_mtu_leaves_in_fragments_that_another_host_reassembles") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 53));
    auto to = peer_at(v6, 4000);
    auto payload = pattern(9000);
    CHECK_FALSE(b.send(id, payload, &to));
    CHECK(b.sent() == 7);
    auto mirrored = ip_options();
    mirrored.addresses = {*ip_prefix::parse("198.18.0.1/24"), *ip_prefix::parse("2001:db8::1/64")};
    udp_bench other(mirrored);
    auto there = other.bind(to);
    for (const auto& packet : b.sink.sent) {
      CHECK(packet.data.size() <= 1500);
      other.in(packet.data);
    }
    std::vector<std::byte> buffer(10000);
    auto got = other.host.udp_receive(there, buffer);
    REQUIRE(got);
    CHECK(got->size == 9000);
    CHECK(std::equal(payload.begin(), payload.end(), buffer.begin()));
    CHECK(got->from == own_at(v6, 53));
  }
}

TEST_CASE("the_largest_datagram_goes_and_one_byte_more_is_message_size") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.bind(own_at(v6, 53));
    auto to = peer_at(v6, 4000);
    std::size_t most = v6 ? 65527 : 65507;
    CHECK_FALSE(b.send(id, pattern(most), &to));
    b.skip();
    CHECK(b.send(id, pattern(most + 1), &to) == std::errc::message_size);
    CHECK(b.sent() == 0);
    // And comes back whole when it is sent to ourselves.
    auto self = own_at(v6, 53);
    CHECK_FALSE(b.send(id, pattern(most), &self));
    b.host.flush(b.now);
    std::vector<std::byte> buffer(65536);
    auto got = b.host.udp_receive(id, buffer);
    REQUIRE(got);
    CHECK(got->size == most);
  }
}

TEST_CASE("a_device_without_room_is_told_to_the_sender") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  auto to = peer_at(false, 4000);
  b.sink.full = true;
  CHECK(b.send(id, text("lost"), &to) == std::errc::no_buffer_space);
  b.sink.full = false;
  CHECK_FALSE(b.send(id, text("sent"), &to));
  CHECK(b.host.info_udp(id)->sent == 1);
}

TEST_CASE("a_second_socket_on_the_same_pair_or_beside_a_wildcard_is_address_in_use") {
  udp_bench b;
  auto error_of = [&](const endpoint& at) {
    auto id = b.host.udp_bind(at, wildcard());
    return id ? std::error_code() : id.error();
  };
  auto one = b.bind(own_at(false, 53));
  CHECK(error_of(own_at(false, 53)) == std::errc::address_in_use);
  CHECK(error_of(any_at(false, 53)) == std::errc::address_in_use);
  CHECK_FALSE(error_of(any_at(true, 53)));  // another family
  CHECK(error_of(own_at(true, 53)) == std::errc::address_in_use);
  CHECK_FALSE(error_of(own_at(false, 54)));
  b.host.close(b.now, one);
  CHECK_FALSE(error_of(any_at(false, 53)));
}

TEST_CASE("the_wildcard_takes_a_decision_and_foreign_addresses_are_not_available") {
  udp_bench b;
  for (bool v6 : {false, true}) {
    CHECK(b.host.udp_bind(any_at(v6, 53)).error() == std::errc::permission_denied);
    CHECK(b.host.udp_bind(peer_at(v6, 53)).error() == std::errc::address_not_available);
    auto id = b.bind(any_at(v6, 53), wildcard());
    b.datagram(v6, 53, text("to any"));
    CHECK(b.receive(id) == "to any");
    auto to = peer_at(v6, 4000);
    CHECK_FALSE(b.send(id, text("x"), &to));
    CHECK(as_udp(b.sink.sent.back()).from == own_at(v6, 53));
  }
}

TEST_CASE("sockets_are_bounded") {
  auto o = ip_options();
  o.limits.udp_sockets = 3;
  udp_bench b(o);
  for (std::uint16_t port = 1; port <= 3; ++port) b.bind(own_at(false, port));
  CHECK(b.host.udp_bind(own_at(false, 4)).error() == std::errc::not_enough_memory);
}

TEST_CASE("chosen_ports_are_free_and_not_in_a_row") {
  udp_bench b;
  std::set<std::uint16_t> seen;
  int neighbours = 0;
  std::uint16_t last = 0;
  for (int i = 0; i < 500; ++i) {
    auto id = b.bind(own_at(false, 0));
    auto port = b.host.local_endpoint(id).port;
    CHECK(port >= 1024);
    CHECK(seen.insert(port).second);
    if (port == last + 1) ++neighbours;
    last = port;
  }
  CHECK(neighbours < 5);
}

TEST_CASE("a_queue_holds_as_many_datagrams_as_it_was_given_and_counts_the_rest") {
  udp_bench b;
  stack::udp_options how;
  how.receive_datagrams = 5;
  auto id = b.bind(own_at(false, 53), how);
  for (unsigned i = 0; i < 8; ++i) b.datagram(false, 53, raw({'0' + i}));
  auto info = *b.host.info_udp(id);
  CHECK(info.queued == 5);
  CHECK(info.dropped == 3);
  CHECK(info.received == 5);
  CHECK(b.count(counter::drop_udp_queue_full) == 3);
  for (const char* expected : {"0", "1", "2", "3", "4", "-"}) CHECK(b.receive(id) == expected);
  CHECK(b.sent() == 0);  // RFC 1122 4.1: nobody is told
}

TEST_CASE("a_queue_is_bounded_by_its_bytes_at_their_true_size") {
  udp_bench b;
  stack::udp_options how;
  how.receive_buffer = 20'000;
  how.receive_datagrams = 1'000'000;
  auto id = b.bind(own_at(false, 53), how);
  for (int i = 0; i < 1000; ++i) b.datagram(false, 53, raw({1}));
  auto info = *b.host.info_udp(id);
  CHECK(info.queued > 20);
  CHECK(info.queued < 45);  // one byte costs its chunk
  CHECK(info.queued_bytes <= 20'000);
  CHECK(info.dropped == 1000 - info.queued);
  CHECK(b.host.memory_in_use() == info.queued_bytes);
  while (b.receive(id) != "-") continue;
  CHECK(b.host.memory_in_use() == 0);
  CHECK(b.host.info_udp(id)->queued_bytes == 0);
}

TEST_CASE("an_empty_queue_takes_a_datagram_larger_than_its_bound") {
  udp_bench b;
  stack::udp_options how;
  how.receive_buffer = 1;
  auto id = b.bind(own_at(false, 53), how);
  b.datagram(false, 53, text("large enough"));
  b.datagram(false, 53, text("one too many"));
  CHECK(b.receive(id) == "large enough");
  CHECK(b.receive(id) == "-");
}

TEST_CASE("the_hosts_memory_bounds_all_queues_together") {
  auto o = ip_options();
  o.limits.memory = 10'000;
  udp_bench b(o);
  auto id = b.bind(own_at(false, 53));
  for (int i = 0; i < 100; ++i) b.datagram(false, 53, raw({1}));
  CHECK(b.count(counter::drop_udp_memory) > 0);
  CHECK(b.host.memory_in_use() <= 10'000);
  CHECK(b.host.info_udp(id)->queued + b.count(counter::drop_udp_memory) == 100);
  b.host.close(b.now, id);
  CHECK(b.host.memory_in_use() == 0);
}

TEST_CASE("closing_frees_what_is_queued_and_the_port") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  b.datagram(false, 53, text("unread"));
  b.host.close(b.now, id);
  CHECK(b.host.memory_in_use() == 0);
  CHECK(b.receive_error(id) == std::errc::bad_file_descriptor);
  CHECK(b.send(id, text("x")) == std::errc::bad_file_descriptor);
  stack::event what;
  CHECK_FALSE(b.host.next_event(what));
  auto again = b.bind(own_at(false, 53));
  CHECK(again != id);
  CHECK(b.receive(again) == "-");
}

TEST_CASE("a_connected_socket_takes_its_remotes_datagrams_only") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.connect(peer_at(v6, 4000), own_at(v6, 53));
    CHECK(b.host.remote_endpoint(id) == peer_at(v6, 4000));
    b.datagram(v6, 53, text("mine"), 4000);
    b.datagram(v6, 53, text("not mine"), 4001);
    CHECK(b.receive(id) == "mine");
    CHECK(b.receive(id) == "-");
    CHECK(b.count(counter::drop_udp_no_socket) == 1);
    CHECK_FALSE(b.send(id, text("x")));
    CHECK(as_udp(b.sink.sent.back()).to == peer_at(v6, 4000));
  }
}

TEST_CASE("connecting_drops_what_others_had_sent_and_keeps_the_order_of_the_rest") {
  udp_bench b;
  auto id = b.bind(any_at(false, 53), wildcard());
  for (auto [name, port] : {std::pair("other", 1), std::pair("a", 4000), std::pair("other", 2),
                            std::pair("b", 4000), std::pair("other", 3)})
    b.datagram(false, 53, text(name), static_cast<std::uint16_t>(port));
  CHECK_FALSE(b.host.udp_connect(id, peer_at(false, 4000)));
  CHECK(b.host.local_endpoint(id) == own_at(false, 53));
  CHECK(b.host.info_udp(id)->queued == 2);
  b.datagram(false, 53, text("c"), 4000);
  for (const char* expected : {"a", "b", "c", "-"}) CHECK(b.receive(id) == expected);
  CHECK(b.host.memory_in_use() == 0);
}

TEST_CASE("a_client_gets_an_address_and_a_port") {
  for (bool v6 : {false, true}) {
    udp_bench b;
    auto id = b.connect(peer_at(v6, 53));
    auto at = b.host.local_endpoint(id);
    CHECK(at.address == own(v6));
    CHECK(at.port >= 1024);
    CHECK_FALSE(b.send(id, text("q")));
    b.datagram(v6, at.port, text("a"), 53);
    CHECK(b.receive(id) == "a");
  }
}

TEST_CASE("destinations_that_are_not_one_host_are_refused") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  for (const char* where : {"0.0.0.0", "255.255.255.255", "224.0.0.1", "198.18.0.255"}) {
    endpoint to{where, 1};
    CHECK(b.send(id, text("x"), &to) == std::errc::invalid_argument);
    CHECK(b.host.udp_connect(id, to) == std::errc::invalid_argument);
    CHECK(b.host.udp_connect(to, {}).error() == std::errc::invalid_argument);
  }
  auto no_port = peer_at(false, 0);
  CHECK(b.send(id, text("x"), &no_port) == std::errc::invalid_argument);
  auto other_family = peer_at(true, 1);
  CHECK(b.send(id, text("x"), &other_family) == std::errc::address_family_not_supported);
  CHECK(b.send(id, text("x")) == std::errc::not_connected);
  CHECK_FALSE(b.host.udp_connect(id, peer_at(false, 1)));
  auto elsewhere = peer_at(false, 2);
  CHECK(b.send(id, text("x"), &elsewhere) == std::errc::already_connected);
  CHECK(b.sent() == 0);
}

TEST_CASE("a_sender_without_a_port_is_heard_and_cannot_be_answered") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  b.datagram(false, 53, text("one way"), 0);  // RFC 768: a source port of zero means none
  endpoint from;
  CHECK(b.receive(id, &from) == "one way");
  CHECK(from.port == 0);
  CHECK(b.send(id, text("x"), &from) == std::errc::invalid_argument);
}

TEST_CASE("a_batch_from_the_device_is_as_many_datagrams") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  b.in(from_peer(false, 17, udp_bytes(peer(false), own(false), 1, 53, text("aabbc"))).build(),
       {.checksum_good = true, .gso_size = 2});
  for (const char* expected : {"aa", "bb", "c", "-"}) CHECK(b.receive(id) == expected);
  CHECK(b.count(counter::datagrams_received) == 3);
}

TEST_CASE("a_datagram_to_ourselves_never_touches_the_device") {
  udp_bench b;
  auto one = b.bind(own_at(false, 1)), two = b.bind(own_at(false, 2));
  auto to = own_at(false, 2);
  CHECK_FALSE(b.send(one, text("here"), &to));
  CHECK(b.host.next_deadline() <= b.now);
  b.host.flush(b.now);
  endpoint from;
  CHECK(b.receive(two, &from) == "here");
  CHECK(from == own_at(false, 1));
  CHECK(b.sent() == 0);
}

TEST_CASE("tcp_calls_on_a_udp_socket_are_refused") {
  udp_bench b;
  auto id = b.bind(own_at(false, 53));
  std::array<std::byte, 1> buffer;
  CHECK(stack::is_udp(id));
  CHECK(b.host.receive(b.now, id, buffer).error() == std::errc::bad_file_descriptor);
  CHECK(b.host.accept(id).error() == std::errc::bad_file_descriptor);
  CHECK(b.host.shutdown_send(b.now, id) == std::errc::bad_file_descriptor);
  auto listener = b.host.listen(own_at(false, 53));  // a space of ports of its own
  REQUIRE(listener);
  CHECK_FALSE(stack::is_udp(*listener));
  CHECK(b.host.udp_receive(*listener, buffer).error() == std::errc::bad_file_descriptor);
}

TEST_CASE("sockets_that_go_with_their_host_give_back_what_waits_in_each_of_them") {
  stack::buffer::chunk_pool pool(1 << 20);
  {
    stack::udp_sockets all({1, 2}, pool);
    std::vector<std::uint32_t> sockets;
    for (std::uint16_t port = 1; port <= 3; ++port)
      sockets.push_back(all.add(own_at(false, port), {}));
    const auto others = all.add_any(any_destination::v4(), {});
    for (std::uint16_t port = 1; port <= 3; ++port)
      sockets.push_back(all.add_flow(others, at_ms(1), own_at(false, 53), peer_at(false, port)));
    for (const auto i : sockets)
      for (const std::size_t size : {0, 100, 5000})
        REQUIRE(all.push(i, {peer_at(false, 9), own(false), 0}, pattern(size)) ==
                stack::udp_sockets::admission::queued);
    all.remove(sockets[1]);  // a place that nobody has
    CHECK(pool.account().used() > 5 * 5000);
  }
  CHECK(pool.account().used() == 0);
}

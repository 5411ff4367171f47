// Unix sockets: what every back end does alike with them. Both ends are on one shard, since a name
// of a simulated host is its own.
#include "conformance/harness.hpp"

#include <unistd.h>

namespace conformance {

namespace {

using weir::shard;
using weir::unix_endpoint;
using weir::unix_listener;
using weir::unix_stream;

/// A name that no other test has at the same time.
unix_endpoint fresh_path() {
  static int count = 0;
  return unix_endpoint("/tmp/weir-unix-" + std::to_string(::getpid()) + "-" +
                       std::to_string(++count));
}

struct connection {
  unix_stream client, server;
};
task<> make(shard& s, connection& into) {
  auto listener = s.listen(unix_endpoint());
  into.client = co_await weir::connect(listener.local_endpoint());
  auto peer = co_await listener.accept();
  REQUIRE(peer.has_value());
  into.server = std::move(*peer);
}

task<> write_bytes(weir::any_stream& stream, std::span<const std::byte> bytes) {
  co_await stream.write_all(bytes);
  stream.shutdown_send();
}

task<> accept_into(unix_listener& listener, std::vector<int>& order, int number) {
  auto peer = co_await listener.accept();
  if (peer) order.push_back(number);
}

}  // namespace

task<> unix_streams_carry_bytes_both_ways(shard& s) {
  auto listener = s.listen(fresh_path());
  auto client = co_await weir::connect(listener.local_endpoint());
  auto peer = co_await listener.accept();
  REQUIRE(peer.has_value());
  co_await client.write_all("question");
  std::array<std::byte, 8> buffer;
  co_await peer->read_exactly(buffer);
  CHECK(text_of(buffer) == "question");
  co_await peer->write_all("answer");
  peer->close();
  auto text = co_await read_text(client);
  CHECK(text == "answer");
}
UNIX_CONFORMANCE(unix_streams_carry_bytes_both_ways);

task<> unix_names_are_told(shard& s) {
  const auto path = fresh_path();
  auto listener = s.listen(path);
  CHECK(listener.local_endpoint() == path);
  auto client = co_await weir::connect(path);
  auto peer = co_await listener.accept();
  CHECK(client.remote_endpoint() == path);
  CHECK(client.local_endpoint().is_unnamed());
  CHECK(peer->local_endpoint() == path);
  CHECK(peer->remote_endpoint().is_unnamed());
  CHECK(peer->peer_credentials().pid != 0);
  auto unnamed = s.listen(unix_endpoint());
  CHECK(unnamed.local_endpoint().is_abstract());
}
UNIX_CONFORMANCE(unix_names_are_told);

task<> unix_name_is_free_when_its_listener_has_gone(shard& s) {
  for (const auto& name :
       {fresh_path(), unix_endpoint("@weir-unix-" + std::to_string(::getpid()))}) {
    for (int i = 0; i < 3; ++i) {
      auto listener = s.listen(name);
      auto second = s.try_listen(name);
      CHECK(second.error() == std::errc::address_in_use);
      // An accept that waits is what holds the file.
      auto none = co_await listener.accept().timeout(1ms).nothrow();
      CHECK(none.error() == std::errc::timed_out);
    }
  }
}
UNIX_CONFORMANCE(unix_name_is_free_when_its_listener_has_gone);

task<> unix_connect_says_why_not(shard& s) {
  auto nobody = co_await weir::connect(fresh_path()).nothrow();
  CHECK(nobody.error() == std::errc::no_such_file_or_directory);
  auto abstract = co_await weir::connect(unix_endpoint("@weir-nobody")).nothrow();
  CHECK(abstract.error() == std::errc::connection_refused);
  auto unnamed = co_await weir::connect(unix_endpoint()).nothrow();
  CHECK(unnamed.error() == std::errc::invalid_argument);
  auto sharded = s.try_listen(fresh_path(), {.sharing = weir::sharing::sharded});
  CHECK(sharded.error() == std::errc::operation_not_supported);
  auto mode = s.try_listen(unix_endpoint("@weir-mode"), {.mode = 0600});
  CHECK(mode.error() == std::errc::invalid_argument);
}
UNIX_CONFORMANCE(unix_connect_says_why_not);

task<> unix_large_writes_wait_for_the_reader(shard& s) {
  connection c;
  co_await make(s, c);
  const auto bytes = pattern(3'000'000);
  weir::scope tasks(s);
  tasks.spawn(write_bytes(c.client, bytes));
  std::size_t total = 0;
  for (;;) {
    auto lent = co_await c.server.receive();
    if (!lent) break;
    for (std::size_t i = 0; i < lent.size(); i += 997)
      REQUIRE(lent.bytes()[i] == pattern_at(total + i));
    total += lent.size();
  }
  CHECK(total == bytes.size());
  co_await tasks.join();
  auto late = co_await c.client.write_all("x").nothrow();
  CHECK(late.ec == std::errc::broken_pipe);
  co_await c.server.write_all("the other way goes on");
  std::array<std::byte, 21> back;
  co_await c.client.read_exactly(back);
}
UNIX_CONFORMANCE(unix_large_writes_wait_for_the_reader);

task<> unix_waits_are_bounded_and_cancelled_and_the_stream_lives_on(shard& s) {
  connection c;
  co_await make(s, c);
  std::array<std::byte, 8> buffer;
  auto late = co_await c.server.read_some(buffer).timeout(1ms).nothrow();
  CHECK(late.ec == std::errc::timed_out);
  const auto bytes = pattern(4'000'000);
  auto stuck = co_await c.client.write_all(bytes).timeout(1ms).nothrow();
  CHECK(stuck.ec == std::errc::timed_out);
  CHECK(stuck.n > 0);
  CHECK(stuck.n < bytes.size());
  std::size_t total = 0;
  std::vector<std::byte> room(65536);
  while (total < stuck.n) {
    auto n = co_await c.server.read_some(room);
    REQUIRE(room[0] == pattern_at(total));
    total += n;
  }
  CHECK(total == stuck.n);
  co_await c.client.write_all("on");
  auto n = co_await c.server.read_some(buffer);
  CHECK(n == 2);
}
UNIX_CONFORMANCE(unix_waits_are_bounded_and_cancelled_and_the_stream_lives_on);

task<> unix_peer_that_goes_with_unread_bytes_is_a_reset(shard& s) {
  connection c;
  co_await make(s, c);
  co_await c.client.write_all("never read");
  c.server.close();
  std::array<std::byte, 8> buffer;
  auto got = co_await c.client.read_some(buffer).nothrow();
  CHECK(got.ec == std::errc::connection_reset);
  got = co_await c.client.read_some(buffer).nothrow();
  CHECK(got.ec == std::errc::connection_reset);  // each later use says so
  auto sent = co_await c.client.write_all("x").nothrow();
  CHECK(sent.ec == std::errc::connection_reset);
}
UNIX_CONFORMANCE(unix_peer_that_goes_with_unread_bytes_is_a_reset);

task<> unix_writes_to_a_peer_that_has_gone_fail(shard& s) {
  connection c;
  co_await make(s, c);
  c.server.close();
  std::array<std::byte, 8> buffer;
  auto n = co_await c.client.read_some(buffer);
  CHECK(n == 0);
  auto sent = co_await c.client.write_all("x").nothrow();
  CHECK(sent.ec == std::errc::connection_reset);
}
UNIX_CONFORMANCE(unix_writes_to_a_peer_that_has_gone_fail);

task<> unix_accepts_are_served_in_order_and_told_of_the_close(shard& s) {
  auto listener = s.listen(unix_endpoint());
  std::vector<int> order;
  weir::scope tasks(s);
  for (int i = 0; i < 3; ++i) tasks.spawn(accept_into(listener, order, i));
  auto first = co_await weir::connect(listener.local_endpoint());
  auto second = co_await weir::connect(listener.local_endpoint());
  while (order.size() < 2) co_await sleep_for(1ms);
  CHECK(order == std::vector<int>{0, 1});
  listener.close();
  co_await tasks.join();
  CHECK(tasks.io_errors() == 1);  // error::closed
}
UNIX_CONFORMANCE(unix_accepts_are_served_in_order_and_told_of_the_close);

task<> unix_connect_waits_while_the_queue_is_full(shard& s) {
  auto listener = s.listen(unix_endpoint(), {.backlog = 1});
  auto first = co_await weir::connect(listener.local_endpoint());
  auto full = co_await weir::connect(listener.local_endpoint()).timeout(5ms).nothrow();
  CHECK(full.error() == std::errc::timed_out);
  auto accepted = co_await listener.accept();
  CHECK(accepted.has_value());
  auto third = co_await weir::connect(listener.local_endpoint()).timeout(10s);
  CHECK(third);
}
UNIX_CONFORMANCE(unix_connect_waits_while_the_queue_is_full);

task<> unix_pairs_are_connected_from_the_start(shard& s) {
  auto pair = weir::make_unix_pair(s);
  co_await pair.first.write_all("to the second");
  pair.first.shutdown_send();
  auto text = co_await read_text(pair.second);
  CHECK(text == "to the second");
  CHECK(pair.first.local_endpoint().is_unnamed());
  CHECK(pair.second.peer_credentials().pid != 0);
}
UNIX_CONFORMANCE(unix_pairs_are_connected_from_the_start);

task<> unix_accept_ends_with_the_stop(shard& s) {
  auto listener = s.listen(unix_endpoint());
  s.request_stop();
  auto none = co_await listener.accept();
  CHECK_FALSE(none.has_value());
}
UNIX_CONFORMANCE(unix_accept_ends_with_the_stop);

}  // namespace conformance

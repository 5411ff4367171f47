// Unix datagram sockets: what every back end does alike with them. All are on one shard, since a
// name of a simulated host is its own.
#include "conformance/harness.hpp"

#include <unistd.h>

#include "weir/unix_datagrams.hpp"

namespace conformance {

namespace {

using weir::shard;
using weir::unix_datagram_socket;
using weir::unix_endpoint;

unix_endpoint fresh_path() {
  static int count = 0;
  return unix_endpoint("/tmp/weir-unix-dgram-" + std::to_string(::getpid()) + "-" +
                       std::to_string(++count));
}

task<std::string> receive_text(unix_datagram_socket& socket) {
  std::array<std::byte, 2048> buffer;
  auto got = co_await socket.receive_from(buffer);
  co_return text_of(std::span(buffer).first(got.n));
}

task<> receive_into(unix_datagram_socket& socket, std::error_code& seen) {
  std::array<std::byte, 16> buffer;
  auto got = co_await socket.receive_from(buffer).nothrow();
  seen = got.ec;
}

task<> send_many(unix_datagram_socket& socket, unix_endpoint to, std::size_t count,
                 std::size_t& sent) {
  for (; sent < count; ++sent) co_await socket.send_to(pattern(sent % 300 + 1, sent), to);
}

}  // namespace

task<> unix_datagrams_are_answered_by_name(shard& s) {
  const auto path = fresh_path();
  auto server = weir::bind_datagrams(s, path);
  CHECK(server.local_endpoint() == path);
  auto client = weir::bind_datagrams(s, unix_endpoint());
  CHECK(client.local_endpoint().is_abstract());
  const auto size = co_await client.send_to("question", path);
  CHECK(size == 8);
  std::array<std::byte, 64> buffer;
  auto asked = co_await server.receive_from(buffer);
  CHECK(text_of(std::span(buffer).first(asked.n)) == "question");
  CHECK(asked.size == 8);
  CHECK(asked.from.name == client.local_endpoint());
  CHECK(asked.from.credentials.pid != 0);
  co_await server.send_to("answer", asked.from.name);
  auto answer = co_await receive_text(client);
  CHECK(answer == "answer");
}
UNIX_CONFORMANCE(unix_datagrams_are_answered_by_name);

task<> unix_datagrams_of_a_connected_socket(shard& s) {
  auto server = weir::bind_datagrams(s, fresh_path());
  auto client = weir::connect_datagrams(s, server.local_endpoint());
  CHECK(client.connected());
  CHECK(client.remote_endpoint() == server.local_endpoint());
  co_await client.send("one");
  co_await client.send("");
  std::array<std::byte, 2> small;
  auto cut = co_await server.receive_from(small).nothrow();
  CHECK(cut.ec == std::errc::message_size);
  CHECK(cut.n == 2);
  CHECK(cut.size == 3);
  auto empty = co_await server.receive_from(small);
  CHECK(empty.n == 0);
  co_await server.send_to("back", client.local_endpoint());
  std::array<std::byte, 16> buffer;
  auto back = co_await client.receive(buffer);
  CHECK(back.n == 4);
  auto named = co_await client.send_to("x", server.local_endpoint()).nothrow();
  CHECK(named.ec == std::errc::already_connected);
  auto unnamed = co_await server.send("x").nothrow();
  CHECK(unnamed.ec == std::errc::not_connected);
  auto other = weir::bind_datagrams(s, unix_endpoint());
  auto strange = co_await other.send_to("x", client.local_endpoint()).nothrow();
  CHECK(strange.ec == std::errc::permission_denied);
  server.close();
  for (int i = 0; i < 3; ++i) {
    auto gone = co_await client.send("x").nothrow();
    CHECK(gone.ec == std::errc::connection_refused);
  }
}
UNIX_CONFORMANCE(unix_datagrams_of_a_connected_socket);

task<> unix_datagrams_of_a_pair(shard& s) {
  auto pair = weir::make_datagram_pair(s);
  CHECK(pair.first.connected());
  co_await pair.first.send("to the second");
  co_await pair.second.send("to the first");
  std::array<std::byte, 64> buffer;
  auto got = co_await pair.first.receive(buffer);
  CHECK(text_of(std::span(buffer).first(got.n)) == "to the first");
  CHECK(got.from.name.is_unnamed());
  CHECK(got.from.credentials.pid != 0);
  got = co_await pair.second.receive(buffer);
  CHECK(text_of(std::span(buffer).first(got.n)) == "to the second");
}
UNIX_CONFORMANCE(unix_datagrams_of_a_pair);

task<> unix_datagrams_say_why_not(shard& s) {
  auto socket = weir::bind_datagrams(s, unix_endpoint());
  const auto path = fresh_path();
  auto nobody = co_await socket.send_to("x", path).nothrow();
  CHECK(nobody.ec == std::errc::no_such_file_or_directory);
  nobody = co_await socket.send_to("x", unix_endpoint("@weir-nobody")).nothrow();
  CHECK(nobody.ec == std::errc::connection_refused);
  auto unnamed = co_await socket.send_to("x", unix_endpoint()).nothrow();
  CHECK(unnamed.ec == std::errc::invalid_argument);
  auto taken = weir::bind_datagrams(s, path);
  auto twice = weir::try_bind_datagrams(s, path);
  REQUIRE_FALSE(twice.has_value());
  CHECK(twice.error() == std::errc::address_in_use);
  auto much = co_await socket.send_to(std::vector<std::byte>(8 << 20), path).nothrow();
  CHECK(much.ec == std::errc::message_size);
  auto missing = weir::try_connect_datagrams(s, fresh_path());
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error() == std::errc::no_such_file_or_directory);
  std::array<std::byte, 4> buffer;
  auto none = co_await socket.receive(buffer).nothrow();
  CHECK(none.ec == std::errc::not_connected);
  auto empty = co_await socket.receive_from({}).nothrow();
  CHECK(empty.ec == std::errc::invalid_argument);
  taken.close();
  auto again = weir::try_bind_datagrams(s, path, {.mode = 0600});
  CHECK(again.has_value());
  auto modeless = weir::try_bind_datagrams(s, unix_endpoint(), {.mode = 0600});
  REQUIRE_FALSE(modeless.has_value());
  CHECK(modeless.error() == std::errc::invalid_argument);
}
UNIX_CONFORMANCE(unix_datagrams_say_why_not);

task<> unix_datagrams_wait_for_room_and_none_is_lost(shard& s) {
  constexpr std::size_t count = 1000;
  auto server = weir::bind_datagrams(s, fresh_path());
  auto client = weir::bind_datagrams(s, unix_endpoint());
  auto other = weir::bind_datagrams(s, unix_endpoint());
  weir::scope tasks(s);
  std::size_t sent = 0;
  tasks.spawn(send_many(client, server.local_endpoint(), count, sent));
  co_await weir::yield();
  // Nobody reads: the sender stops, and others are sent to from its socket all the same.
  co_await sleep_for(3ms);
  const auto stopped_at = sent;
  CHECK(stopped_at < count);
  co_await client.send_to("you", other.local_endpoint());
  auto text = co_await receive_text(other);
  CHECK(text == "you");
  for (std::size_t i = 0; i < count; ++i) {
    std::array<std::byte, 512> buffer;
    auto got = co_await server.receive_from(buffer);
    REQUIRE(got.n == i % 300 + 1);
    CHECK(buffer[0] == pattern_at(i));
  }
  co_await tasks.join();
  CHECK(sent == count);
}
UNIX_CONFORMANCE(unix_datagrams_wait_for_room_and_none_is_lost);

task<> unix_datagram_waits_are_bounded_cancelled_and_stopped(shard& s) {
  auto server = weir::bind_datagrams(s, fresh_path());
  auto client = weir::connect_datagrams(s, server.local_endpoint());
  std::array<std::byte, 16> buffer;
  auto late = co_await server.receive_from(buffer).timeout(2ms).nothrow();
  CHECK(late.ec == std::errc::timed_out);
  {
    std::error_code seen;
    weir::scope tasks(s);
    tasks.spawn(receive_into(server, seen));
    co_await weir::yield();
    auto second = co_await server.receive_from(buffer).nothrow();
    CHECK(second.ec == std::errc::device_or_resource_busy);
    tasks.cancel();
    co_await tasks.join();
    CHECK(seen == std::errc::operation_canceled);
  }
  // A queue that nobody reads is full at some time: a send that waits may be given up.
  std::size_t sent = 0;
  for (;;) {
    auto one = co_await client.send("fill").timeout(2ms).nothrow();
    if (one.ec == std::errc::timed_out) break;
    REQUIRE_FALSE(one.ec);
    REQUIRE(++sent < 100'000);
  }
  for (std::size_t i = 0; i < sent; ++i) {
    auto got = co_await server.receive_from(buffer);
    CHECK(got.n == 4);
  }
  co_await client.send("on");
  auto text = co_await receive_text(server);
  CHECK(text == "on");
  s.request_stop();
  auto end = co_await server.receive_from(buffer);
  CHECK_FALSE(end);
}
UNIX_CONFORMANCE(unix_datagram_waits_are_bounded_cancelled_and_stopped);

}  // namespace conformance

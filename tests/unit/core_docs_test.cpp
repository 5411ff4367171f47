// The snippets of docs/lifetimes.md, docs/errors.md and docs/cancellation.md, compiled and run; and
// a check that the pages show nothing that does not stand here.
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "asio_world.hpp"
#include "doc_blocks.hpp"

using namespace std::chrono_literals;
using asio_test::world;
using doc_blocks::cpp_blocks;
using doc_blocks::read_file;
using doc_blocks::without_space;

namespace lifetimes {

weir::task<> session(weir::tcp_stream peer) {  // by value: lives in the frame, closes when it ends
  std::array<std::byte, 4096> buffer;          // so does this
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

weir::task<> count_bytes(weir::tcp_stream& peer,
                         std::size_t& total) {  // by reference: the caller waits
  for (;;) {
    auto lent = co_await peer.receive();
    if (!lent) break;  // end of stream
    total += lent.size();
  }  // given back here, at each turn of the loop
}

weir::task<std::size_t> measure(weir::tcp_stream peer) {
  std::size_t total = 0;
  co_await count_bytes(peer, total);
  co_return total;
}

weir::task<> both_at_once(weir::shard& shard, weir::tcp_stream& a, weir::tcp_stream& b) {
  std::size_t total = 0;
  weir::scope readers(shard);  // after what its tasks refer to
  readers.spawn(count_bytes(a, total));
  readers.spawn(count_bytes(b, total));
  co_await readers.join();  // before any of it goes
  CHECK(total == 10);
}

weir::task<> relay(weir::tcp_stream& from, weir::tcp_stream& to) {
  for (;;) {
    auto lent = co_await from.receive();
    if (!lent) break;
    co_await to.write_all(std::move(lent));  // the same memory: no copy on the stack
  }
  to.shutdown_send();
}

}  // namespace lifetimes

namespace errors {

weir::task<std::string> first_line(weir::tcp_stream& peer) {
  std::string line;
  std::array<std::byte, 1> one;
  for (;;) {
    auto got = co_await peer.read_exactly(one).timeout(5s).nothrow();
    if (got.ec == weir::error::end_of_stream) break;
    if (got.ec) throw weir::io_error(got.ec, "first_line");
    if (one[0] == std::byte{'\n'}) break;
    line += static_cast<char>(one[0]);
  }
  co_return line;
}

weir::task<bool> reachable(weir::endpoint server) {
  try {
    auto peer = co_await weir::connect(server).timeout(1s);
    co_return true;
  } catch (const weir::io_error& e) {
    if (e.code() != std::errc::connection_refused && e.code() != std::errc::timed_out) throw;
  }
  co_return false;
}

weir::task<> send_or_say_how_far(weir::tcp_stream& peer, std::span<const std::byte> all,
                                 std::size_t& sent) {
  auto done = co_await peer.write_all(all).timeout(10s).nothrow();
  sent = done.n;  // true whether or not done.ec says why it stopped
}

}  // namespace errors

namespace cancellation {

weir::task<> serve(weir::shard& shard, weir::tcp_listener& listener) {
  weir::scope sessions(shard, {.max = 10'000});
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;  // the shard was asked to stop
    sessions.spawn(lifetimes::session(std::move(*peer)));
  }
  auto end = co_await sessions.drain(5s);
  if (!end.in_time) std::printf("%zu sessions had to be cancelled\n", end.cancelled);
}

weir::task<> keep_alive(weir::tcp_stream& peer) {
  std::array<std::byte, 512> request;
  for (;;) {
    auto got = co_await peer.read_some(request).timeout(60s).until_stop().nothrow();
    if (got.ec || got.n == 0) co_return;  // stopping, silent for a minute, or gone
    co_await peer.write_all(std::span(request).first(got.n));
  }
}

weir::task<> answer_while_wanted(weir::tcp_stream& peer, weir::task<std::string> work) {
  auto first = co_await weir::when_any(std::move(work), peer.peer_closed());
  if (first.index() == 0) co_await peer.write_all(*first.get<0>());
}

weir::task<std::string> for_a_while(weir::duration time) {
  co_await weir::sleep_for(time);
  co_return "done";
}

weir::task<std::size_t> whole_request(weir::tcp_stream& peer, std::span<std::byte> into) {
  co_return co_await peer.read_exactly(into);
}

weir::task<std::size_t> impatient(weir::tcp_stream& peer, std::span<std::byte> into) {
  // One limit for all that the task does, however many operations that takes.
  auto n = co_await weir::with_timeout(2ms, whole_request(peer, into));
  co_return n;
}

weir::task<> say_goodbye(weir::tcp_stream& peer) {
  std::exception_ptr why;
  try {
    co_await weir::sleep_for(1h);
  } catch (const weir::io_error&) {
    why = std::current_exception();  // g++ and clang allow no co_await inside a handler
  }
  if (why) {
    // Cancelled: each further wait would end at once, but this needs none.
    peer.shutdown_send();
    std::rethrow_exception(why);
  }
}

}  // namespace cancellation

namespace {

struct pair {
  weir::tcp_stream client;
  weir::tcp_stream server;
};

weir::task<> make_pair(weir::shard& s, pair& into) {
  auto listener = s.listen({"127.0.0.1", 0});
  into.client = co_await weir::connect(listener.local_endpoint());
  auto peer = co_await listener.accept();
  into.server = std::move(*peer);
}

}  // namespace

TEST_CASE("the_pages_show_only_code_that_is_compiled_here") {
  const std::string root = WEIR_SOURCE_DIR;
  auto here = without_space(read_file(root + "/tests/unit/core_docs_test.cpp"));
  for (auto page : {"lifetimes", "errors", "cancellation"}) {
    auto blocks = cpp_blocks(read_file(root + "/docs/" + page + ".md"));
    CHECK_MESSAGE(!blocks.empty(), page);
    for (auto& block : blocks)
      CHECK_MESSAGE(here.find(without_space(block)) != std::string::npos, block);
  }
}

TEST_CASE("lifetimes") {
  world w;
  w.run([](weir::shard& s) -> weir::task<> {
    pair p, q;
    co_await make_pair(s, p);
    co_await p.client.write_all("12345");
    p.client.close();
    auto total = co_await lifetimes::measure(std::move(p.server));
    CHECK(total == 5);
    co_await make_pair(s, p);
    co_await make_pair(s, q);
    co_await p.client.write_all("12345");
    co_await q.client.write_all("67890");
    p.client.close();
    q.client.close();
    co_await lifetimes::both_at_once(s, p.server, q.server);
  });
}

TEST_CASE("errors") {
  world w;
  w.run([](weir::shard& s) -> weir::task<> {
    pair p;
    co_await make_pair(s, p);
    co_await p.client.write_all("one line\nand half");
    auto line = co_await errors::first_line(p.server);
    CHECK(line == "one line");
    p.client.shutdown_send();
    auto half = co_await errors::first_line(p.server);
    CHECK(half == "and half");
    std::size_t sent = 0;
    std::array<std::byte, 3> three{};
    co_await errors::send_or_say_how_far(p.server, three, sent);
    CHECK(sent == 3);
    auto listener = s.listen({"127.0.0.1", 0});
    auto where = listener.local_endpoint();
    auto open = co_await errors::reachable(where);
    CHECK(open);
    listener.close();
    auto gone = co_await errors::reachable(where);
    CHECK(!gone);
  });
}

TEST_CASE("cancellation") {
  world w;
  w.run([](weir::shard& s) -> weir::task<> {
    pair p;
    co_await make_pair(s, p);
    std::array<std::byte, 4> four;
    std::error_code seen;
    try {
      co_await cancellation::impatient(p.server, four);
    } catch (const weir::io_error& e) {
      seen = e.code();
    }
    CHECK(seen == std::errc::timed_out);
    weir::scope scope(s);
    scope.spawn(cancellation::say_goodbye(p.server));
    co_await weir::yield();
    scope.cancel();
    co_await scope.join();
    auto n = co_await p.client.read_some(four);
    CHECK(n == 0);
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope servers(s);
    servers.spawn(cancellation::serve(s, listener));
    auto client = co_await weir::connect(listener.local_endpoint());
    co_await client.write_all("echo");
    co_await client.read_exactly(four);
    pair r;
    co_await make_pair(s, r);
    co_await cancellation::answer_while_wanted(r.server, cancellation::for_a_while(1ms));
    co_await r.client.read_exactly(four);
    r.client.close();
    co_await cancellation::answer_while_wanted(r.server, cancellation::for_a_while(1h));
    pair q;
    co_await make_pair(s, q);
    servers.spawn(cancellation::keep_alive(q.server));
    co_await q.client.write_all("echo");
    co_await q.client.read_exactly(four);
    s.request_stop();
    client.close();
    co_await servers.join();  // the idle client of keep_alive() is still there
  });
}

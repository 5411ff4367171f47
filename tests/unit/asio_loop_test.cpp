// A shard in somebody's io_context: its turns, its deadlines, its end, and what is left of it in an
// io_context that lives on. What sockets do there is conformance's (in_a_loop.asio).
#include <doctest/doctest.h>

#include <array>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <optional>
#include <string>
#include <thread>

#include "weir/asio.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using weir::embedded_shard;
using weir::task;

namespace {

weir::config on_asio() {
  weir::config settings;
  settings.backend = "asio";
  return settings;
}

task<> echo(weir::tcp_listener& listener) {
  auto peer = co_await listener.accept();
  std::array<std::byte, 64> buffer;
  for (;;) {
    auto got = co_await peer->read_some(buffer).nothrow();
    if (got.n == 0) co_return;
    co_await peer->write_all(std::span(buffer).first(got.n));
  }
}

}  // namespace

TEST_CASE("an_io_context_runs_until_the_shard_in_it_has_ended") {
  asio::io_context context(1);
  embedded_shard here(weir::on(context), on_asio());
  std::string heard;
  here.serve([&](weir::shard& shard) -> task<> {
    auto listener = shard.listen({"127.0.0.1", 0});
    weir::scope server(shard);
    server.spawn(echo(listener));
    auto client = co_await shard.connect(listener.local_endpoint());
    std::array<std::byte, 5> answer;
    for (int i = 0; i < 50; ++i) {
      co_await client.write_all("hello");
      co_await client.read_exactly(answer);
    }
    heard.assign(reinterpret_cast<const char*>(answer.data()), answer.size());
    client.close();
    co_await server.join();
    co_await weir::sleep_for(5ms);
  });
  context.run();
  CHECK(heard == "hello");
  CHECK(here.ended());
  CHECK(here.descriptor() == -1);
  CHECK(here.next_deadline().is_never());
}

TEST_CASE("an_idle_shard_gives_an_io_context_nothing_to_do") {
  asio::io_context context(1);
  embedded_shard here(weir::on(context), on_asio());
  bool served = false;
  here.serve([&](weir::shard& shard) -> task<> {
    auto listener = shard.listen({"127.0.0.1", 0});
    auto client = co_await shard.connect(listener.local_endpoint());
    weir::scope server(shard);
    server.spawn(echo(listener));
    std::array<std::byte, 1> byte{};
    co_await client.write_all(byte);
    co_await client.read_exactly(byte);
    served = true;
    (void)co_await client.read_some(byte).until_stop().nothrow();
    client.close();
    co_await server.join();
  });
  while (!served) context.run_one();
  while (context.run_for(20ms) != 0) {  // what was under way
  }
  CHECK(context.run_for(300ms) == 0);
  here.shard().request_stop();
  context.run();
  CHECK(here.ended());
}

TEST_CASE("messages_of_other_threads_wake_an_io_context") {
  asio::io_context context(1);
  embedded_shard here(weir::on(context), on_asio());
  constexpr unsigned rounds = 5'000;
  std::atomic<unsigned> heard = 0;
  auto more = asio::make_work_guard(context);
  std::thread speaker([&] {
    for (unsigned i = 0; i < rounds; ++i) {
      here.shard().post([&] { ++heard; });
      while (heard.load() != i + 1) std::this_thread::yield();
    }
  });
  while (heard.load() != rounds) context.run_one();
  speaker.join();
}

TEST_CASE("what_came_while_the_loop_was_busy_goes_before_the_deadline") {
  asio::io_context context(1);
  embedded_shard here(weir::on(context), on_asio());
  weir::transfer got;
  std::optional<asio::steady_timer> busy;
  here.serve([&](weir::shard& shard) -> task<> {
    auto listener = shard.listen({"127.0.0.1", 0});
    auto client = co_await shard.connect(listener.local_endpoint());
    auto peer = co_await listener.accept();
    auto* sender = &client;
    // A handler of the program's own: it sends at once, and computes beyond the reader's deadline.
    asio::post(context, [sender] {
      const char byte = 'x';
      (void)!::write(sender->native_handle(), &byte, 1);
      std::this_thread::sleep_for(40ms);
    });
    std::array<std::byte, 1> buffer;
    got = co_await peer->read_some(buffer).timeout(20ms).nothrow();
  });
  context.run();
  CHECK_FALSE(got.ec);
  CHECK(got.n == 1);
}

TEST_CASE("a_shard_that_goes_leaves_nothing_alive_in_an_io_context_that_stays") {
  asio::io_context context(1);
  bool cancelled = false;
  for (const bool stopped : {false, true}) {
    cancelled = false;
    context.restart();
    {
      embedded_shard here(weir::on(context), on_asio());
      here.serve([&](weir::shard& shard) -> task<> {
        auto listener = shard.listen({"127.0.0.1", 0});
        auto client = co_await shard.connect(listener.local_endpoint());
        auto peer = co_await listener.accept();
        std::array<std::byte, 8> buffer;
        auto got = co_await peer->read_some(buffer).timeout(1h).nothrow();
        cancelled = got.ec == std::errc::operation_canceled;
      });
      for (int i = 0; i < 20; ++i) context.poll();
      here.shard().post([] {});  // a wake-up that nobody hears any more
      if (stopped) context.stop();
    }
    CHECK(cancelled);
    if (context.stopped()) context.restart();
    bool others = false;
    asio::post(context, [&] { others = true; });
    context.run();  // ends: nothing of the shard is left
    CHECK(others);
  }
}

TEST_CASE("an_io_context_takes_no_other_back_end") {
  asio::io_context context(1);
  for (const auto* name : {"uring", "stack"}) {
    CAPTURE(name);
    auto settings = on_asio();
    settings.backend = name;
    std::error_code refused;
    try {
      embedded_shard here(weir::on(context), settings);
    } catch (const weir::io_error& error) {
      refused = error.code();
    }
    CHECK(refused == std::errc::operation_not_supported);
  }
  embedded_shard here(weir::on(context), {});  // auto
  CHECK(here.shard().backend() == "asio");
}

TEST_CASE("two_shards_share_an_io_context") {
  asio::io_context context(1);
  embedded_shard one(weir::on(context), on_asio()), other(weir::on(context), on_asio());
  std::optional<weir::endpoint> where;
  std::string heard;
  one.serve([&](weir::shard& shard) -> task<> {
    auto listener = shard.listen({"127.0.0.1", 0});
    where = listener.local_endpoint();
    co_await echo(listener);
  });
  other.serve([&](weir::shard& shard) -> task<> {
    while (!where) co_await weir::sleep_for(1ms);
    auto client = co_await shard.connect(*where);
    co_await client.write_all("hello");
    std::array<std::byte, 5> answer;
    co_await client.read_exactly(answer);
    heard.assign(reinterpret_cast<const char*>(answer.data()), answer.size());
  });
  context.run();
  CHECK(heard == "hello");
}

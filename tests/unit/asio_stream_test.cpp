// weir's streams under Asio's own algorithms, and Asio's operations in weir's coroutines, on kernel
// back ends and in the simulator. Asio's TLS and Beast on every back end: tests/programs.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/co_spawn.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "unit/back_ends.hpp"
#include "weir/asio.hpp"
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

using namespace std::chrono_literals;
using weir::asio_stream;
using weir::shard;
using weir::shard_context;
using weir::task;
using weir::use_await;

namespace {

/// Lets the shard's loop turn.
task<> turns() {
  for (int i = 0; i < 20; ++i) co_await weir::sleep_for(1ms);
}

/// Two ends, ours as Asio sees it.
struct ends {
  explicit ends(shard& s) : here(s), pair(weir::make_unix_pair(s)), theirs(std::move(pair.second)) {
    ours.emplace(here, std::move(pair.first));
  }
  shard_context here;
  decltype(weir::make_unix_pair(std::declval<shard&>())) pair;
  weir::any_stream theirs;
  std::optional<asio_stream> ours;
};

template <class T>
struct counting_allocator;
template <>
struct counting_allocator<void> {
  using value_type = void;
  explicit counting_allocator(int& c) : count(&c) {}
  template <class U>
  counting_allocator(const counting_allocator<U>& other) : count(other.count) {}
  int* count;
};
template <class T>
struct counting_allocator {
  using value_type = T;
  explicit counting_allocator(int& c) : count(&c) {}
  template <class U>
  counting_allocator(const counting_allocator<U>& other) : count(other.count) {}
  T* allocate(std::size_t n) {
    ++*count;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* at, std::size_t n) {
    --*count;
    std::allocator<T>().deallocate(at, n);
  }
  friend bool operator==(counting_allocator a, counting_allocator b) { return a.count == b.count; }
  int* count;
};

/// A handler with an allocator of its own.
struct counting_handler {
  using allocator_type = counting_allocator<void>;
  allocator_type get_allocator() const { return allocator_type(*blocks); }
  void operator()(std::error_code ec, std::size_t n) { *got = {ec, n}, *still_held = *blocks; }
  int* blocks;
  int* still_held;
  weir::transfer* got;
};

}  // namespace

TEST_CASE("an_operation_never_completes_inside_the_call_that_initiates_it") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    ends of(s);
    co_await of.theirs.write_all("ready");
    co_await turns();  // and so is there already
    std::array<char, 5> buffer;
    int done = 0;
    of.ours->async_read_some(asio::buffer(buffer), [&](std::error_code ec, std::size_t n) {
      CHECK_FALSE(ec);
      CHECK(n == 5);
      ++done;
    });
    of.ours->async_write_some(asio::buffer("x", 1), [&](std::error_code, std::size_t) { ++done; });
    of.ours->async_read_some(asio::mutable_buffer(), [&](std::error_code ec, std::size_t n) {
      CHECK((n == 0 && (!ec || weir::from_asio_error(ec) == std::errc::device_or_resource_busy)));
      ++done;
    });
    CHECK(done == 0);
    co_await turns();
    CHECK(done == 3);
    of.ours->async_write_some(asio::const_buffer(), [&](std::error_code ec, std::size_t n) {
      CHECK_FALSE(ec);
      CHECK(n == 0);
      ++done;
    });
    co_await turns();
    CHECK(done == 4);
    CHECK(std::string(buffer.data(), 5) == "ready");
  });
}

TEST_CASE("a_handlers_allocator_gives_the_memory_and_has_it_back_before_the_call") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    ends of(s);
    int blocks = 0, still_held = -1;
    weir::transfer got{std::make_error_code(std::errc::io_error), 0};
    of.ours->async_write_some(asio::buffer("hello", 5),
                              counting_handler{&blocks, &still_held, &got});
    CHECK(blocks > 0);
    co_await turns();
    CHECK(got.n == 5);
    CHECK(still_held == 0);
    asio::post(of.here, [] {});
    asio::post(of.here.get_executor(), [] {});
    co_await turns();
  });
}

TEST_CASE("a_handlers_executor_makes_the_call") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    ends of(s);
    auto strand = asio::make_strand(of.here.get_executor());
    bool inside = false;
    of.ours->async_write_some(asio::buffer("hello", 5),
                              asio::bind_executor(strand, [&](std::error_code, std::size_t) {
                                inside = strand.running_in_this_thread();
                              }));
    co_await turns();
    CHECK(inside);
  });
}

TEST_CASE("a_cancellation_slot_ends_one_operation_and_the_stream_goes_on") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    ends of(s);
    asio::cancellation_signal stop;
    std::array<char, 8> buffer;
    std::error_code ended;
    const auto read = [&] {
      of.ours->async_read_some(
          asio::buffer(buffer),
          asio::bind_cancellation_slot(stop.slot(),
                                       [&](std::error_code ec, std::size_t) { ended = ec; }));
    };
    read();
    co_await turns();
    stop.emit(asio::cancellation_type::total);
    co_await turns();
    CHECK(ended == asio::error::operation_aborted);
    read();
    stop.emit(asio::cancellation_type::terminal);  // before it has begun
    co_await turns();
    CHECK(ended == asio::error::operation_aborted);
    stop.emit(asio::cancellation_type::total);  // nobody is there
    co_await of.theirs.write_all("more");
    auto n = co_await of.ours->async_read_some(asio::buffer(buffer), use_await);
    CHECK(n == 4);
  });
}

TEST_CASE("what_is_under_way_ends_as_aborted_when_the_stream_closes_or_goes") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    for (const bool goes : {false, true}) {
      ends of(s);
      std::array<char, 8> buffer;
      std::error_code ended, later;
      of.ours->async_read_some(asio::buffer(buffer),
                               [&](std::error_code ec, std::size_t) { ended = ec; });
      co_await turns();
      if (goes) {
        of.ours.reset();
      } else {
        of.ours->close();
        CHECK_FALSE(of.ours->is_open());
        of.ours->async_read_some(asio::buffer(buffer),
                                 [&](std::error_code ec, std::size_t) { later = ec; });
      }
      co_await turns();
      CHECK(ended == asio::error::operation_aborted);
      if (!goes) CHECK(later == asio::error::bad_descriptor);
      std::array<std::byte, 8> theirs;
      auto n = co_await of.theirs.read_some(theirs);
      CHECK(n == 0);  // closed
    }
  });
}

TEST_CASE("many_parts_leave_as_one_write_and_the_end_is_asios") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    ends of(s);
    std::vector<asio::const_buffer> parts;
    std::string all;
    std::vector<std::string> texts;
    for (int i = 0; i < 50; ++i) texts.push_back(i % 7 == 0 ? "" : std::to_string(i));
    for (const auto& text : texts) {
      parts.push_back(asio::buffer(text));
      all += text;
    }
    auto n = co_await asio::async_write(*of.ours, parts, use_await);
    CHECK(n == all.size());
    std::vector<std::byte> got(all.size());
    co_await of.theirs.read_exactly(got);
    CHECK(weir::as_text(got) == all);
    co_await of.theirs.write_all("the last");
    of.theirs.close();
    std::array<char, 100> buffer;
    auto end = co_await asio::async_read(*of.ours, asio::buffer(buffer), use_await).nothrow();
    CHECK(end.ec == asio::error::eof);
    CHECK(end.n == 8);
  });
}

TEST_CASE("handlers_of_other_threads_and_timers_run_on_the_shard") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    shard_context here(s);
    const auto mine = std::this_thread::get_id();
    int at_once = 0, later = 0;
    asio::dispatch(here.get_executor(), [&] { ++at_once; });
    CHECK(at_once == 1);
    std::thread other([&] {
      for (int i = 0; i < 1000; ++i)
        asio::dispatch(here.get_executor(), [&] { later += std::this_thread::get_id() == mine; });
    });
    asio::steady_timer timer(here, 5ms);
    co_await timer.async_wait(use_await);
    CHECK(s.on_this_thread());
    other.join();
    co_await turns();
    CHECK(later == 1000);
  });
}

TEST_CASE("handlers_that_wait_when_their_context_goes_are_destroyed") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    auto token = std::make_shared<int>(0);
    {
      shard_context here(s);
      asio::post(here, [token] { ++*token; });
      asio::steady_timer timer(here, 1h);
      timer.async_wait([token](std::error_code) { ++*token; });
    }
    CHECK(token.use_count() == 1);
    co_await turns();
    CHECK(*token == 0);
  });
}

TEST_CASE("a_context_is_joined_when_callbacks_have_let_their_streams_go") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    ends of(s);
    struct session : std::enable_shared_from_this<session> {
      explicit session(asio_stream t) : to(std::move(t)) {}
      void go() {
        to.async_read_some(asio::buffer(buffer),
                           [self = shared_from_this()](std::error_code ec, std::size_t n) {
                             if (ec) return;
                             self->read += n;
                             self->go();
                           });
      }
      asio_stream to;
      std::array<char, 8> buffer;
      std::size_t read = 0;
    };
    auto one = std::make_shared<session>(std::move(*of.ours));
    one->go();
    co_await of.theirs.write_all("hello");
    of.theirs.close();
    co_await of.here.join();
    CHECK(one->read == 5);
    CHECK(one.use_count() == 1);
  });
}

TEST_CASE("a_wait_for_asio_is_bounded_and_cancelled_as_weirs_own") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    ends of(s);
    std::array<char, 8> buffer;
    auto late =
        co_await of.ours->async_read_some(asio::buffer(buffer), use_await).timeout(5ms).nothrow();
    CHECK(late.ec == std::errc::timed_out);
    auto composed =
        co_await asio::async_read(*of.ours, asio::buffer(buffer), use_await).timeout(5ms).nothrow();
    CHECK(composed.ec == std::errc::timed_out);
    asio::steady_timer timer(of.here, 1h);
    auto timed = co_await timer.async_wait(use_await).timeout(5ms).nothrow();
    CHECK(timed == std::errc::timed_out);
    weir::scope tasks(s);
    std::error_code ended;
    tasks.spawn([&]() -> task<> {
      auto got = co_await of.ours->async_read_some(asio::buffer(buffer), use_await).nothrow();
      ended = got.ec;
    });
    co_await turns();
    tasks.cancel();
    co_await tasks.join();
    CHECK(ended == std::errc::operation_canceled);
    std::error_code thrown;
    try {
      co_await of.ours->async_read_some(asio::buffer(buffer), use_await.cancelling(*of.ours))
          .timeout(1ms);
    } catch (const weir::io_error& error) {
      thrown = error.code();
    }
    CHECK(thrown == std::errc::timed_out);
  });
}

namespace {

task<int> seven_later() {
  co_await weir::sleep_for(1ms);
  co_return 7;
}
task<> sleep_long() { co_await weir::sleep_for(1h); }
task<> fail_later() {
  co_await weir::sleep_for(1ms);
  throw std::runtime_error("as it should");
}
asio::awaitable<int> asks_weir(shard_context& here) {
  const int got = co_await weir::async_run(here, seven_later(), asio::use_awaitable);
  bool thrown = false;
  try {
    co_await weir::async_run(here, fail_later(), asio::use_awaitable);
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  co_return thrown ? got : 0;
}

}  // namespace

TEST_CASE("asios_coroutines_await_weirs_and_the_reverse") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    shard_context here(s);
    const int got = co_await asio::co_spawn(here, asks_weir(here), use_await);
    CHECK(got == 7);
    co_await here.join();
  });
}

TEST_CASE("a_cancellation_slot_ends_a_task_that_asio_waits_for") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    shard_context here(s);
    asio::cancellation_signal stop;
    bool ended = false;
    std::exception_ptr how;
    weir::async_run(here, sleep_long(),
                    asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr end) {
                      ended = true;
                      how = std::move(end);
                    }));
    co_await turns();
    CHECK_FALSE(ended);
    stop.emit(asio::cancellation_type::terminal);
    co_await here.join();
    co_await turns();
    CHECK(ended);
    CHECK(how != nullptr);
  });
}

TEST_CASE("an_asio_socket_becomes_a_stream_by_its_descriptor") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    shard_context here(s);
    auto listener = s.listen({"127.0.0.1", 0});
    asio::ip::tcp::socket socket(here);
    const asio::ip::tcp::endpoint where(asio::ip::address_v4::loopback(),
                                        listener.local_endpoint().port);
    co_await socket.async_connect(where, use_await);
    auto peer = co_await listener.accept();
    co_await asio::async_write(socket, asio::buffer("ab", 2), use_await);
    auto stream = weir::adopt_tcp(s, weir::unique_fd(socket.release()));
    co_await stream.write_all("c");
    std::array<std::byte, 3> got;
    co_await peer->read_exactly(got);
    CHECK(weir::as_text(got) == "abc");
  });
}

TEST_CASE("a_shard_in_an_io_context_has_its_streams_on_that_executor") {
  asio::io_context context(1);
  weir::config settings;
  settings.backend = "asio";
  weir::embedded_shard here(weir::on(context), settings);
  std::size_t came = 0;
  here.serve([&](shard& s) -> task<> {
    using stream = weir::basic_asio_stream<asio::io_context::executor_type>;
    auto pair = weir::make_unix_pair(s);
    stream ours(context.get_executor(), std::move(pair.first));
    co_await pair.second.write_all("hello");
    std::array<char, 5> buffer;
    came = co_await asio::async_read(ours, asio::buffer(buffer), use_await);
    asio::steady_timer timer(context, 1ms);
    co_await timer.async_wait(use_await);
  });
  context.run();
  CHECK(came == 5);
}

TEST_CASE("callbacks_between_the_turns_of_a_shard_in_an_io_context_are_heard") {
  asio::io_context context(1);
  weir::config settings;
  settings.backend = "asio";
  weir::embedded_shard here(weir::on(context), settings);
  using stream = weir::basic_asio_stream<asio::io_context::executor_type>;
  std::optional<stream> ours;
  std::array<char, 5> buffer;
  std::error_code first, second;
  here.serve([&](weir::shard& s) -> task<> {
    auto pair = weir::make_unix_pair(s);
    ours.emplace(context.get_executor(), std::move(pair.first));
    asio::post(context, [&] {
      ours->async_read_some(asio::buffer(buffer), [&](std::error_code ec, std::size_t) {
        first = ec;
        asio::post(context, [&] {
          ours->async_read_some(asio::buffer(buffer),
                                [&](std::error_code end, std::size_t) { second = end; });
          asio::post(context, [&] { asio::post(context, [&] { ours->close(); }); });
        });
      });
    });
    std::array<std::byte, 1> byte{};
    co_await pair.second.write_all(byte);
    auto got = co_await pair.second.read_some(byte);
    CHECK(got == 0);
  });
  first = asio::error::eof;
  context.run();
  CHECK_FALSE(first);
  CHECK(second == asio::error::operation_aborted);
}

TEST_CASE("a_task_that_a_callback_starts_between_the_turns_runs_and_is_cancelled") {
  asio::io_context context(1);
  weir::config settings;
  settings.backend = "asio";
  weir::embedded_shard here(weir::on(context), settings);
  auto inside = std::make_unique<shard_context>(here.shard());
  asio::cancellation_signal stop;
  bool ended = false;
  asio::post(context, [&] {
    weir::async_run(
        *inside, sleep_long(),
        asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr) { ended = true; }));
  });
  auto more = asio::make_work_guard(context);
  for (int i = 0; i < 10; ++i) context.run_for(1ms);
  CHECK_FALSE(ended);
  stop.emit(asio::cancellation_type::total);
  while (!ended) context.run_one();
  inside.reset();
}

#if WEIR_WITH_SIM
TEST_CASE("asio_runs_in_a_simulation_where_it_needs_no_timer") {
  weir::sim::network net({.seed = 3});
  auto& server = net.add_host("10.0.0.1/24");
  auto& client = net.add_host("10.0.0.2/24");
  net.link(server, client, {.delay = 10ms, .loss = 0.05});
  net.serve(server, [](shard& s) -> task<> {
    shard_context here(s);
    auto listener = s.listen({"10.0.0.1", 7});
    while (auto peer = co_await listener.accept()) {
      asio_stream stream(here, std::move(*peer));
      std::array<char, 1000> buffer;
      for (;;) {
        auto got = co_await stream.async_read_some(asio::buffer(buffer), use_await).nothrow();
        if (got.ec) break;
        co_await asio::async_write(stream, asio::buffer(buffer.data(), got.n), use_await);
      }
    }
  });
  net.start(client, [](shard& s) -> task<> {
    shard_context here(s);
    asio_stream stream(here, co_await s.connect({"10.0.0.1", 7}));
    const std::string sent(100'000, 'x');
    std::string got(sent.size(), ' ');
    for (std::size_t at = 0; at < sent.size(); at += 10'000) {
      co_await asio::async_write(stream, asio::buffer(&sent[at], 10'000), use_await);
      co_await asio::async_read(stream, asio::buffer(&got[at], 10'000), use_await);
    }
    CHECK(got == sent);
  });
  net.run();
}
#endif

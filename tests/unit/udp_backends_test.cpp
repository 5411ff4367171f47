// UDP on kernel sockets from close by: what the conformance suite cannot see, since it is about
// descriptors, races between a cancellation and a datagram, and kernels that lack newer requests.
#include <doctest/doctest.h>

#include <dirent.h>

#include <array>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#if WEIR_WITH_URING
#include "uring_world.hpp"
#endif
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using weir::shard;
using weir::task;
using weir::udp_socket;

namespace {

std::size_t open_descriptors() {
  std::size_t count = 0;
  auto* dir = ::opendir("/proc/self/fd");
  REQUIRE(dir != nullptr);
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

void run_on(shard& s, const std::function<task<>(shard&)>& body) {
  bool ended = false;
  std::exception_ptr failure;
  s.start(body(s), [&](std::exception_ptr f) {
    failure = std::move(f);
    ended = true;
  });
  s.run_until([&] { return ended && s.roots() == 0 && s.transport().closing() == 0; });
  if (failure) std::rethrow_exception(failure);
}

/// Runs it on both back ends on kernel sockets that this machine allows.
void on_kernel_back_ends(const std::function<task<>(shard&)>& body) {
  for (std::string name : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = name;
    if (auto found = weir::probe_backend(name, settings); !found.usable) {
      std::printf("SKIPPED: %s: %s\n", name.c_str(), found.reason.c_str());
      continue;
    }
    CAPTURE(name);
    auto s = weir::make_shard(0, settings);
    run_on(*s, body);
  }
}

task<> echo(udp_socket& socket) {
  std::array<std::byte, 2048> buffer;
  while (auto got = co_await socket.receive_from(buffer))
    co_await socket.send_to(std::span(buffer).first(got.n), got.from);
}

task<> receive_into(udp_socket& socket, std::size_t& received, std::size_t& canceled) {
  std::array<std::byte, 16> buffer;
  auto got = co_await socket.receive_from(buffer).nothrow();
  if (got.ec == std::errc::operation_canceled)
    ++canceled;
  else if (!got.ec)
    ++received;
}

}  // namespace

TEST_CASE("a_cancelled_receive_takes_a_datagram_or_leaves_it_and_never_hangs") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto socket = s.bind_udp({"127.0.0.1", 0});
    auto client = s.connect_udp(socket.local_endpoint());
    constexpr std::size_t rounds = 2000;
    std::size_t received = 0, canceled = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
      weir::scope tasks(s);
      tasks.spawn(receive_into(socket, received, canceled));
      co_await weir::yield();
      co_await client.send("x");
      if (i % 3 == 0) co_await weir::yield();
      tasks.cancel();
      co_await tasks.join();
    }
    CHECK(received + canceled == rounds);
    // A datagram whose receive was cancelled is still there, or was lost with the operation that
    // the kernel had ended already: never more than one for each.
    std::size_t left = 0;
    for (;;) {
      std::array<std::byte, 16> buffer;
      auto got = co_await socket.receive_from(buffer).timeout(50ms).nothrow();
      if (got.ec) break;
      ++left;
    }
    CHECK(received + left <= rounds);
  });
}

TEST_CASE("a_timeout_that_meets_a_datagram_is_one_or_the_other") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto socket = s.bind_udp({"127.0.0.1", 0});
    auto client = s.connect_udp(socket.local_endpoint());
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 200; ++i) {
      co_await client.send("x");
      auto got = co_await socket.receive_from(buffer).timeout(0ms).nothrow();
      CHECK((!got.ec || got.ec == std::errc::timed_out));
      if (got.ec) {
        auto late = co_await socket.receive_from(buffer).timeout(10s).nothrow();
        CHECK(!late.ec);
      }
    }
  });
}

TEST_CASE("sockets_give_their_descriptors_back") {
  on_kernel_back_ends([](shard& s) -> task<> {
    s.bind_udp({"127.0.0.1", 0}).close();  // Asio opens its reactor with the first one
    auto before = open_descriptors();
    for (int i = 0; i < 100; ++i) {
      auto one = s.bind_udp({"127.0.0.1", 0});
      auto two = s.connect_udp(one.local_endpoint());
      co_await two.send("x");
      std::array<std::byte, 16> buffer;
      auto got = co_await one.receive_from(buffer);
      CHECK(got.n == 1);
    }
    auto refused = s.try_connect_udp({"255.255.255.255", 1});
    CHECK_FALSE(refused.has_value());
    auto foreign = s.try_bind_udp({"192.0.2.1", 1});
    CHECK_FALSE(foreign.has_value());
    CHECK(open_descriptors() == before);
  });
}

TEST_CASE("a_socket_that_outlives_its_tasks_goes_with_its_shard") {
  for (std::string name : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = name;
    if (!weir::probe_backend(name, settings).usable) continue;
    auto before = open_descriptors();
    {
      auto s = weir::make_shard(0, settings);
      udp_socket kept;
      run_on(*s, [&](shard& here) -> task<> {
        kept = here.bind_udp({"127.0.0.1", 0});
        co_await weir::yield();
      });
      kept.close();
    }
    CHECK(open_descriptors() == before);
  }
}

TEST_CASE("several_sockets_may_share_a_port_when_all_of_them_say_so") {
  on_kernel_back_ends([](shard& s) -> task<> {
    weir::udp_options how{.sharing = weir::sharing::sharded};
    auto one = s.bind_udp({"127.0.0.1", 0}, how);
    auto two = s.try_bind_udp(one.local_endpoint(), how);
    CHECK(two.has_value());
    auto exclusive = s.try_bind_udp(one.local_endpoint());
    REQUIRE_FALSE(exclusive.has_value());
    CHECK(exclusive.error() == std::errc::address_in_use);
    co_return;
  });
}

TEST_CASE("a_wildcard_socket_answers_from_whichever_address_was_asked") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto socket = s.bind_udp({weir::ip_address(), 0}, {.allow_wildcard = true});
    const auto port = socket.local_endpoint().port;
    for (std::uint32_t last = 1; last < 6; ++last) {
      const weir::endpoint asked(weir::ip_address::v4(0x7f000000u + last), port);
      auto client = s.connect_udp(asked, {"127.0.0.1", 0});
      co_await client.send("where?");
      std::array<std::byte, 16> buffer;
      weir::incoming_datagram got{.buffer = buffer};
      const auto n = co_await socket.receive_batch(std::span(&got, 1));
      CHECK(n == 1);
      CHECK(got.to.address == asked.address);
      const weir::outgoing_datagram answer{.bytes = got.bytes(), .to = got.from, .from = got.to};
      co_await socket.send_batch(std::span(&answer, 1));
      auto heard = co_await client.receive(buffer).timeout(10s);
      CHECK(heard.from == asked);
    }
  });
}

TEST_CASE("what_was_sent_in_one_piece_is_received_in_one") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto socket = s.bind_udp({"127.0.0.1", 0}, {.gro = true});
    auto client = s.connect_udp(socket.local_endpoint());
    std::vector<std::byte> bytes(40'000), memory(udp_socket::max_payload);
    const weir::outgoing_datagram piece{.bytes = bytes, .segment = 1000};
    weir::incoming_datagram got{.buffer = memory};
    for (int i = 0; i < 10; ++i) {
      co_await client.send_batch(std::span(&piece, 1));
      const auto n = co_await socket.receive_batch(std::span(&got, 1));
      CHECK(n == 1);
      CHECK(got.n == bytes.size());
      CHECK(got.segment == 1000);
    }
  });
}

TEST_CASE("a_cancelled_batch_takes_datagrams_or_leaves_them_and_never_hangs") {
  on_kernel_back_ends([](shard& s) -> task<> {
    auto socket = s.bind_udp({"127.0.0.1", 0});
    auto client = s.connect_udp(socket.local_endpoint());
    constexpr std::size_t rounds = 1000;
    std::size_t received = 0, canceled = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
      weir::scope tasks(s);
      tasks.spawn([](udp_socket& from, std::size_t& came, std::size_t& none) -> task<> {
        std::array<std::byte, 64> memory;
        std::array<weir::incoming_datagram, 4> room;
        for (std::size_t k = 0; k < room.size(); ++k)
          room[k].buffer = std::span(memory).subspan(k * 16, 16);
        const auto got = co_await from.receive_batch(room).nothrow();
        came += got.n;
        none += got.ec == std::errc::operation_canceled ? 1u : 0u;
      }(socket, received, canceled));
      co_await weir::yield();
      co_await client.send("x");
      if (i % 3 == 0) co_await weir::yield();
      tasks.cancel();
      co_await tasks.join();
    }
    std::array<std::byte, 16> buffer;
    for (;;) {
      const auto got = co_await socket.receive_from(buffer).timeout(50ms).nothrow();
      if (got.ec) break;
      ++received;
    }
    CHECK(received == rounds);  // a batch is taken by a plain call: none is lost
  });
}

#if WEIR_WITH_URING
TEST_CASE("an_old_kernels_requests_are_enough") {
  if (!uring_test::allowed()) return;
  uring_test::shape form;
  form.driver.rules = weir::detail::ring_rules::oldest();
  uring_test::world w(form);
  w.run([](shard& s) -> task<> {
    auto socket = s.bind_udp({"127.0.0.1", 0});
    auto client = s.connect_udp(socket.local_endpoint());
    weir::scope tasks(s);
    tasks.spawn(echo(socket));
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 100; ++i) {
      co_await client.send("old");
      auto got = co_await client.receive(buffer);
      CHECK(got.n == 3);
    }
    auto late = co_await client.receive(buffer).timeout(1ms).nothrow();
    CHECK(late.ec == std::errc::timed_out);
    tasks.cancel();
    co_await tasks.join();
  });
}

TEST_CASE("datagrams_cost_no_system_calls_of_their_own_on_io_uring") {
  if (!uring_test::allowed()) return;
  uring_test::world w;
  w.run([&](shard& s) -> task<> {
    auto socket = s.bind_udp({"127.0.0.1", 0});
    auto client = s.connect_udp(socket.local_endpoint());
    weir::scope tasks(s);
    tasks.spawn(echo(socket));
    std::array<std::byte, 64> buffer;
    constexpr std::uint64_t rounds = 1000;
    auto before = w.driver().system_calls();
    for (std::uint64_t i = 0; i < rounds; ++i) {
      co_await client.send("ping");
      co_await client.receive(buffer);
    }
    auto calls = w.driver().system_calls() - before;
    MESSAGE("system calls for 1000 questions and answers: ", calls);
    CHECK(calls <= 3 * rounds);  // the turns of the loop; two sends and two receives go with them
    tasks.cancel();
    co_await tasks.join();
  });
}
#endif

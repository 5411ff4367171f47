// Counts heap allocations: none per datagram once a UDP echo server is warm, on kernel sockets
// through io_uring and through Asio. Replaces operator new for this program.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <functional>

#include "runtime/backend/transport.hpp"
#include "support/allocations.hpp"
#include "weir/weir.hpp"

using weir::shard;
using weir::task;
using weir::udp_socket;
using namespace std::chrono_literals;

namespace {

task<> echo(udp_socket& socket) {
  std::array<std::byte, 2048> buffer;
  while (auto got = co_await socket.receive_from(buffer).timeout(30s))
    co_await socket.send_to(std::span(buffer).first(got.n), got.from);
}

task<> question(udp_socket& socket, std::span<std::byte> data) {
  for (int i = 0; i < 3; ++i) co_await socket.send(data);
  for (int i = 0; i < 3; ++i) co_await socket.receive(data).timeout(30s);
}

/// Three at a time, in one call each way.
task<> answer_batches(udp_socket& socket) {
  std::array<std::byte, 8 * 2048> memory;
  std::array<weir::incoming_datagram, 8> asked;
  std::array<weir::outgoing_datagram, 8> answers;
  for (std::size_t i = 0; i < asked.size(); ++i)
    asked[i].buffer = std::span(memory).subspan(i * 2048, 2048);
  while (auto n = co_await socket.receive_batch(asked).timeout(30s)) {
    for (std::size_t i = 0; i < n; ++i)
      answers[i] = {.bytes = asked[i].bytes(), .to = asked[i].from, .from = asked[i].to};
    co_await socket.send_batch(std::span(answers).first(n));
  }
}

task<> count(shard& s, std::size_t& counted, task<> (*serve)(udp_socket&)) {
  auto socket = s.bind_udp({"127.0.0.1", 0});
  auto client = s.connect_udp(socket.local_endpoint());
  weir::scope tasks(s);
  tasks.spawn(serve(socket));
  std::array<std::byte, 512> data{};
  for (int i = 0; i < 100; ++i) co_await question(client, data);
  auto before = weir::test::allocations();
  for (int i = 0; i < 2000; ++i) co_await question(client, data);
  counted = weir::test::allocations() - before;
  tasks.cancel();
  co_await tasks.join();
}

void expect_no_allocation(task<> (*serve)(udp_socket&)) {
  for (std::string name : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = name;
    if (auto found = weir::probe_backend(name, settings); !found.usable) {
      std::printf("SKIPPED: %s: %s\n", name.c_str(), found.reason.c_str());
      continue;
    }
    CAPTURE(name);
    std::size_t counted = 1;
    auto s = weir::make_shard(0, settings);
    bool ended = false;
    s->start(count(*s, counted, serve), [&](std::exception_ptr failure) {
      CHECK_FALSE(failure);
      ended = true;
    });
    s->run_until([&] { return ended && s->roots() == 0 && s->transport().closing() == 0; });
    CHECK(counted == 0);
  }
}

}  // namespace

TEST_CASE("udp_echo_allocates_nothing_once_warm") { expect_no_allocation(&echo); }
TEST_CASE("udp_batches_allocate_nothing_once_warm") { expect_no_allocation(&answer_batches); }

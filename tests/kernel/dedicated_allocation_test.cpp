// Counts heap allocations where the stack has a thread of its own: none per request or datagram,
// neither on the shard nor on the stack's thread, once both are warm. Replaces operator new for
// this program.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <latch>
#include <stdexcept>
#include <string>

#include "kernel/clients.hpp"
#include "kernel/dedicated_world.hpp"
#include "kernel/namespace_test.hpp"
#include "support/allocations.hpp"

using namespace kernel_test;

namespace {

/// `at_once` before the answers are read: as many messages, or datagrams.
void requests(int socket, int count, int at_once) {
  std::array<char, 64> message{};
  for (int i = 0; i < count; i += at_once) {
    for (int j = 0; j < at_once; ++j) send_all(socket, message.data(), message.size());
    for (int j = 0; j < at_once; ++j)
      if (::recv(socket, message.data(), message.size(), MSG_WAITALL) !=
          static_cast<ssize_t>(message.size()))
        throw std::runtime_error("an echo was cut short");
  }
}

weir::task<> echo_one(weir::shard& s, std::latch& listening) {
  auto listener = s.listen({address, 7});
  listening.count_down();
  auto peer = co_await listener.accept();
  if (!peer) co_return;
  for (;;) {
    auto chunk = co_await peer->receive();
    if (!chunk) break;
    co_await peer->write_all(chunk.bytes());
  }
}

weir::task<> echo_datagrams(weir::shard& s, std::latch& listening) {
  auto socket = s.bind_udp({address, 7});
  listening.count_down();
  std::array<std::byte, 512> buffer;
  while (auto got = co_await socket.receive_from(buffer))
    co_await socket.send_to(std::span(buffer).first(got.n), got.from);
}

/// As many as wait, in one call each way.
weir::task<> echo_batches(weir::shard& s, std::latch& listening) {
  auto socket = s.bind_udp({address, 7});
  listening.count_down();
  std::array<std::byte, 8 * 512> memory;
  std::array<weir::incoming_datagram, 8> asked;
  std::array<weir::outgoing_datagram, 8> answers;
  for (std::size_t i = 0; i < asked.size(); ++i)
    asked[i].buffer = std::span(memory).subspan(i * 512, 512);
  while (auto n = co_await socket.receive_batch(asked)) {
    for (std::size_t i = 0; i < n; ++i)
      answers[i] = {.bytes = asked[i].bytes(), .to = asked[i].from, .from = asked[i].to};
    co_await socket.send_batch(std::span(answers).first(n));
  }
}

using server = weir::task<> (*)(weir::shard&, std::latch&);

void expect_no_allocation(server serve, fd (*client_of)(const char*, std::uint16_t), int at_once) {
  run_in_private_network([=]() -> std::string {
    world w(1);
    std::latch listening(1);
    w.start(0, [&](weir::shard& s) { return serve(s, listening); });
    listening.wait();
    auto socket = client_of(address, 7);
    const auto made = [](weir::shard& s) {
      return call_on(s, [] { return weir::test::allocations(); });
    };
    requests(socket.get(), 2000, at_once);
    const auto shard = made(w.shard(0)), stack = made(w.stack());
    requests(socket.get(), 2000, at_once);
    // Asking costs nothing there: the question is the asker's to allocate.
    const auto by_shard = made(w.shard(0)) - shard, by_stack = made(w.stack()) - stack;
    if (by_shard == 0 && by_stack == 0) return {};
    return std::to_string(by_shard) + " allocations on the shard, " + std::to_string(by_stack) +
           " on the stack's thread for 2000 requests";
  });
}

}  // namespace

TEST_CASE("dedicated: echo_allocates_nothing_per_request_on_either_thread_once_warm") {
  const auto client = [](const char* to, std::uint16_t port) { return connect_to(to, port); };
  expect_no_allocation(&echo_one, client, 1);
}
TEST_CASE("dedicated: datagrams_allocate_nothing_on_either_thread_once_warm") {
  expect_no_allocation(&echo_datagrams, &udp_to, 3);
}
TEST_CASE("dedicated: batches_allocate_nothing_on_either_thread_once_warm") {
  expect_no_allocation(&echo_batches, &udp_to, 3);
}

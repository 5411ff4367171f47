// Counts heap allocations where the stack has a thread of its own: none per request, neither on the
// shard nor on the stack's thread, once both are warm. Replaces operator new for this program.
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

void requests(int socket, int count) {
  std::array<char, 64> message{};
  for (int i = 0; i < count; ++i) {
    send_all(socket, message.data(), message.size());
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

}  // namespace

TEST_CASE("dedicated: echo_allocates_nothing_per_request_on_either_thread_once_warm") {
  run_in_private_network([]() -> std::string {
    world w(1);
    std::latch listening(1);
    w.start(0, [&](weir::shard& s) { return echo_one(s, listening); });
    listening.wait();
    auto socket = connect_to(address, 7);
    const auto made = [](weir::shard& s) {
      return call_on(s, [] { return weir::test::allocations(); });
    };
    requests(socket.get(), 2000);
    const auto shard = made(w.shard(0)), stack = made(w.stack());
    requests(socket.get(), 2000);
    // Asking costs nothing there: the question is the asker's to allocate.
    const auto by_shard = made(w.shard(0)) - shard, by_stack = made(w.stack()) - stack;
    if (by_shard == 0 && by_stack == 0) return {};
    return std::to_string(by_shard) + " allocations on the shard, " + std::to_string(by_stack) +
           " on the stack's thread for 2000 requests";
  });
}

// Counts heap allocations on the server's thread: none per request once the stack on TUN is warm,
// and none of the transport's or the stack's per connection. Replaces operator new for this
// program.
#include <doctest/doctest.h>

#include <sys/socket.h>

#include <array>

#include "kernel/clients.hpp"
#include "kernel/namespace_test.hpp"
#include "kernel/stack_server.hpp"
#include "support/allocations.hpp"

using namespace kernel_test;

namespace {

// What asking costs is not the server's.
std::uint64_t allocations_of(stack_server& server) {
  std::uint64_t count = 0;
  server.on_shard([&] { count = weir::test::allocations(); });
  return count;
}

void requests(int socket, int count) {
  std::array<char, 64> message{};
  for (int i = 0; i < count; ++i) {
    send_all(socket, message.data(), message.size());
    if (::recv(socket, message.data(), message.size(), MSG_WAITALL) !=
        static_cast<ssize_t>(message.size()))
      throw std::runtime_error("an echo was cut short");
  }
}

}  // namespace

TEST_CASE("echo_on_the_stack_allocates_nothing_per_request_once_warm") {
  for (const char* driver : {"uring", "asio"}) {
    if (!driver_usable(driver)) continue;
    CAPTURE(driver);
    run_in_private_network([&]() -> std::string {
      stack_server server(driver);
      auto socket = connect_to(stack_v4, echo_port);
      requests(socket.get(), 2000);
      auto before = allocations_of(server);
      requests(socket.get(), 2000);
      auto made = allocations_of(server) - before;
      return made == 0 ? "" : std::to_string(made) + " allocations for 2000 requests";
    });
  }
}

TEST_CASE("udp_echo_on_the_stack_allocates_nothing_per_datagram_once_warm") {
  for (const char* driver : {"uring", "asio"}) {
    if (!driver_usable(driver)) continue;
    CAPTURE(driver);
    run_in_private_network([&]() -> std::string {
      stack_server server(driver);
      auto socket = udp_to(stack_v4, echo_port);
      auto questions = [&](int count) {
        std::array<char, 64> message{};
        for (int i = 0; i < count; ++i) {
          send_all(socket.get(), message.data(), message.size());
          if (::recv(socket.get(), message.data(), message.size(), 0) !=
              static_cast<ssize_t>(message.size()))
            throw std::runtime_error("an echo was cut short");
        }
      };
      questions(2000);
      auto before = allocations_of(server);
      questions(2000);
      auto made = allocations_of(server) - before;
      return made == 0 ? "" : std::to_string(made) + " allocations for 2000 datagrams";
    });
  }
}

TEST_CASE("a_connection_costs_no_allocation_but_its_scopes_record_once_warm") {
  for (const char* driver : {"uring", "asio"}) {
    if (!driver_usable(driver)) continue;
    CAPTURE(driver);
    run_in_private_network([&]() -> std::string {
      stack_server server(driver);
      auto round = [] {
        for (int i = 0; i < 200; ++i) {
          auto socket = connect_to(stack_v4, echo_port);
          requests(socket.get(), 1);
        }
      };
      round();
      round();
      auto before = allocations_of(server);
      round();
      // One a connection is the record of the scope that spawns its session. Tables may still
      // double now and then, as connections that are ending overlap by chance.
      auto made = allocations_of(server) - before;
      return made <= 220 ? "" : std::to_string(made) + " allocations for 200 connections";
    });
  }
}

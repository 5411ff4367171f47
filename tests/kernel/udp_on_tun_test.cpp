// UDP of our stack on a TUN device with the Linux kernel as its peer, through both drivers, with
// and without the device's offloads.
#include <doctest/doctest.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <vector>

#include "kernel/clients.hpp"
#include "kernel/namespace_test.hpp"
#include "kernel/stack_server.hpp"
#include "sim/pattern.hpp"

using namespace kernel_test;
using weir::stack::counter;

namespace {

/// Far beyond what anything here takes on the slowest machine.
constexpr int patience_ms = 30'000;

void with_each_driver(const std::function<std::string(stack_server&)>& body,
                      const weir::config& settings = {}) {
  for (const char* driver : {"uring", "asio"}) {
    if (!driver_usable(driver)) continue;
    CAPTURE(driver);
    run_in_private_network([&]() -> std::string {
      stack_server server(driver, settings);
      auto failure = body(server);
      auto left = server.stop();
      return failure.empty() ? left : failure;
    });
  }
}

/// One datagram; its size, or minus the error.
ssize_t receive(int socket, std::vector<std::byte>& into) {
  pollfd ready{socket, POLLIN, 0};
  if (::poll(&ready, 1, patience_ms) != 1) return -ETIMEDOUT;
  auto n = ::recv(socket, into.data(), into.size(), 0);
  return n < 0 ? -errno : n;
}

std::string exchange(const char* address, std::size_t size) {
  auto socket = udp_to(address, echo_port);
  std::vector<std::byte> sent(size), back(65536);
  sim_test::fill_pattern(sent, 1, size);
  auto what = std::string(address) + ", " + std::to_string(size) + " bytes: ";
  if (::send(socket.get(), sent.data(), sent.size(), 0) != static_cast<ssize_t>(size))
    return what + "not sent";
  auto n = receive(socket.get(), back);
  if (n != static_cast<ssize_t>(size)) return what + std::to_string(n);
  back.resize(size);
  return back == sent ? "" : what + "differs";
}

std::string exchange_all_sizes() {
  for (std::size_t size : {0, 1, 2, 511, 1452, 1453, 1472, 1473, 2000, 9000, 65507})
    for (const char* address : {stack_v4, stack_v6})
      if (auto failure = exchange(address, size); !failure.empty()) return failure;
  return exchange(stack_v6, 65527);
}

}  // namespace

TEST_CASE("datagrams_of_every_size_cross_to_the_kernel_and_back") {
  with_each_driver([](stack_server& server) {
    auto failure = exchange_all_sizes();
    if (!failure.empty()) return failure;
    if (server.counter(counter::drop_udp_checksum) != 0) return std::string("checksums were bad");
    return std::string();
  });
}

TEST_CASE("datagrams_of_every_size_cross_without_the_devices_offloads") {
  weir::config settings;
  settings.stack.offload = false;
  with_each_driver([](stack_server&) { return exchange_all_sizes(); }, settings);
}

// covers: 1122-8, icmp-8
TEST_CASE("a_kernel_client_of_a_port_without_a_socket_is_refused") {
  with_each_driver([](stack_server& server) -> std::string {
    for (const char* address : {stack_v4, stack_v6}) {
      auto socket = udp_to(address, 9999);
      if (::send(socket.get(), "x", 1, 0) != 1) return "not sent";
      std::vector<std::byte> into(16);
      auto n = receive(socket.get(), into);
      if (n != -ECONNREFUSED) return std::string(address) + ": " + std::to_string(n);
    }
    return server.counter(counter::drop_udp_no_socket) == 2 ? "" : "not counted";
  });
}

TEST_CASE("a_flood_of_datagrams_is_bounded_and_the_server_goes_on") {
  with_each_driver([](stack_server& server) -> std::string {
    auto flood = udp_to(stack_v4, echo_port);
    std::vector<std::byte> bytes(1000);
    for (int i = 0; i < 20'000; ++i)
      (void)!::send(flood.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    // Whatever was lost on the way, a patient client is served in the end.
    auto socket = udp_to(stack_v4, echo_port);
    std::vector<std::byte> into(2000);
    for (int tries = 0; tries < 1000; ++tries) {
      if (::send(socket.get(), "still there?", 12, 0) != 12) return "not sent";
      pollfd ready{socket.get(), POLLIN, 0};
      if (::poll(&ready, 1, 100) == 1)
        return ::recv(socket.get(), into.data(), into.size(), 0) == 12 ? "" : "another answer";
    }
    return "nobody answers; " + std::to_string(server.counter(counter::drop_udp_queue_full)) +
           " datagrams were dropped";
  });
}

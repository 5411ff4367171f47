// Our stack on a TUN device against the Linux kernel's TCP, through both drivers.
#include <doctest/doctest.h>

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "kernel/clients.hpp"
#include "kernel/namespace_test.hpp"
#include "kernel/stack_server.hpp"

using namespace kernel_test;
using weir::stack::counter;

namespace {

// Runs `body` on a server of each driver that can be had here.
void with_each_driver(const std::function<std::string(stack_server&)>& body,
                      const weir::config& settings = {}) {
  bool any = false;
  for (const char* driver : {"uring", "asio"}) {
    if (!driver_usable(driver)) continue;
    any = true;
    CAPTURE(driver);
    run_in_private_network([&]() -> std::string {
      stack_server server(driver, settings);
      auto failure = body(server);
      auto left = server.stop();
      return failure.empty() ? left : failure;
    });
  }
  CHECK(any);
}

std::string expect(bool good, const std::string& what) { return good ? "" : what; }

// From 1 byte to 10 MiB, as many as asked for: mostly small, some large, two of the largest.
std::vector<std::uint64_t> mixed_sizes(std::size_t count) {
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 256 == 100)
      sizes.push_back(10u << 20);
    else if (i % 64 == 1)
      sizes.push_back(1u << 20);
    else if (i % 8 == 2)
      sizes.push_back(64 * 1024 + i);
    else
      sizes.push_back(1 + i * 7 % 5000);
  }
  return sizes;
}

}  // namespace

TEST_CASE("a_kernel_client_gets_its_bytes_back") {
  with_each_driver([](stack_server&) { return exchange_all(stack_v4, echo_port, {1, 100, 5000}); });
}

TEST_CASE("a_kernel_client_gets_its_bytes_back_over_ipv6") {
  with_each_driver(
      [](stack_server&) { return exchange_all(stack_v6, echo_port, {1, 100, 200'000}); });
}

TEST_CASE("512_concurrent_connections_of_1_byte_to_10_mib_arrive_whole") {
  with_each_driver(
      [](stack_server&) { return exchange_all(stack_v4, echo_port, mixed_sizes(512)); });
}

TEST_CASE("large_messages_arrive_whole_without_offloads") {
  weir::config settings;
  settings.stack.offload = false;
  with_each_driver([](stack_server&) { return exchange_all(stack_v4, echo_port, mixed_sizes(32)); },
                   settings);
}

TEST_CASE("many_short_connections_leave_nothing_behind") {
  with_each_driver([](stack_server& server) -> std::string {
    for (int round = 0; round < 20; ++round)
      if (auto failure = exchange_all(stack_v4, echo_port, std::vector<std::uint64_t>(100, 64));
          !failure.empty())
        return failure;
    // The clients closed first, so no TIME_WAIT is ours.
    return expect(server.counter(counter::passive_opens) >= 2000,
                  "fewer than 2000 connections were accepted");
  });
}

TEST_CASE("a_half_closed_client_still_gets_its_answer") {
  with_each_driver([](stack_server&) -> std::string {
    auto socket = connect_to(stack_v4, half_close_port);
    std::string text(100'000, 'x');
    send_all(socket.get(), text.data(), text.size());
    ::shutdown(socket.get(), SHUT_WR);
    auto answer = read_all(socket.get());
    return expect(answer == "100000", "the answer was '" + answer + "'");
  });
}

TEST_CASE("a_reset_ends_one_connection_and_not_the_server") {
  with_each_driver([](stack_server& server) -> std::string {
    for (int i = 0; i < 20; ++i) {
      auto socket = connect_to(stack_v4, chargen_port);
      char byte = 0;
      if (::recv(socket.get(), &byte, 1, 0) != 1) return "chargen sent nothing";
      weir::detail::kernel::reset_on_close(socket.get());
    }
    if (auto failure = exchange_all(stack_v4, echo_port, {1000}); !failure.empty()) return failure;
    return expect(server.counter(counter::resets_received) >= 20, "resets were not seen");
  });
}

TEST_CASE("a_client_that_stops_reading_stops_the_server_and_no_other") {
  with_each_driver([](stack_server&) -> std::string {
    auto slow = connect_to(stack_v4, chargen_port);
    if (auto failure = exchange_all(stack_v4, echo_port, {1, 100'000, 50}); !failure.empty())
      return failure;
    std::array<char, 4096> some;
    return expect(::recv(slow.get(), some.data(), some.size(), MSG_WAITALL) == 4096,
                  "chargen stopped for good");
  });
}

TEST_CASE("a_reply_carries_the_acknowledgement_of_its_request") {
  with_each_driver([](stack_server& server) -> std::string {
    auto socket = connect_to(stack_v4, echo_port);
    auto before = server.counter(counter::segments_sent);
    std::array<char, 64> message{};
    for (int i = 0; i < 1000; ++i) {
      send_all(socket.get(), message.data(), message.size());
      if (::recv(socket.get(), message.data(), message.size(), MSG_WAITALL) != 64)
        return "an echo was cut short";
    }
    auto sent = server.counter(counter::segments_sent) - before;
    // Retransmissions on a machine that stands still for a while are no fault of ours.
    return expect(sent >= 1000 && sent <= 1020,
                  std::to_string(sent) + " segments for 1000 replies");
  });
}

TEST_CASE("a_shutdown_under_load_leaves_nothing_behind") {
  with_each_driver([](stack_server& server) -> std::string {
    std::vector<fd> clients;
    for (int i = 0; i < 32; ++i) {
      clients.push_back(connect_to(stack_v4, i % 2 == 0 ? chargen_port : echo_port));
      std::array<char, 100> some{};
      if (i % 2 == 0)
        (void)!::recv(clients.back().get(), some.data(), some.size(), 0);
      else
        send_all(clients.back().get(), some.data(), some.size());
    }
    auto left = server.stop();  // chargen never ends by itself: cancelled after the drain
    if (!left.empty()) return left;
    return {};
  });
}

TEST_CASE("a_capture_shows_both_directions_of_what_passed") {
  char path[] = "/tmp/weir-tun-XXXXXX";
  int made = ::mkstemp(path);
  REQUIRE(made >= 0);
  ::close(made);
  weir::config settings;
  settings.observe.pcap = path;
  const std::string marker = "these bytes are in the capture";
  with_each_driver(
      [&](stack_server& server) -> std::string {
        auto socket = connect_to(stack_v4, half_close_port);
        send_all(socket.get(), marker.data(), marker.size());
        ::shutdown(socket.get(), SHUT_WR);
        if (read_all(socket.get()) != "30") return "the answer is wrong";
        if (auto left = server.stop(); !left.empty()) return left;
        std::ifstream in(path, std::ios::binary);
        std::string file((std::istreambuf_iterator<char>(in)), {});
        std::size_t packets = 0, sent = 0;
        for (std::size_t at = 0; at + 12 <= file.size();) {
          std::uint32_t type = 0, length = 0;
          std::memcpy(&type, file.data() + at, 4);
          std::memcpy(&length, file.data() + at + 4, 4);
          if (length < 12 || at + length > file.size()) return "a block has a wrong length";
          if (type == 6) {
            ++packets;
            sent += file[at + length - 12] == 2
                        ? 1
                        : 0;  // the flags option stands before the last eight bytes
          }
          at += length;
        }
        if (file.find(marker) == std::string::npos) return "what was sent is not in the capture";
        // A handshake, data, two FINs and their acknowledgements.
        return expect(
            packets >= 7 && sent >= 3 && packets - sent >= 4,
            std::to_string(packets) + " packets, " + std::to_string(sent) + " of them sent");
      },
      settings);
  ::unlink(path);
}

TEST_CASE("a_port_without_a_listener_refuses_at_once") {
  with_each_driver([](stack_server&) -> std::string {
    try {
      connect_to(stack_v4, 81);
    } catch (const std::exception& error) {
      return expect(std::strstr(error.what(), std::strerror(ECONNREFUSED)) != nullptr,
                    error.what());
    }
    return "connect succeeded";
  });
}

TEST_CASE("discarded_bytes_keep_flowing") {
  with_each_driver([](stack_server& server) -> std::string {
    auto socket = connect_to(stack_v4, discard_port);
    std::vector<char> much(8 << 20, 'd');
    send_all(socket.get(), much.data(), much.size());
    ::shutdown(socket.get(), SHUT_WR);
    if (!read_all(socket.get()).empty()) return "discard answered";
    return expect(server.counter(counter::bytes_received) >= much.size(),
                  "not all bytes were received");
  });
}

namespace {

std::string ping(int family, const char* address, std::uint8_t request, std::uint8_t reply) {
  // An unprivileged echo socket (icmp(7)); the kernel fills in the identifier and, for IPv6, the
  // checksum.
  fd socket(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC,
                     family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}));
  bool raw = !socket;
  if (raw)
    socket.reset(::socket(family, SOCK_RAW | SOCK_CLOEXEC,
                          family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}));
  if (!socket) return std::string("no echo socket: ") + std::strerror(errno);
  std::array<unsigned char, 64> message{};
  message[0] = request;
  message[5] = 1;
  message[7] = 1;
  for (std::size_t i = 8; i < message.size(); ++i) message[i] = static_cast<unsigned char>(i);
  if (family == AF_INET) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < message.size(); i += 2)
      sum += std::uint32_t{message[i]} << 8 | message[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16));
    message[2] = static_cast<unsigned char>(sum >> 8);
    message[3] = static_cast<unsigned char>(sum);
  }
  weir::detail::kernel::socket_address to(weir::endpoint(address, 0));
  if (::sendto(socket.get(), message.data(), message.size(), 0, to.data(), to.size) < 0)
    return std::string("sendto: ") + std::strerror(errno);
  std::array<unsigned char, 1500> answer{};
  for (;;) {
    pollfd one{socket.get(), POLLIN, 0};
    if (::poll(&one, 1, 10'000) != 1) return "no echo reply";
    auto n = ::recv(socket.get(), answer.data(), answer.size(), 0);
    auto at = raw && family == AF_INET ? std::size_t{20} : std::size_t{0};
    if (n < static_cast<ssize_t>(at + message.size()) || answer[at] != reply) continue;
    return expect(std::memcmp(answer.data() + at + 8, message.data() + 8, message.size() - 8) == 0,
                  "the echoed bytes differ");
  }
}

}  // namespace

TEST_CASE("the_stack_answers_a_ping") {
  with_each_driver(
      [](stack_server&) { return ping(AF_INET, stack_v4, ICMP_ECHO, ICMP_ECHOREPLY); });
}

TEST_CASE("the_stack_answers_a_ping_over_ipv6") {
  with_each_driver(
      [](stack_server&) { return ping(AF_INET6, stack_v6, ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY); });
}

// The C interface, by the shared library: what its examples do not show.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include <weir_stack.h>

namespace {

using packets = std::deque<std::vector<std::uint8_t>>;

int put(void* to, const std::uint8_t* packet, std::size_t size) {
  static_cast<packets*>(to)->emplace_back(packet, packet + size);
  return 1;
}

weir_address at(const char* text) {
  weir_address out;
  REQUIRE(weir_address_parse(text, &out) == 0);
  return out;
}

std::string text_of(const weir_address& address) {
  char out[64];
  return weir_address_print(&address, out, sizeof out) == 0 ? out : "";
}

/// A host that takes others' connections, and one that makes them.
struct gateway_and_guest {
  gateway_and_guest()
      : gateway(made("10.0.0.1/24", to_guest)), guest(made("10.0.0.2/24", to_gateway)) {}
  ~gateway_and_guest() {
    weir_host_free(guest);
    weir_host_free(gateway);
  }

  static weir_host* made(const char* address, packets& out) {
    const std::uint8_t secret[32] = {7};
    const weir_host_options options = {sizeof options, &address, 1, secret, put, &out, 0, 0, 0};
    int error = 0;
    auto* host = weir_host_new(&options, &error);
    REQUIRE(error == 0);
    return host;
  }

  void exchange() {
    for (int i = 0; i < 10; ++i) {
      for (auto* host : {gateway, guest}) {
        auto& in = host == gateway ? to_gateway : to_guest;
        for (; !in.empty(); in.pop_front())
          weir_host_input(host, now, in.front().data(), in.front().size());
        weir_host_flush(host, now);
      }
      now += 1'000'000;
    }
  }

  /// What the guest's attempt at `where` comes to.
  std::uint32_t connect(const char* where) {
    const auto to = at(where);
    weir_socket stream = 0;
    REQUIRE(weir_connect(guest, now, &to, nullptr, &stream) == 0);
    exchange();
    weir_event event = {};
    while (weir_host_next_event(guest, &event) != 0)
      if (event.socket == stream) return event.what & (WEIR_CONNECTED | WEIR_FAILED);
    return 0;
  }

  packets to_gateway, to_guest;
  weir_host *gateway, *guest;
  std::int64_t now = 1'000'000'000;
};

}  // namespace

TEST_CASE("stack_c_address_is_printed_into_what_it_fills_exactly") {
  const std::string text = "[2001:db8:1:2:3:4:5:6]:65535";
  const auto address = at(text.c_str());
  std::string out(text.size() + 2, '#');
  CHECK(weir_address_print(&address, out.data(), text.size()) == -ENOSPC);
  CHECK(out == std::string(text.size() + 2, '#'));
  CHECK(weir_address_print(&address, out.data(), text.size() + 1) == 0);
  CHECK(out == text + std::string("\0#", 2));
}

TEST_CASE("stack_c_listener_for_others_addresses_is_told_which_one_was_meant") {
  gateway_and_guest both;
  const auto network = at("203.0.113.0:0");
  weir_socket listener = 0, peer = 0;
  REQUIRE(weir_listen_any(both.gateway, &network, 24, 80, 443, 16, &listener) == 0);
  CHECK(both.connect("203.0.113.9:80") == WEIR_CONNECTED);
  REQUIRE(weir_accept(both.gateway, both.now, listener, &peer) == 0);
  weir_address address;
  REQUIRE(weir_local_address(both.gateway, peer, &address) == 0);
  CHECK(text_of(address) == "203.0.113.9:80");
  REQUIRE(weir_remote_address(both.gateway, peer, &address) == 0);
  CHECK(text_of(address).substr(0, 9) == "10.0.0.2:");
  CHECK(weir_send(both.gateway, both.now, peer, "hello", 5) == 5);
  // Beside the ports it is as if nobody were there.
  CHECK(both.connect("203.0.113.9:79") == WEIR_FAILED);
  CHECK(weir_accept(both.gateway, both.now, listener, &peer) == -EAGAIN);
  // The nearer listener goes first.
  weir_socket nearer = 0;
  REQUIRE(weir_listen_any(both.gateway, &network, 32, 80, 443, 16, &nearer) == 0);
  CHECK(both.connect("203.0.113.0:443") == WEIR_CONNECTED);
  CHECK(weir_accept(both.gateway, both.now, listener, &peer) == -EAGAIN);
  CHECK(weir_accept(both.gateway, both.now, nearer, &peer) == 0);
}

TEST_CASE("stack_c_listener_for_others_addresses_refuses_what_makes_no_sense") {
  gateway_and_guest both;
  const auto v4 = at("0.0.0.0:0"), v6 = at("[::]:0");
  weir_address none = {};
  weir_socket out = 0;
  const auto listen = [&](const weir_address* network, int length, int first, int last) {
    return weir_listen_any(both.gateway, network, static_cast<std::uint8_t>(length),
                           static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last), 0,
                           &out);
  };
  CHECK(listen(&v4, 33, 1, 2) == -EINVAL);
  CHECK(listen(&v6, 129, 1, 2) == -EINVAL);
  CHECK(listen(&v4, 0, 0, 2) == -EINVAL);
  CHECK(listen(&v4, 0, 3, 2) == -EINVAL);
  CHECK(listen(&none, 0, 1, 2) == -EINVAL);
  CHECK(listen(nullptr, 0, 1, 2) == -EINVAL);
  CHECK(listen(&v4, 0, 10, 20) == 0);
  CHECK(listen(&v4, 0, 15, 25) == -EADDRINUSE);
  CHECK(listen(&v6, 128, 1, 65535) == 0);
}

TEST_CASE("stack_c_packet_is_taken_unless_the_caller_says_0") {
  struct wire {
    int says = 1;
    std::size_t packets = 0;
  };
  const auto carry = [](void* context, const std::uint8_t*, std::size_t) {
    auto& to = *static_cast<wire*>(context);
    ++to.packets;
    return to.says;
  };
  for (const int says : {1, 2, -1, 0}) {
    CAPTURE(says);
    wire to;
    const char* address = "10.0.0.1/24";
    const std::uint8_t secret[32] = {7};
    const weir_host_options options = {sizeof options, &address, 1, secret, carry, &to, 0, 0, 0};
    int error = 0;
    auto* host = weir_host_new(&options, &error);
    REQUIRE(host != nullptr);
    to.says = says;
    const auto local = at("10.0.0.1:0"), remote = at("10.0.0.2:53");
    weir_socket socket = 0;
    REQUIRE(weir_udp_bind(host, &local, &socket) == 0);
    CHECK(weir_udp_send(host, 1'000'000'000, socket, &remote, "hello", 5) ==
          (says != 0 ? 5 : -ENOBUFS));
    CHECK(to.packets == 1);
    weir_host_free(host);
  }
}

// Our stack and Linux's TCP over a wire that loses, delays and reorders: every congestion control
// that the kernel has, SACK and timestamps and ECN on and off, small and large MTUs; bulk both
// ways, requests, many short connections, half-closes, aborts. Every byte is compared, and at the
// end nothing is left.
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "kernel/clients.hpp"
#include "kernel/namespace_test.hpp"
#include "kernel/stack_peer.hpp"

using namespace kernel_test;
using namespace std::chrono_literals;

namespace {

// This namespace's setting; false where the kernel does not let it be changed.
bool set_kernel(const std::string& name, const std::string& value) {
  std::ofstream file("/proc/sys/net/ipv4/" + name);
  file << value << std::flush;
  return file.good();  // the write itself, not only the buffer's
}

bool kernel_has(const std::string& congestion) {
  std::ifstream file("/proc/sys/net/ipv4/tcp_available_congestion_control");
  for (std::string name; file >> name;)
    if (name == congestion) return true;
  return false;
}

/// The kernel as the server: echoes on a port of its choice, from a thread.
class kernel_echo {
 public:
  explicit kernel_echo(bool v6, const std::string& congestion = {}) {
    weir::detail::kernel::socket_address at(
        weir::endpoint(v6 ? stack_peer::kernel_v6 : stack_peer::kernel_v4, 0));
    listener_ = fd(::socket(at.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!congestion.empty()) use_congestion(listener_.get(), congestion);
    // An IPv6 address takes a moment before it may be bound to.
    int failed = -1;
    for (int i = 0; i < 400 && failed != 0; ++i) {
      failed = ::bind(listener_.get(), at.data(), at.size);
      if (failed != 0) std::this_thread::sleep_for(10ms);
    }
    if (failed != 0 || ::listen(listener_.get(), 1024) != 0)
      throw std::runtime_error(std::string("kernel listener: ") + std::strerror(errno));
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    // The port lies in the same place in both families' addresses.
    std::uint16_t network_order = 0;
    std::memcpy(&network_order, reinterpret_cast<const char*>(&name) + 2, 2);
    port_ = ntohs(network_order);
    thread_ = std::thread([this] { main(); });
  }
  ~kernel_echo() {
    stop_ = true;
    thread_.join();
  }
  std::uint16_t port() const { return port_; }
  std::size_t resets() const { return resets_; }

 private:
  struct session {
    fd socket;
    std::vector<char> waiting;
    bool end = false;
  };

  void main() {
    std::vector<session> all;
    while (!stop_) {
      std::vector<pollfd> watched{{listener_.get(), POLLIN, 0}};
      for (auto& s : all) {
        short events = s.end || s.waiting.size() > 256 * 1024 ? 0 : POLLIN;
        if (!s.waiting.empty()) events |= POLLOUT;
        watched.push_back({s.socket.get(), events, 0});
      }
      if (::poll(watched.data(), watched.size(), 20) < 0) continue;
      auto known = all.size();
      if ((watched[0].revents & POLLIN) != 0)
        for (;;) {
          fd made(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
          if (!made) break;
          all.emplace_back();
          all.back().socket = std::move(made);
        }
      for (std::size_t i = 0; i < known; ++i)
        if (watched[i + 1].revents != 0 && !serve(all[i])) all[i].socket.reset();
      std::erase_if(all, [](const session& s) { return !s.socket; });
    }
  }

  bool serve(session& s) {
    std::array<char, 64 * 1024> chunk;
    if (!s.end && s.waiting.size() <= 256 * 1024) {
      auto n = ::recv(s.socket.get(), chunk.data(), chunk.size(), 0);
      if (n < 0 && errno != EAGAIN) {
        ++resets_;
        return false;
      }
      if (n == 0) s.end = true;
      if (n > 0) s.waiting.insert(s.waiting.end(), chunk.data(), chunk.data() + n);
    }
    while (!s.waiting.empty()) {
      auto n = ::send(s.socket.get(), s.waiting.data(), s.waiting.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) return true;
      if (n < 0) {
        ++resets_;
        return false;
      }
      s.waiting.erase(s.waiting.begin(), s.waiting.begin() + n);
    }
    return !s.end;  // closing sends our FIN behind the last byte
  }

  fd listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<std::size_t> resets_ = 0;
  std::thread thread_;
};

peer_options over(const weir::sim::link_options& way, std::uint16_t mtu = 1500) {
  peer_options o;
  o.way = way;
  o.mtu = mtu;
  o.tcp.time_wait = 1s;
  return o;
}

std::vector<sim_test::end_plan> plans_of(const std::vector<std::uint64_t>& sizes) {
  std::vector<sim_test::end_plan> plans;
  for (auto size : sizes) {
    sim_test::end_plan p;
    p.size = size;
    p.write_chunk = p.read_chunk = 32 * 1024;
    p.lingers = true;
    plans.push_back(p);
  }
  return plans;
}

// Both roles, both families: the kernel's clients on our echo, our clients on the kernel's.
std::string exchange_both_ways(const peer_options& options, const std::vector<std::uint64_t>& sizes,
                               const std::string& congestion = {}) {
  stack_peer peer(options);
  for (bool v6 : {false, true}) {
    if (v6 && options.mtu < 1280) continue;  // IPv6 has no such links (RFC 8200 5)
    auto told = std::string(v6 ? "IPv6, " : "IPv4, ");
    kernel_echo server(v6, congestion);  // also waits until the kernel's own address is usable
    if (auto failure = exchange_all(v6 ? stack_peer::address_v6 : stack_peer::address_v4, 7, sizes,
                                    congestion);
        !failure.empty())
      return told + "the kernel's clients: " + failure;
    if (auto failure = peer.exchange_with_kernel(plans_of(sizes), v6, server.port());
        !failure.empty())
      return told + "the stack's clients: " + failure;
  }
  if (options.way.loss > 0 && peer.counters().lost == 0) return "the wire lost nothing";
  return peer.come_to_rest(60s);
}

const std::vector<std::uint64_t> bulk = {400'000, 150'000, 1, 20'000};

weir::sim::link_options rough() {
  weir::sim::link_options way;
  way.delay = 4ms;
  way.jitter = 1ms;
  way.loss = 0.01;
  way.reorder = 0.02;
  way.reorder_delay = 3ms;
  way.rate = 12'500'000 / 2;
  way.queue = 128 << 10;
  return way;
}

void bulk_against(const std::string& congestion) {
  run_in_private_network([&]() -> std::string {
    if (!kernel_has(congestion)) {
      printf("SKIPPED: this kernel has no %s\n", congestion.c_str());
      return {};
    }
    return exchange_both_ways(over(rough()), bulk, congestion);
  });
}

void bulk_with(const std::vector<std::pair<std::string, std::string>>& settings,
               const std::function<void(peer_options&)>& change = {}) {
  run_in_private_network([&]() -> std::string {
    for (const auto& [name, value] : settings)
      if (!set_kernel(name, value)) return "cannot set " + name;
    auto options = over(rough());
    if (change) change(options);
    return exchange_both_ways(options, bulk);
  });
}

}  // namespace

TEST_CASE("bulk_over_a_lossy_wire_against_reno") { bulk_against("reno"); }
TEST_CASE("bulk_over_a_lossy_wire_against_cubic") { bulk_against("cubic"); }
TEST_CASE("bulk_over_a_lossy_wire_against_bbr") { bulk_against("bbr"); }

TEST_CASE("bulk_over_a_lossy_wire_against_a_kernel_without_sack") {
  bulk_with({{"tcp_sack", "0"}});
}
TEST_CASE("bulk_over_a_lossy_wire_against_a_kernel_without_timestamps") {
  bulk_with({{"tcp_timestamps", "0"}});
}
TEST_CASE("bulk_over_a_lossy_wire_with_neither_sack_nor_timestamps") {
  bulk_with({{"tcp_sack", "0"}, {"tcp_timestamps", "0"}, {"tcp_window_scaling", "0"}});
}
TEST_CASE("bulk_over_a_lossy_wire_from_a_stack_without_sack_and_timestamps") {
  bulk_with({}, [](peer_options& o) { o.tcp.sack = o.tcp.timestamps = false; });
}
TEST_CASE("bulk_over_a_lossy_wire_with_reno_and_nagle_on_our_side") {
  bulk_with({}, [](peer_options& o) {
    o.tcp.congestion = weir::stack::congestion_algorithm::reno;
    o.tcp.nodelay = false;
  });
}
TEST_CASE("bulk_over_a_lossy_wire_with_ecn_asked_for_by_both") {
  bulk_with({{"tcp_ecn", "1"}},
            [](peer_options& o) { o.tcp.ecn = weir::stack::ecn_mode::request; });
}
TEST_CASE("bulk_over_a_lossy_wire_with_a_mtu_of_576") {
  bulk_with({}, [](peer_options& o) { o.mtu = 576; });
}
TEST_CASE("bulk_over_a_lossy_wire_with_a_mtu_of_9000") {
  bulk_with({}, [](peer_options& o) { o.mtu = 9000; });
}

TEST_CASE("a_thousand_short_connections_over_a_lossy_wire_leave_nothing_behind") {
  run_in_private_network([]() -> std::string {
    weir::sim::link_options way;
    way.delay = 1ms;
    way.loss = 0.005;
    stack_peer peer(over(way));
    for (int round = 0; round < 5; ++round)
      if (auto failure =
              exchange_all(stack_peer::address_v4, 7, std::vector<std::uint64_t>(100, 300));
          !failure.empty())
        return failure;
    kernel_echo server(false);
    for (int round = 0; round < 5; ++round)
      if (auto failure = peer.exchange_with_kernel(plans_of(std::vector<std::uint64_t>(100, 300)),
                                                   false, server.port());
          !failure.empty())
        return failure;
    return peer.come_to_rest(60s);
  });
}

TEST_CASE("requests_and_answers_over_a_wire_that_reorders_come_back_in_order") {
  run_in_private_network([]() -> std::string {
    weir::sim::link_options way;
    way.delay = 500us;
    way.loss = 0.002;
    way.reorder = 0.05;
    way.reorder_delay = 1ms;
    stack_peer peer(over(way));
    auto socket = connect_to(stack_peer::address_v4, 7);
    for (int i = 0; i < 300; ++i) {
      std::array<char, 200> request{}, answer{};
      request.fill(static_cast<char>(i));
      send_all(socket.get(), request.data(), request.size());
      if (::recv(socket.get(), answer.data(), answer.size(), MSG_WAITALL) != 200 ||
          answer != request)
        return "an answer differs";
    }
    socket.reset();
    return peer.come_to_rest(60s);
  });
}

TEST_CASE("a_half_closed_kernel_client_gets_everything_over_a_lossy_wire") {
  run_in_private_network([]() -> std::string {
    stack_peer peer(over(rough()));
    auto socket = connect_to(stack_peer::address_v4, 7);
    std::string text(60'000, 'h');  // fits the buffers: nobody reads until all is sent
    send_all(socket.get(), text.data(), text.size());
    ::shutdown(socket.get(), SHUT_WR);
    if (read_all(socket.get()) != text) return "the answer differs";
    socket.reset();
    return peer.come_to_rest(60s);
  });
}

TEST_CASE("aborts_from_either_side_over_a_lossy_wire_leave_nothing_behind") {
  run_in_private_network([]() -> std::string {
    stack_peer peer(over(rough()));
    std::string text(30'000, 'a');
    for (int i = 0; i < 20; ++i) {
      auto socket = connect_to(stack_peer::address_v4, 7);
      send_all(socket.get(), text.data(), text.size());
      weir::detail::kernel::reset_on_close(socket.get());
    }
    kernel_echo server(false);
    auto plans = plans_of(std::vector<std::uint64_t>(20, 2'000'000));
    for (std::size_t i = 0; i < plans.size(); ++i) {
      plans[i].leaves = sim_test::ending::abort_on_time;
      plans[i].abort_at = 20ms + 5ms * i;
    }
    if (auto failure = peer.exchange_with_kernel(plans, false, server.port()); !failure.empty())
      return failure;
    if (auto failure = exchange_all(stack_peer::address_v4, 7, {10'000}); !failure.empty())
      return failure;
    return peer.come_to_rest(60s);
  });
}

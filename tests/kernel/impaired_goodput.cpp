// A measuring tool, not a test: the goodput of one flow of Linux's TCP (cubic, SACK, RACK) through
// an impaired wire between two network namespaces, and of one flow of our stack through the same
// impairments in simulation. 100 Mbit/s, 20 ms round trip, a queue of 256 KiB; random loss, and
// reordering of 1% within 5 ms. Medians over seeds.
//
// Linux's figures are measured in real time: where it may, the program takes real-time priority.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "kernel/impaired_wire.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "stack/device/private_network.hpp"
#include "weir/stack/host.hpp"

using namespace std::chrono_literals;
using kernel_test::impaired_wire;
using kernel_test::open_device;
using fd = weir::detail::kernel::unique_fd;

namespace {

struct condition {
  const char* name;
  double loss, reorder;
};
constexpr condition conditions[] = {{"no loss", 0, 0},
                                    {"0.1% loss", 0.001, 0},
                                    {"1% loss", 0.01, 0},
                                    {"3% loss", 0.03, 0},
                                    {"1% reordered", 0, 0.01}};

// Data and acknowledgements suffer alike.
weir::sim::link_options way(const condition& c) {
  weir::sim::link_options how;
  how.delay = 10ms;
  how.rate = 100'000'000 / 8;
  how.queue = 256 << 10;
  how.loss = c.loss;
  how.reorder = c.reorder;
  how.reorder_delay = 5ms;
  return how;
}

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "impaired_goodput: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

/// One end: a thread in a namespace of its own with a TUN device.
struct end {
  std::optional<weir::stack::tun_device> device;
  std::atomic<bool> ready = false;
  std::thread thread;
};

void enter(end& self, const char* name, const char* address) {
  if (::unshare(CLONE_NEWNET) != 0) die("unshare");
  self.device = open_device(name, {address}, 1500);
  std::ofstream("/proc/sys/net/ipv4/tcp_no_metrics_save") << 1;
}

double linux_goodput(const condition& c, std::uint64_t seed, std::chrono::seconds time,
                     const std::string& congestion) {
  std::atomic<std::uint64_t> received = 0;
  std::atomic<bool> go = false, stop = false;
  end server, client;
  weir::detail::kernel::socket_address to(weir::endpoint("10.9.0.2", 9));
  server.thread = std::thread([&] {
    enter(server, "weirb", "10.9.0.2/24");
    fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(listener.get(), to.data(), to.size) != 0 || ::listen(listener.get(), 1) != 0)
      die("listen");
    server.ready = true;
    fd peer(::accept(listener.get(), nullptr, nullptr));
    std::vector<char> into(256 * 1024);
    for (;;) {
      auto n = ::recv(peer.get(), into.data(), into.size(), 0);
      if (n <= 0) break;
      received += static_cast<std::uint64_t>(n);
    }
  });
  client.thread = std::thread([&] {
    enter(client, "weira", "10.9.0.1/24");
    fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::setsockopt(socket.get(), IPPROTO_TCP, TCP_CONGESTION, congestion.c_str(),
                     static_cast<socklen_t>(congestion.size())) != 0)
      die("TCP_CONGESTION " + congestion);
    client.ready = true;
    while (!go) std::this_thread::sleep_for(1ms);
    if (::connect(socket.get(), to.data(), to.size) != 0) die("connect");
    weir::detail::kernel::reset_on_close(socket.get());
    timeval patience{0, 50'000};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const std::vector<char> data(64 * 1024, 'g');
    while (!stop) (void)!::send(socket.get(), data.data(), data.size(), MSG_NOSIGNAL);
  });
  while (!server.ready || !client.ready) std::this_thread::sleep_for(1ms);
  impaired_wire wire(seed);
  auto a = wire.attach(*client.device, "a", {*weir::ip_address::parse("10.9.0.1")});
  auto b = wire.attach(*server.device, "b", {*weir::ip_address::parse("10.9.0.2")});
  wire.fabric().join(a, b, way(c));
  go = true;
  auto until = wire.now() + time;
  while (wire.now() < until) wire.carry(until);
  auto bytes = received.load();
  stop = true;
  // The reset must get through, whatever the wire would do to it.
  std::atomic<bool> gone = false;
  std::thread waiting([&] {
    client.thread.join();
    server.thread.join();
    gone = true;
  });
  while (!gone) wire.carry(wire.now() + 10ms);
  waiting.join();
  return static_cast<double>(bytes) * 8e-6 / std::chrono::duration<double>(time).count();
}

class card final : public weir::stack::packet_sink {
 public:
  card(weir::sim::fabric& fabric) : fabric_(fabric) {}
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const weir::stack::transmit_meta&) override {
    fabric_.send(node, parts);
    return true;
  }
  weir::sim::node_id node{};

 private:
  weir::sim::fabric& fabric_;
};

double our_goodput(const condition& c, std::uint64_t seed, std::chrono::seconds time,
                   weir::stack::tcp_options tcp) {
  weir::sim::fabric fabric(seed);
  card cards[] = {card(fabric), card(fabric)};
  std::array<std::unique_ptr<weir::stack::host>, 2> hosts;
  for (std::size_t i = 0; i < 2; ++i) {
    weir::stack::host_options o;
    o.addresses = {*weir::ip_prefix::parse(i == 0 ? "10.9.0.1/24" : "10.9.0.2/24")};
    o.secret[0] = static_cast<std::uint8_t>(seed + i);
    o.tcp = tcp;
    hosts[i] = std::make_unique<weir::stack::host>(o, cards[i]);
    cards[i].node = fabric.add_node(i == 0 ? "a" : "b", {o.addresses[0].address},
                                    [&hosts, i, &fabric](std::span<const std::byte> packet) {
                                      hosts[i]->input(fabric.now(), packet);
                                    });
  }
  fabric.join(cards[0].node, cards[1].node, way(c));
  auto listener = hosts[1]->listen({*weir::ip_address::parse("10.9.0.2"), 9});
  auto socket = hosts[0]->connect(fabric.now(), {*weir::ip_address::parse("10.9.0.2"), 9}, {}, tcp);
  if (!listener || !socket) die("a simulated connection");
  auto peer = weir::stack::socket_id::none;
  const std::vector<std::byte> data(64 * 1024);
  const std::span<const std::byte> parts[] = {data};
  std::uint64_t received = 0;
  auto until = fabric.now() + time;
  while (fabric.now() < until) {
    for (auto& host : hosts)
      if (host->next_deadline() <= fabric.now()) host->advance(fabric.now());
    while (hosts[0]->send(fabric.now(), *socket, parts)) {
    }
    if (peer == weir::stack::socket_id::none)
      if (auto made = hosts[1]->accept(*listener)) peer = *made;
    for (auto head = hosts[1]->peek(peer); !head.empty(); head = hosts[1]->peek(peer)) {
      received += head.size();
      hosts[1]->consume(fabric.now(), peer, head.size());
    }
    for (auto& host : hosts) host->flush(fabric.now());
    auto next = std::min(fabric.next_event(), until);
    for (auto& host : hosts) next = std::min(next, host->next_deadline());
    fabric.advance_to(std::max(next, fabric.now()));
  }
  return static_cast<double>(received) * 8e-6 / std::chrono::duration<double>(time).count();
}

template <class F>
std::string summary(int runs, double& median, F&& one) {
  std::vector<double> all;
  for (int i = 0; i < runs; ++i) all.push_back(one(static_cast<std::uint64_t>(i + 1)));
  std::sort(all.begin(), all.end());
  median = all[all.size() / 2];
  char text[64];
  std::snprintf(text, sizeof text, "%6.2f (%.2f-%.2f)", median, all.front(), all.back());
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned wanted_seconds = 10;
  int runs = 5;
  std::string congestion = "cubic";
  CLI::App app(
      "Goodput of one flow through an impaired link: Linux over TUN beside weir simulated.");
  app.add_option("SECONDS", wanted_seconds, "of each run")
      ->check(CLI::Range(1u, 600u))
      ->capture_default_str();
  app.add_option("RUNS", runs, "of each condition")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("CONGESTION", congestion, "Linux's congestion control; reno is ours as well")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto seconds = std::chrono::seconds(wanted_seconds);
  std::string why;
  if (weir::stack::enter_private_network(why)) {
    std::fprintf(stderr, "SKIPPED: %s\n", why.c_str());
    return 1;
  }
  sched_param priority{};
  priority.sched_priority = 10;
  bool undisturbed = ::sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
  std::printf("Mbit/s, median of %d runs of %lld s (smallest-largest); Linux: %s%s\n\n", runs,
              static_cast<long long>(seconds.count()), congestion.c_str(),
              undisturbed ? "" : ", without real-time priority");
  std::printf("%-14s %-24s %-24s %s\n", "", "Linux", "weir in simulation", "weir / Linux");
  weir::stack::tcp_options tcp;
  if (congestion == "reno") tcp.congestion = weir::stack::congestion_algorithm::reno;
  for (const auto& c : conditions) {
    double theirs = 0, ours = 0;
    auto left = summary(runs, theirs,
                        [&](auto seed) { return linux_goodput(c, seed, seconds, congestion); });
    auto right = summary(runs, ours, [&](auto seed) { return our_goodput(c, seed, seconds, tcp); });
    std::printf("%-14s %-24s %-24s %.2f\n", c.name, left.c_str(), right.c_str(), ours / theirs);
    std::fflush(stdout);
  }
  return 0;
}

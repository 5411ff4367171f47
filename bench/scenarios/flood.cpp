// weir-bench flood: see scenarios.hpp. One thread sends SYNs from forged addresses as packets on
// the device; another plays the clients, which are the kernel's own sockets.
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "clock.hpp"
#include "private_net.hpp"
#include "process.hpp"
#include "scenarios/packet_clients.hpp"
#include "scenarios/scenarios.hpp"

namespace weir::bench {
namespace {

namespace wire = stack::wire;

constexpr const char* device = "wflood0";
constexpr const char* where = "198.18.0.2:7";
constexpr std::uint32_t server_address = 0xc6120002;  // 198.18.0.2
constexpr std::uint32_t forged_network = 0x64400000;  // 100.64.0.0/10, RFC 6598: nobody's own

/// Forged SYNs until `stop`, `rate` a second; 0: without a pause. `random` goes on from one flood
/// to the next: none is a repetition.
void flood(packet_clients& net, double rate, std::uint64_t& random, const std::atomic<bool>& stop) {
  std::uint64_t sent = 0;
  const auto begin = now_ns();
  while (!stop) {
    if (rate > 0 && static_cast<double>(sent) > static_cast<double>(now_ns() - begin) * 1e-9 * rate)
      continue;
    for (std::size_t i = 0; i < packet_clients::batch; ++i, ++sent) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      wire::tcp_segment s;
      s.source = ip_address::v4(forged_network | static_cast<std::uint32_t>(random >> 42));
      s.source_port = static_cast<std::uint16_t>(1024 + (random >> 20) % 60'000);
      s.destination = ip_address::v4(server_address);
      s.destination_port = 7;
      s.sequence = static_cast<std::uint32_t>(random >> 7);
      s.flags = wire::syn;
      s.window = 65535;
      s.options.mss = 1460;
      net.send(s);
    }
    net.flush();
  }
}

enum class stage { connecting, waiting, served, refused, late };

/// One legitimate client: connects, sends a line, waits for its echo. Never blocks.
struct client {
  int fd = -1;
  std::uint64_t begun = 0;
  stage at = stage::connecting;
  double seconds = 0;

  void start(const endpoint& to) {
    begun = now_ns();
    fd = ::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (::connect(fd, to.address(), to.length) != 0 && errno != EINPROGRESS) end(stage::refused);
  }
  void step(short events) {
    char text[] = "are you there?\n";
    if (at == stage::connecting && (events & (POLLOUT | POLLERR | POLLHUP)) != 0) {
      int error = 0;
      socklen_t length = sizeof error;
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0 || ::send(fd, text, sizeof text, MSG_NOSIGNAL) != sizeof text)
        return end(stage::refused);
      at = stage::waiting;
    } else if (at == stage::waiting && (events & (POLLIN | POLLERR | POLLHUP)) != 0) {
      char back[sizeof text];
      const auto n = ::recv(fd, back, sizeof back, 0);
      if (n < 0 && errno == EAGAIN) return;
      end(n == sizeof text && std::memcmp(text, back, sizeof text) == 0 ? stage::served
                                                                        : stage::refused);
    }
  }
  bool ended() const { return fd < 0; }
  void end(stage how) {
    at = how;
    seconds = static_cast<double>(now_ns() - begun) * 1e-9;
    ::close(fd);
    fd = -1;
  }
};

/// Clients at their rate for the time given, and until the last has ended.
std::vector<client> serve_clients(const flood_settings& settings, const endpoint& to) {
  std::vector<client> all;
  const auto begin = now_ns();
  const auto wanted = static_cast<std::size_t>(settings.seconds * settings.clients_per_s);
  all.reserve(wanted);
  std::vector<pollfd> watched;
  for (;;) {
    const double elapsed = static_cast<double>(now_ns() - begin) * 1e-9;
    while (all.size() < wanted &&
           static_cast<double>(all.size()) < elapsed * settings.clients_per_s)
      all.emplace_back().start(to);
    watched.clear();
    for (const auto& c : all)
      if (!c.ended())
        watched.push_back(
            {c.fd, static_cast<short>(c.at == stage::connecting ? POLLOUT : POLLIN), 0});
    if (watched.empty() && all.size() == wanted) return all;
    ::poll(watched.data(), watched.size(), 1);
    std::size_t next = 0;
    for (auto& c : all) {
      if (c.ended()) continue;
      if (next == watched.size() || watched[next].fd != c.fd) continue;
      c.step(watched[next++].revents);
      if (!c.ended() && static_cast<double>(now_ns() - c.begun) * 1e-9 > settings.limit_s)
        c.end(stage::late);
    }
  }
}

struct phase {
  std::string name;
  std::vector<client> clients;
  double syn_rate = 0, lost_share = 0, core_busy = 0;
  std::uint64_t memory = 0;
};

std::uint64_t device_drops() {
  std::ifstream in(fmt::format("/sys/class/net/{}/statistics/tx_dropped", device));
  std::uint64_t out = 0;
  in >> out;
  return out;
}

phase measure(const std::string& name, const flood_settings& settings, const server_process& server,
              std::uint64_t* random) {
  phase out;
  out.name = name;
  packet_clients net(device, false);
  std::atomic<bool> stop = false;
  std::thread flooder;
  if (random != nullptr) flooder = std::thread([&] { flood(net, settings.rate, *random, stop); });
  const auto begin = now_ns();
  const auto occupied = [&] {
    const auto u = server.usage();
    return u.cpu_ns + u.core_wait_ns;
  };
  const auto busy = occupied();
  const auto drops = device_drops();
  out.clients = serve_clients(settings, *parse_endpoint(where));
  const auto took = static_cast<double>(now_ns() - begin);
  out.core_busy = std::min(1.0, static_cast<double>(occupied() - busy) / took);
  stop = true;
  if (flooder.joinable()) flooder.join();
  const auto offered = static_cast<double>(net.sent() + net.dropped());
  out.syn_rate = offered / took * 1e9;
  const auto lost = static_cast<double>(net.dropped() + device_drops() - drops);
  out.lost_share = offered > 0 ? std::min(1.0, lost / offered) : 0;
  out.memory = resident_bytes(server.pid());
  return out;
}

std::size_t count(const phase& p, stage s) {
  return static_cast<std::size_t>(std::count_if(p.clients.begin(), p.clients.end(),
                                                [&](const client& c) { return c.at == s; }));
}

void print(const phase& p) {
  std::vector<double> times;
  for (const auto& c : p.clients)
    if (c.at == stage::served) times.push_back(c.seconds * 1e3);
  std::sort(times.begin(), times.end());
  const auto quantile = [&](double q) {
    return times.empty()
               ? 0.0
               : times[static_cast<std::size_t>(q * static_cast<double>(times.size() - 1))];
  };
  fmt::print(
      "{:<14} {:>10.0f} {:>9.0f}% {:>9.0f}% {:>8} {:>8} {:>8} {:>6} {:>10.2f} {:>10.2f} {:>10.2f} "
      "{:>10.1f}\n",
      p.name, p.syn_rate, p.lost_share * 100, p.core_busy * 100, p.clients.size(),
      count(p, stage::served), count(p, stage::refused), count(p, stage::late), quantile(0.5),
      quantile(0.99), quantile(1), static_cast<double>(p.memory) / (1 << 20));
}

/// In so many words: whether it held, and whether it was put to the test.
bool verdict(const std::vector<phase>& phases, double limit_s) {
  constexpr std::uint64_t memory_slack = 1 << 20;  // between two floods
  constexpr double saturated = 0.9;
  bool holds = true, tested = true;
  const phase* before = nullptr;
  for (const auto& p : phases) {
    const auto all = p.clients.size(), served = count(p, stage::served);
    if (served != all) {
      holds = false;
      fmt::print("FAILED: {}: {} of {} clients were served within {:g} s ({} refused, {} late)\n",
                 p.name, served, all, limit_s, count(p, stage::refused), count(p, stage::late));
    }
    if (p.syn_rate == 0) continue;
    if (p.core_busy < saturated) {
      tested = false;
      fmt::print("NOT TESTED: {}: the server's core was busy for {:.0f}% of the time only\n",
                 p.name, p.core_busy * 100);
    }
    if (before != nullptr && p.memory > before->memory + memory_slack) {
      holds = false;
      fmt::print("FAILED: {}: memory grew from {:.1f} to {:.1f} MiB\n", p.name,
                 static_cast<double>(before->memory) / (1 << 20),
                 static_cast<double>(p.memory) / (1 << 20));
    }
    before = &p;
  }
  if (holds)
    fmt::print("{}: every client was served within {:g} s, none refused, memory constant{}\n",
               tested ? "HOLDS" : "HELD", limit_s,
               tested ? ", while the flood took the server's whole core" : "");
  return holds;
}

}  // namespace

int run_flood(const flood_settings& settings) {
  enter_private_network();
  raise_file_limit();
  const auto cpus = allowed_cpus();
  server_process server({settings.bin_dir + "/services", "--backend", "stack", "--stack.device",
                         device, "--echo", where},
                        cpus.front(), 10'000);
  if (cpus.size() > 1) pin_this_thread(cpus[1]);
  std::vector<phase> phases;
  std::uint64_t random = 1;
  phases.push_back(measure("no flood", settings, server, nullptr));
  phases.push_back(measure("flood", settings, server, &random));
  phases.push_back(measure("flood again", settings, server, &random));
  phases.push_back(measure("afterwards", settings, server, nullptr));
  fmt::print("{:<14} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>6} {:>10} {:>10} {:>10} {:>10}\n",
             "", "SYNs/s", "lost", "core busy", "clients", "served", "refused", "late", "p50 ms",
             "p99 ms", "max ms", "MiB");
  for (const auto& p : phases) print(p);
  fmt::print(
      "lost: SYNs that found the device's queue full. core busy: with the server's "
      "thread, or with something else while that was ready to run.\n");
  server.stop();
  return verdict(phases, settings.limit_s) ? 0 : 1;
}

}  // namespace weir::bench

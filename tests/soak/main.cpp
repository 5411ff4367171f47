// soak BACKEND [--seed N] [--seconds S] [--profile KERNEL]: one life on a back end (uring, asio,
// stack, dedicated, sim). ./dev soak runs many. Exit code 1: something was wrong, said in lines
// that begin with FAULT; a sanitizer's report ends it too. Everything happens in a network
// namespace of the program's own.
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "soak/life.hpp"

namespace {

using namespace soak;

constexpr std::uint16_t base_port = 4700;
/// A life whose time is over and in which nothing was counted for this long stands still; generous,
/// since a sanitizer is slow and the machine may be shared.
constexpr auto patience = 180s;

struct arguments {
  std::string backend;
  std::uint64_t seed = 1;
  unsigned seconds = 5;
  std::string profile;
};

[[noreturn]] void refuse(const std::string& why) {
  std::fprintf(stderr, "soak: %s\n", why.c_str());
  std::exit(2);
}

arguments parse(int argc, char** argv) {
  arguments out;
  if (argc < 2) refuse("usage: soak uring|asio|stack|dedicated|sim [--seed N] [--seconds S]");
  out.backend = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--seed")
      out.seed = std::strtoull(argv[i + 1], nullptr, 10);
    else if (name == "--seconds")
      out.seconds = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    else if (name == "--profile")
      out.profile = argv[i + 1];
    else
      refuse("no option is called " + std::string(name));
  }
  return out;
}

/// A network namespace in which there is only loopback.
void leave_the_network() {
  const int how = ::geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET;
  if (::unshare(how) != 0) {
    std::printf("SKIPPED: no network namespace of its own (%s)\n", std::strerror(errno));
    std::exit(0);
  }
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq loopback{};
  std::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  if (fd < 0 || ::ioctl(fd, SIOCSIFFLAGS, &loopback) != 0) refuse("loopback cannot be brought up");
  ::close(fd);
}

void ignore_signal(int) {}

/// From a thread of its own: interrupts whatever waits, ends the life at some moment, and notices
/// when it does not end.
class disturber {
 public:
  disturber(life& l, unsigned seconds) : life_(l), draws_(l.actor(1)), seconds_(seconds) {
    struct sigaction quiet{};
    quiet.sa_handler = &ignore_signal;  // without SA_RESTART
    for (int number : {SIGUSR1, SIGTERM}) ::sigaction(number, &quiet, nullptr);
    thread_ = std::thread([this] { disturb(); });
  }
  ~disturber() {
    ended_ = true;
    thread_.join();
  }
  void begin() { begun_ = true; }
  /// Whether run() may end with this code.
  bool allows(int code) const { return code == 0 || (second_sent_ && code == 128 + SIGTERM); }

 private:
  bool wait(std::chrono::steady_clock::duration time) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (!ended_ && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(time, 1ms));
    return !ended_;
  }

  void disturb() {
    while (!begun_ && !ended_) std::this_thread::sleep_for(1ms);
    auto planned = std::chrono::microseconds(1'000'000) * seconds_;
    if (draws_.one_in(5)) planned /= 2 + static_cast<int>(draws_.below(500));
    const auto until = std::chrono::steady_clock::now() + planned;
    while (std::chrono::steady_clock::now() < until) {
      if (!wait(draws_.up_to_us(20'000))) return;
      ::kill(::getpid(), SIGUSR1);
    }
    if (!life_.simulated()) ::kill(::getpid(), SIGTERM);
    if (!life_.simulated() && draws_.one_in(3)) {
      if (!wait(draws_.up_to_us(200'000))) return;
      second_sent_ = true;
      ::kill(::getpid(), SIGTERM);
    }
    for (std::uint64_t before = 0, now = 1; before != now; now = life_.count.sum()) {
      before = now;
      if (!wait(patience)) return;
    }
    life_.fault("it does not end: it stands still");
    std::abort();
  }

  life& life_;
  dice draws_;
  unsigned seconds_;
  std::atomic<bool> begun_{false}, ended_{false}, second_sent_{false};
  std::thread thread_;
};

/// What the shards of a life on real time have in common.
struct world {
  life& l;
  disturber& disturbs;
  weir::config settings;
  std::vector<std::atomic<shard*>> shards;
  std::unique_ptr<weir::shard_thread> kernel = nullptr;  // the stack's peer
};

task<> kernel_peer(world& w) {
  co_await weir::submit_to(w.kernel->shard(),
                           inhabit(w.l, w.kernel->shard(), w.l.servers[1], {}, 90));
}

task<> serve(world& w, shard& s) {
  w.shards[s.index()] = &s;
  std::vector<shard*> all;
  for (auto& slot : w.shards) {
    while (slot == nullptr) {
      const bool slept = co_await nap(200us);
      if (!slept) co_return;
    }
    all.push_back(slot);
  }
  weir::scope peers(s);
  if (s.index() == 0) {
    if (w.settings.backend == "stack") {
      weir::config plain;
      plain.backend = "asio";
      w.kernel = std::make_unique<weir::shard_thread>(plain, 100);
      peers.spawn(kernel_peer(w));
    }
    w.disturbs.begin();
  }
  co_await inhabit(w.l, s, w.l.servers[0], all, s.index());
  w.l.end();
  co_await peers.join();
}

weir::config settings_of(const arguments& a, dice d) {
  weir::config c;
  c.backend = a.backend == "dedicated" ? "stack" : a.backend;
  if (a.backend == "dedicated") c.stack.placement = weir::placement::dedicated;
  c.stack.offload = !d.one_in(4);
  c.shards = static_cast<unsigned>(1 + d.below(3));
  c.stop.linger_ms = static_cast<std::uint32_t>(d.below(400));
  constexpr const char* profiles[] = {"5.19", "6.1", "6.6"};
  c.uring.profile = a.profile;
  if (a.profile.empty() && c.backend != "asio" && d.one_in(3))
    c.uring.profile = profiles[d.below(3)];
  if (d.one_in(4)) c.busy_poll_us = static_cast<std::uint32_t>(d.below(50));
  if (d.one_in(4)) c.tcp.receive_buffer = 4096 << d.below(6);
  if (d.one_in(4)) c.tcp.send_buffer = 4096 << d.below(6);
  return c;
}

void live_on(life& l, const arguments& a) {
  leave_the_network();
  const auto settings = settings_of(a, l.actor(2));
  if (settings.backend == "stack") {
    l.servers = {endpoint{"198.18.0.2", base_port}, endpoint{"198.18.0.1", base_port}};
  } else {
    l.servers = {endpoint{"127.0.0.1", base_port}};
  }
  disturber disturbs(l, a.seconds);
  world w{l, disturbs, settings, std::vector<std::atomic<shard*>>(settings.shards)};
  const int code = weir::run(settings, [&w](shard& s) { return serve(w, s); });
  w.kernel.reset();
  if (!disturbs.allows(code)) l.fault("run() ended with " + std::to_string(code));
  struct sigaction left{};
  ::sigaction(SIGTERM, nullptr, &left);
  if (left.sa_handler != &ignore_signal) l.fault("run() did not give SIGTERM back");
}

/// A bad network, drawn anew every now and then.
weir::sim::link_options any_link(dice& d) {
  weir::sim::link_options o;
  o.delay = std::chrono::microseconds(50 + d.below(20'000));
  if (d.one_in(2)) o.jitter = std::chrono::microseconds(d.below(5000));
  if (d.one_in(2)) o.loss = static_cast<double>(d.below(100)) / 1000;
  if (d.one_in(2)) o.reorder = static_cast<double>(d.below(100)) / 1000;
  if (d.one_in(3)) o.duplicate = static_cast<double>(d.below(50)) / 1000;
  if (d.one_in(3)) o.corrupt = static_cast<double>(d.below(20)) / 1000;
  if (d.one_in(3)) o.rate = 100'000 + d.below(10'000'000);
  if (d.one_in(4)) o.mtu = static_cast<std::uint16_t>(600 + d.below(900));
  return o;
}

/// The whole life in virtual time; gives the hash of all its packets.
std::uint64_t live_in_simulation(life& l, const arguments& a) {
  disturber disturbs(l, a.seconds);
  disturbs.begin();
  weir::sim::network net({.seed = l.seed});
  auto d = l.actor(2);
  std::vector<weir::sim::host*> hosts;
  std::vector<weir::sim::link*> links;
  for (std::uint64_t i = 0; i < 2 + l.seed % 3; ++i) {
    hosts.push_back(&net.add_host("10.0.0." + std::to_string(i + 1) + "/24"));
    l.servers.push_back({hosts.back()->address(), base_port});
    for (std::size_t k = 0; k < i; ++k)
      links.push_back(&net.link(*hosts[k], *hosts[i], any_link(d)));
  }
  for (unsigned i = 0; i < hosts.size(); ++i) {
    const auto own = l.servers[i];
    net.start(*hosts[i], [&l, own, i](shard& s) { return inhabit(l, s, own, {}, i); });
  }
  try {
    for (auto left = std::chrono::milliseconds(a.seconds * 1000); left > 0ms;) {
      const auto part =
          std::min<std::chrono::milliseconds>(left, std::chrono::milliseconds(1 + d.below(400)));
      net.run_for(part);
      left -= part;
      links[d.below(links.size())]->set_options(any_link(d));
    }
    for (auto* link : links) link->set_options({});
    l.end();
    net.run(1h);
  } catch (const std::exception& e) {
    l.fault(std::string("the simulation: ") + e.what());
    l.end();
  }
  return net.trace();
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto a = parse(argc, argv);
  life l(a.backend, a.seed);
  if (a.backend == "sim") {
    const auto trace = live_in_simulation(l, a);
    life again(a.backend, a.seed);
    if (live_in_simulation(again, a) != trace) l.fault("the same seed gave another life");
  } else {
    live_on(l, a);
  }
  std::printf("%s, seed %llu: %s%s\n", a.backend.c_str(), static_cast<unsigned long long>(a.seed),
              l.failed() ? "FAILED: " : "", l.count.text().c_str());
  return l.failed() ? 1 : 0;
}

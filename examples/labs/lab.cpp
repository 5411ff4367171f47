// See lab.hpp.
#include "labs/lab.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "runtime/observe/take_snapshot.hpp"

namespace lab {
namespace {

constexpr weir::duration interval = std::chrono::milliseconds(250);
constexpr weir::duration look_for_end = std::chrono::milliseconds(10);
constexpr std::size_t connections_shown = 4096;

std::atomic<bool> a_claim_failed = false;

std::string environment_name(std::string key) {
  for (auto& c : key) c = c == '.' ? '_' : static_cast<char>(std::toupper(c));
  return "WEIR_" + key;
}

std::string number(const weir::detail::known& n) {
  return n ? std::to_string(*n) : std::string("?");
}

void raise(weir::detail::known& to, const weir::detail::known& from) {
  to = std::max(to.value_or(0), from.value_or(0));
}

sockaddr_in kernel_address(const weir::endpoint& to) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(to.port);
  std::memcpy(&out.sin_addr, to.address.bytes().data(), sizeof out.sin_addr);
  return out;
}

void set_limit(int fd, double seconds) {
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(seconds);
  limit.tv_usec = static_cast<suseconds_t>((seconds - static_cast<double>(limit.tv_sec)) * 1e6);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

}  // namespace

weir::task<> stage::watch(std::function<void()> clients) {
  fmt::print("{:>7}  {:<26} {:<22} {:>9} {:>8} {:>8}  {:>5} {:>9} {:>9}\n", "seconds",
             "SYN queue (limit, peak)", "accept queue", "overflows", "cookies", "accepted", "conns",
             "unread B", "unsent B");
  std::atomic<bool> ended = false;
  const double begin = seconds_now();
  std::jthread playing([&] {
    clients();
    ended = true;
  });
  double next = 0;
  while (!ended) {
    const auto now = look();
    raise(peak_.listener.syn_queue, now.listener.syn_queue);
    raise(peak_.listener.accept_queue, now.listener.accept_queue);
    peak_.connections = std::max(peak_.connections, now.connections);
    peak_.unread = std::max(peak_.unread, now.unread);
    peak_.unsent = std::max(peak_.unsent, now.unsent);
    peak_.zero_window_probes = std::max(peak_.zero_window_probes, now.zero_window_probes);
    if (const double at = seconds_now() - begin; at >= next) {
      print(at, now);
      next = at + std::chrono::duration<double>(interval).count();
    }
    co_await weir::sleep_for(look_for_end);
  }
  print(seconds_now() - begin, look());
}

sample stage::look() const {
  const auto seen = weir::detail::take_snapshot(*shard_, {16, connections_shown});
  sample out;
  if (!seen.listeners.empty()) out.listener = seen.listeners.front();
  out.connections = seen.connections.size();
  for (const auto& c : seen.connections) {
    out.unread += c.receive_queued.value_or(0);
    out.unsent += c.send_queued.value_or(0);
    out.zero_window_probes += c.zero_window_probes.value_or(0);
    out.retransmissions += c.retransmissions.value_or(0);
  }
  return out;
}

void stage::print(double seconds, const sample& now) const {
  const auto& l = now.listener;
  fmt::print("{:>7.2f}  {:<26} {:<22} {:>9} {:>8} {:>8}  {:>5} {:>9} {:>9}\n", seconds,
             fmt::format("{} ({}, {})", number(l.syn_queue), number(l.syn_backlog),
                         number(l.syn_queue_peak)),
             fmt::format("{} ({}, {})", number(l.accept_queue), number(l.backlog),
                         number(l.accept_queue_peak)),
             number(l.accept_overflows), number(l.cookies_sent), number(l.accepted),
             now.connections, now.unread, now.unsent);
  std::fflush(stdout);
}

void stage::claim(bool holds, const std::string& text) {
  fmt::print("{} {}\n", holds ? "seen:    " : "NOT seen:", text);
  if (!holds) a_claim_failed = true;
}

void stage::conclude(const std::string& text) { fmt::print("\n{}\n", text); }

int run(int argc, char** argv, const description& what,
        std::function<weir::task<>(weir::shard&, stage&)> scene) {
  const std::pair<std::string, std::string> always[] = {
      {"backend", "stack"}, {"stack.private_net", "true"}, {"stack.device", "lab0"}};
  // The environment stands between file and command line; what it holds already is kept.
  for (const auto& [key, value] : always) ::setenv(environment_name(key).c_str(), value.c_str(), 0);
  for (const auto& [key, value] : what.presets)
    ::setenv(environment_name(key).c_str(), value.c_str(), 0);
  weir::config_parser parser(what.name, what.summary);
  const auto settings = parser.parse_or_exit(argc, argv);
  fmt::print("{}: {}\n\n", what.name, what.summary);
  const int code = weir::run(settings, [&](weir::shard& shard) -> weir::task<> {
    stage here(shard);
    co_await scene(shard, here);
  });
  return code != 0 ? code : a_claim_failed ? 1 : 0;
}

weir::endpoint server_address(const weir::config& settings, std::uint16_t port) {
  return weir::endpoint(settings.stack_addresses().front().address, port);
}

client::client() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}

client::~client() {
  if (fd_ >= 0) ::close(fd_);
}

bool client::connect(const weir::endpoint& to, double limit_s) {
  set_limit(fd_, limit_s);  // Linux: SO_SNDTIMEO bounds connect() too
  const auto where = kernel_address(to);
  return ::connect(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
}

bool client::send(std::string_view text) const {
  return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

std::string client::receive(std::size_t bytes) const {
  std::string out(bytes, '\0');
  const ssize_t n = ::recv(fd_, out.data(), bytes, MSG_WAITALL);
  out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return out;
}

void client::receive_buffer(int bytes) const {
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

double seconds_now() {
  static const auto begin = std::chrono::steady_clock::now();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void sleep_s(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

}  // namespace lab

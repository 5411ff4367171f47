// weir-bench's load against servers whose behaviour is known: it counts what it gets, and it tells
// when the echo is wrong, short or missing. Figures are never judged here, only that they hang
// together.
#include <doctest/doctest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "bench/endpoint.hpp"
#include "bench/load.hpp"
#include "bench/pattern.hpp"
#include "bench/servers.hpp"

using namespace weir::bench;

namespace {

enum class manner { honest, flips_a_bit, swallows, closes_early, says_too_much, favours };

/// A small echo server on a thread of its own; `stall_ns` is slept once, when the first bytes have
/// come.
class small_server {
 public:
  explicit small_server(manner how, std::uint64_t stall_ns = 0) : how_(how), stall_ns_(stall_ns) {
    listener_ = listen_on(*parse_endpoint("127.0.0.1:0"), 64);
    where_ = local_endpoint(listener_);
    thread_ = std::thread([this] { serve(); });
  }
  ~small_server() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
  }
  small_server(const small_server&) = delete;
  small_server& operator=(const small_server&) = delete;
  const endpoint& where() const { return where_; }

 private:
  void serve() {
    std::vector<pollfd> fds{{listener_, POLLIN, 0}};
    std::vector<char> buffer(65536);
    while (!stop_) {
      ::poll(fds.data(), fds.size(), 10);
      const std::size_t count = fds.size();
      for (std::size_t i = 1; i < count; ++i)
        if (fds[i].revents != 0 && !answer(fds[i].fd, buffer)) {
          ::close(fds[i].fd);
          fds[i].fd = -1;
        }
      if ((fds[0].revents & POLLIN) == 0) continue;
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd >= 0) fds.push_back({fd, POLLIN, 0});
    }
    for (std::size_t i = 1; i < fds.size(); ++i)
      if (fds[i].fd >= 0) ::close(fds[i].fd);
  }

  bool answer(int fd, std::vector<char>& buffer) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size() - 1, 0);
    if (n <= 0 || how_ == manner::closes_early) return false;
    if (stall_ns_ > 0) {
      const timespec pause{0, static_cast<long>(stall_ns_)};
      ::nanosleep(&pause, nullptr);
      stall_ns_ = 0;
    }
    if (how_ == manner::swallows) return true;
    if (how_ == manner::favours && neglected(fd)) return true;
    if (how_ == manner::flips_a_bit) buffer[0] = static_cast<char>(buffer[0] ^ 1);
    const auto length = static_cast<std::size_t>(n) + (how_ == manner::says_too_much ? 1 : 0);
    for (std::size_t at = 0; at < length;) {
      const ssize_t sent = ::send(fd, buffer.data() + at, length - at, MSG_NOSIGNAL);
      if (sent < 0) return false;
      at += static_cast<std::size_t>(sent);
    }
    return true;
  }

  /// The first one to ask, from its second request on.
  bool neglected(int fd) {
    if (first_ < 0) {
      first_ = fd;
      return false;
    }
    return fd == first_;
  }

  manner how_;
  int first_ = -1;
  std::uint64_t stall_ns_;
  int listener_ = -1;
  endpoint where_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

load_settings brief_load(const endpoint& where) {
  load_settings out;
  out.target = where;
  out.connections = 4;
  out.duration_ns = 50'000'000;
  out.warmup_ns = 5'000'000;
  return out;
}

}  // namespace

TEST_CASE("a_closed_loop_counts_requests_and_latencies_alike") {
  small_server server(manner::honest);
  load_settings load = brief_load(server.where());
  load.depth = 3;
  int begun = 0, ended = 0;
  load_hooks hooks;
  hooks.window_begins = [&] { ++begun; };
  hooks.window_ends = [&] { ++ended; };
  const load_result result = run_load(load, hooks);
  CHECK(result.error == "");
  CHECK(result.requests > 0);
  CHECK(result.latency.count() == result.requests);
  CHECK(result.seconds >= 0.05);
  CHECK(begun == 1);
  CHECK(ended == 1);
}

TEST_CASE("the_slowest_connection_is_seen_beside_the_median") {
  small_server honest(manner::honest), favouring(manner::favours);
  load_settings load = brief_load(honest.where());
  load.connections = 1;
  CHECK(run_load(load, {}).slowest == 1);  // it is the median
  load = brief_load(favouring.where());
  const load_result result = run_load(load, {});
  CHECK(result.error == "");
  CHECK(result.requests > 0);
  CHECK(result.slowest == 0);
}

TEST_CASE("messages_larger_than_the_socket_buffers_come_back_whole") {
  small_server server(manner::honest);
  load_settings load = brief_load(server.where());
  load.connections = 1;
  load.size = 4 << 20;
  load.duration_ns = 200'000'000;
  const load_result result = run_load(load, {});
  CHECK(result.error == "");
  CHECK(result.requests > 0);
}

TEST_CASE("an_open_loop_answers_what_it_asked") {
  small_server server(manner::honest);
  load_settings load = brief_load(server.where());
  load.mode = load_mode::open;
  load.rate = 2'000;
  load.arrival_kind = arrivals::constant;
  load.duration_ns = 100'000'000;
  const load_result result = run_load(load, {});
  CHECK(result.error == "");
  CHECK(result.unfinished == 0);
  CHECK(result.latency.count() ==
        200);  // every request meant for the window, whenever it was answered
}

TEST_CASE("an_open_loop_charges_a_stall_to_every_request_it_delayed") {
  constexpr std::uint64_t stall_ns = 60'000'000;
  small_server server(manner::honest, stall_ns);
  load_settings load = brief_load(server.where());
  load.connections = 1;
  load.mode = load_mode::open;
  load.rate = 1'000;
  load.arrival_kind = arrivals::constant;
  load.warmup_ns = 0;
  load.duration_ns = 100'000'000;
  const load_result result = run_load(load, {});
  CHECK(result.error == "");
  // At one request per millisecond 30 were meant to leave in the stall's first half: each waited at
  // least 30 ms.
  CHECK(result.latency.count() == 100);
  CHECK(result.latency.at(0.75) >= stall_ns / 2);
}

TEST_CASE("wrong_bytes_are_an_error") {
  small_server server(manner::flips_a_bit);
  const load_result result = run_load(brief_load(server.where()), {});
  CHECK(result.error.find("wrong bytes") != std::string::npos);
}

TEST_CASE("more_bytes_than_were_sent_are_an_error") {
  small_server server(manner::says_too_much);
  load_settings load = brief_load(server.where());
  load.connections = 1;
  const load_result result = run_load(load, {});
  CHECK(!result.error.empty());
}

TEST_CASE("a_server_that_closes_is_an_error") {
  small_server server(manner::closes_early);
  const load_result result = run_load(brief_load(server.where()), {});
  CHECK(result.error.find("connection") != std::string::npos);
  CHECK(result.failed_connections > 0);
}

TEST_CASE("a_silent_server_ends_the_run_with_an_error") {
  small_server server(manner::swallows);
  load_settings load = brief_load(server.where());
  load.silence_limit_ns = 30'000'000;
  const load_result result = run_load(load, {});
  CHECK(result.error.find("no answer") != std::string::npos);
}

TEST_CASE("nobody_listening_is_an_error") {
  endpoint nobody;
  {
    const int fd = listen_on(*parse_endpoint("127.0.0.1:0"), 1);
    nobody = local_endpoint(fd);
    ::close(fd);
  }
  const load_result result = run_load(brief_load(nobody), {});
  CHECK(result.error.find("refused") != std::string::npos);
}

TEST_CASE("the_pattern_tells_shifted_and_foreign_bytes") {
  const byte_pattern pattern;
  const auto right = pattern.slice(3, 1'000'000, 64);
  CHECK(pattern.matches(3, 1'000'000, right));
  CHECK(!pattern.matches(3, 1'000'001, right));
  CHECK(!pattern.matches(4, 1'000'000, right));
  CHECK(pattern.slice(3, 0, 10 << 20).size() == byte_pattern::max_chunk);
}

TEST_CASE("endpoints_are_parsed_and_printed_alike") {
  for (const char* text : {"127.0.0.1:7", "[::1]:65535", "198.18.0.2:0"}) {
    const auto parsed = parse_endpoint(text);
    REQUIRE(parsed);
    CHECK(to_string(*parsed) == text);
  }
  for (const char* text : {"", "7", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:7x",
                           "::1:7", "[::1]", "host:7"})
    CHECK(!parse_endpoint(text));
}

TEST_CASE("server_names_carry_settings_and_unknown_ones_are_refused") {
  const server_spec spec = parse_server("uring:busy_poll_us=50:pin=true");
  CHECK(spec.name == "uring");
  REQUIRE(spec.settings.size() == 2);
  CHECK(spec.settings[0] == std::pair<std::string, std::string>{"busy_poll_us", "50"});
  CHECK(spec.settings[1] == std::pair<std::string, std::string>{"pin", "true"});
  CHECK_THROWS_AS(parse_server("epol"), std::invalid_argument);
  CHECK_THROWS_AS(parse_server("uring:fast"), std::invalid_argument);
  CHECK(needs_private_network(parse_server("stack")));
  CHECK(!needs_private_network(parse_server("raw-epoll")));
}

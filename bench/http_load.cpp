// See other_loads.hpp: run_http and run_wrk. A client that trusts nothing but Content-Length, and
// the wish of many to see wrk's figures beside it.
#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <deque>
#include <exception>
#include <string>
#include <vector>

#include "clients.hpp"
#include "other_loads.hpp"
#include "process.hpp"

namespace weir::bench {
namespace {

constexpr std::size_t answer_limit = 1 << 20;
constexpr std::string_view path = "/plaintext";

struct peer {
  int fd = -1;
  std::string arrived;              // of answers that are not complete
  std::deque<std::uint64_t> asked;  // when, of what is in flight
  std::string unsent;
};

/// Bytes of the complete answer at the head of `text`, 0 when more has to come; throws
/// std::runtime_error for what is no 200 with a length.
std::size_t answer_length(std::string_view text) {
  const auto head = text.find("\r\n\r\n");
  if (head == std::string_view::npos) {
    if (text.size() > answer_limit) throw std::runtime_error("an answer's head has no end");
    return 0;
  }
  const auto fields = text.substr(0, head + 2);
  if (!fields.starts_with("HTTP/1.1 200 "))
    throw std::runtime_error(fmt::format("the answer is not 200: {}",
                                         fields.substr(0, std::min<std::size_t>(40, head))));
  constexpr std::string_view name = "\r\nContent-Length: ";
  const auto at = fields.find(name);
  std::size_t length = 0;
  if (at == std::string_view::npos ||
      std::from_chars(fields.data() + at + name.size(), fields.data() + fields.size(), length).ec !=
          std::errc{} ||
      length > answer_limit)
    throw std::runtime_error("an answer has no Content-Length that makes sense");
  const auto whole = head + 4 + length;
  return text.size() < whole ? 0 : whole;
}

class http_clients {
 public:
  http_clients(const load_settings& settings, const load_hooks& hooks)
      : settings_(settings), hooks_(hooks), peers_(settings.connections), buffer_(64 * 1024) {
    request_ = fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", path, to_string(settings.target));
  }
  ~http_clients() {
    for (const peer& p : peers_)
      if (p.fd >= 0) ::close(p.fd);
  }
  http_clients(const http_clients&) = delete;
  http_clients& operator=(const http_clients&) = delete;

  load_result run() {
    try {
      for (std::size_t i = 0; i < peers_.size(); ++i) {
        peers_[i].fd = connect_client(settings_.target);
        poll_.add(peers_[i].fd, EPOLLIN, i);
        for (unsigned k = 0; k < settings_.depth; ++k) ask(peers_[i], now_ns());
        send_unsent(i);
      }
      measured_window window(settings_, hooks_);
      while (window.running(result_)) {
        measuring_ = window.open();
        poll_.wait(window.next_instant(), settings_.spin,
                   [&](std::uint64_t index, std::uint32_t events) {
                     if ((events & EPOLLOUT) != 0) send_unsent(index);
                     if (receive(index)) window.progress_seen();
                   });
      }
      if (result_.error.empty() && result_.requests == 0)
        result_.error = "no request was answered inside the measured window";
    } catch (const std::exception& error) {
      if (result_.error.empty()) result_.error = error.what();
    }
    return std::move(result_);
  }

 private:
  void ask(peer& p, std::uint64_t now) {
    p.unsent += request_;
    p.asked.push_back(now);
  }
  void send_unsent(std::size_t index) {
    peer& p = peers_[index];
    const bool waited = waits_.size() > index && waits_[index];
    const ssize_t n = ::send(p.fd, p.unsent.data(), p.unsent.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
      throw std::runtime_error(fmt::format("send: {}", std::strerror(errno)));
    if (n > 0) p.unsent.erase(0, static_cast<std::size_t>(n));
    if (p.unsent.empty() == !waited) return;
    waits_.resize(peers_.size());
    waits_[index] = !p.unsent.empty();
    poll_.change(p.fd, waits_[index] ? EPOLLIN | EPOLLOUT : EPOLLIN, index);
  }
  /// True when at least one answer is complete.
  bool receive(std::size_t index) {
    peer& p = peers_[index];
    const ssize_t n = ::recv(p.fd, buffer_.data(), buffer_.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n < 0) throw std::runtime_error(fmt::format("recv: {}", std::strerror(errno)));
    if (n == 0) throw std::runtime_error("the server closed a connection that was to be kept");
    std::string_view text(buffer_.data(), static_cast<std::size_t>(n));
    if (!p.arrived.empty()) text = p.arrived.append(text);
    const std::uint64_t now = now_ns();
    std::size_t answers = 0, used = 0;
    while (const std::size_t length = answer_length(text.substr(used))) {
      used += length;
      ++answers;
      if (p.asked.empty()) throw std::runtime_error("more answers than requests");
      if (measuring_) {
        ++result_.requests;
        result_.bytes += length + request_.size();
        result_.latency.record(now - p.asked.front());
      }
      p.asked.pop_front();
      ask(p, now);
      if (used == text.size()) break;
    }
    if (used < text.size()) {
      std::string rest(text.substr(used));
      p.arrived = std::move(rest);
    } else {
      p.arrived.clear();
    }
    if (answers != 0) send_unsent(index);
    return answers != 0;
  }

  const load_settings& settings_;
  const load_hooks& hooks_;
  poller poll_;
  std::vector<peer> peers_;
  std::vector<bool> waits_;  // for room to send
  std::vector<char> buffer_;
  std::string request_;
  load_result result_;
  bool measuring_ = false;
};

/// `  50%  123.45us` and the like.
bool read_percentile(std::string_view text, std::string_view name, std::uint64_t& ns) {
  const auto at = text.find(name);
  if (at == std::string_view::npos) return false;
  double value = 0;
  const auto from = text.find_first_not_of(' ', at + name.size());
  if (from == std::string_view::npos) return false;
  const auto [end, error] = std::from_chars(text.data() + from, text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const double scale = unit.starts_with("us") ? 1e3 : unit.starts_with("ms") ? 1e6 : 1e9;
  ns = static_cast<std::uint64_t>(value * scale);
  return true;
}

/// What wrk printed, as counts: its percentiles become a histogram of a hundred values.
void read_wrk(std::string_view text, load_result& result) {
  std::array<std::uint64_t, 4> at{};
  constexpr std::array<std::string_view, 4> names{" 50%", " 75%", " 90%", " 99%"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!read_percentile(text, names[i], at[i])) {
      result.error = "wrk printed no latency distribution: " + std::string(text.substr(0, 200));
      return;
    }
  const auto in = text.find(" requests in ");
  const auto line = in == std::string_view::npos ? in : text.rfind('\n', in);
  if (line == std::string_view::npos) {
    result.error = "wrk printed no number of requests";
    return;
  }
  const auto from = text.find_first_not_of(' ', line + 1);
  std::from_chars(text.data() + from, text.data() + text.size(), result.requests);
  for (int i = 1; i <= 100; ++i)
    result.latency.record(at[i <= 50 ? 0u : i <= 75 ? 1u : i <= 90 ? 2u : 3u]);
  for (const std::string_view bad : {"Socket errors:", "Non-2xx"})
    if (text.find(bad) != std::string_view::npos)
      result.error = "wrk: " + std::string(text.substr(text.find(bad), 80));
}

}  // namespace

load_result run_http(const load_settings& settings, const load_hooks& hooks) {
  return http_clients(settings, hooks).run();
}

load_result run_wrk(const load_settings& settings, int cpu, const load_hooks& hooks) {
  load_result result;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    result.error = std::strerror(errno);
    return result;
  }
  const auto seconds = std::max(1.0, std::ceil(static_cast<double>(settings.duration_ns) / 1e9));
  const std::string connections = fmt::format("-c{}", settings.connections),
                    duration = fmt::format("-d{:.0f}s", seconds),
                    url = fmt::format("http://{}{}", to_string(settings.target), path);
  const std::uint64_t begin = now_ns();
  hooks.window_begins();
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    if (cpu >= 0) pin_this_thread(cpu);
    ::execlp("wrk", "wrk", "-t1", connections.c_str(), duration.c_str(), "--latency", url.c_str(),
             static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(ends[1]);
  std::string said;
  char chunk[4096];
  for (ssize_t n = 0; child > 0 && (n = ::read(ends[0], chunk, sizeof chunk)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    said.append(chunk, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  if (child > 0) ::waitpid(child, &status, 0);
  hooks.window_ends();
  result.seconds = static_cast<double>(now_ns() - begin) / 1e9;
  if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    result.error = child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127
                       ? "wrk is not installed (package wrk)"
                       : "wrk failed: " + said.substr(0, 200);
  else
    read_wrk(said, result);
  return result;
}

}  // namespace weir::bench

// See load.hpp. All waits have deadlines: connecting 10 s, a first answer on every connection 5 s
// past the warm-up, silence as the settings say, draining an open loop 2 s.
#include "load.hpp"

#include <fmt/core.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

#include "clock.hpp"
#include "pattern.hpp"

namespace weir::bench {
namespace {

constexpr std::uint64_t connect_limit_ns = 10'000'000'000;
constexpr std::uint64_t drain_limit_ns = 2'000'000'000;
constexpr std::uint64_t late_warmup_limit_ns = 5'000'000'000;
constexpr std::uint64_t long_window_limit_ns = 10'000'000'000;
constexpr std::uint64_t progress_every_ns = 500'000'000;
constexpr unsigned connects_in_flight = 64;  // stays below any backlog
constexpr std::uint64_t backlog_limit =
    1u << 20;  // open loop: requests meant to have left and not answered
constexpr int events_per_wait = 512;

/// Instants in the order in which they were pushed. Grows by doubling; the caller bounds it.
class instant_queue {
 public:
  void push(std::uint64_t instant) {
    if (count_ == slots_.size()) grow();
    slots_[(first_ + count_++) & (slots_.size() - 1)] = instant;
  }
  std::uint64_t front() const noexcept { return slots_[first_]; }
  void pop() noexcept {
    first_ = (first_ + 1) & (slots_.size() - 1);
    --count_;
  }
  std::size_t size() const noexcept { return count_; }

 private:
  void grow() {
    std::vector<std::uint64_t> larger(slots_.size() * 2);
    for (std::size_t i = 0; i < count_; ++i) larger[i] = slots_[(first_ + i) & (slots_.size() - 1)];
    slots_ = std::move(larger);
    first_ = 0;
  }
  std::vector<std::uint64_t> slots_ = std::vector<std::uint64_t>(4);
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

struct connection {
  int fd = -1;
  bool connected = false;
  bool waits_to_write = false;
  std::uint64_t sent = 0;      // stream offset of the next byte to send
  std::uint64_t to_send = 0;   // bytes of started requests that the socket has not taken yet
  std::uint64_t received = 0;  // stream offset of the next byte to arrive
  std::size_t partial = 0;     // bytes of the answer that is arriving
  std::size_t in_flight = 0;   // requests started and not answered; the first so many of `asked`
  std::uint64_t served = 0;    // requests answered inside the window
  instant_queue
      asked;  // intended instants of requests in flight, then of those that wait for their turn
};

class generator {
 public:
  generator(const load_settings& settings, const load_hooks& hooks)
      : settings_(settings),
        hooks_(hooks),
        connections_(settings.connections),
        buffer_(byte_pattern::max_chunk) {}
  ~generator() {
    for (auto& c : connections_) close_now(c);
    if (epoll_ >= 0) ::close(epoll_);
  }
  generator(const generator&) = delete;
  generator& operator=(const generator&) = delete;

  load_result run() {
    ::prctl(PR_SET_TIMERSLACK, 1UL);
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) {
      fail(fmt::format("epoll_create1: {}", std::strerror(errno)));
      return std::move(result_);
    }
    if (connect_all()) exchange();
    return std::move(result_);
  }

 private:
  // --- connections
  // -----------------------------------------------------------------------------------------------------

  void fail(std::string why) {
    if (result_.error.empty()) result_.error = std::move(why);
  }

  bool start_connect(std::size_t index) {
    connection& c = connections_[index];
    c.fd = ::socket(settings_.target.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c.fd < 0) {
      fail(
          fmt::format("socket {} of {}: {}", index + 1, connections_.size(), std::strerror(errno)));
      return false;
    }
    const int on = 1;
    ::setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const linger reset{
        1, 0};  // closing resets: no TIME_WAIT on our side eats the ephemeral ports between rounds
    ::setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (::connect(c.fd, settings_.target.address(), settings_.target.length) != 0 &&
        errno != EINPROGRESS) {
      fail(fmt::format("connect to {}: {}", to_string(settings_.target), std::strerror(errno)));
      return false;
    }
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.u64 = index;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event) != 0) {
      fail(fmt::format("epoll_ctl: {}", std::strerror(errno)));
      return false;
    }
    return true;
  }

  bool finish_connect(std::size_t index) {
    connection& c = connections_[index];
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      fail(fmt::format("connect to {}: {}", to_string(settings_.target), std::strerror(error)));
      return false;
    }
    c.connected = true;
    watch(index, EPOLLIN);
    return true;
  }

  bool connect_all() {
    const std::uint64_t deadline = now_ns() + connect_limit_ns;
    std::size_t started = 0, finished = 0;
    std::array<epoll_event, events_per_wait> events;
    while (finished < connections_.size()) {
      while (started < connections_.size() && started - finished < connects_in_flight)
        if (!start_connect(started++)) return false;
      const int count = ::epoll_wait(epoll_, events.data(), events_per_wait, 100);
      for (int i = 0; i < count; ++i) {
        const auto index = static_cast<std::size_t>(events[static_cast<std::size_t>(i)].data.u64);
        if (connections_[index].connected) continue;
        if (!finish_connect(index)) return false;
        ++finished;
      }
      if (now_ns() > deadline) {
        fail(fmt::format("only {} of {} connections were accepted within {} s", finished,
                         connections_.size(), connect_limit_ns / 1'000'000'000));
        return false;
      }
    }
    alive_ = unanswered_ = connections_.size();
    return true;
  }

  void watch(std::size_t index, std::uint32_t interest) {
    epoll_event event{};
    event.events = interest;
    event.data.u64 = index;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connections_[index].fd, &event);
  }

  static void close_now(connection& c) {
    if (c.fd >= 0) ::close(c.fd);
    c.fd = -1;
  }

  void lose(std::size_t index, const std::string& why) {
    connection& c = connections_[index];
    backlog_ -= c.asked.size();
    if (c.received < settings_.size) --unanswered_;
    close_now(c);
    --alive_;
    ++result_.failed_connections;
    fail(fmt::format("connection {}: {}", index, why));
  }

  // --- traffic
  // ---------------------------------------------------------------------------------------------------------

  void write_pending(std::size_t index) {
    connection& c = connections_[index];
    while (c.to_send > 0) {
      const auto chunk = pattern_->slice(index, c.sent, static_cast<std::size_t>(c.to_send));
      const ssize_t n = ::send(c.fd, chunk.data(), chunk.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) return lose(index, fmt::format("send: {}", std::strerror(errno)));
      c.sent += static_cast<std::uint64_t>(n);
      c.to_send -= static_cast<std::uint64_t>(n);
    }
    if ((c.to_send > 0) != c.waits_to_write) {
      c.waits_to_write = c.to_send > 0;
      watch(index, c.waits_to_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
  }

  /// Starts as many of the requests that wait as the depth allows.
  void start_requests(std::size_t index) {
    connection& c = connections_[index];
    const std::size_t may = std::min<std::size_t>(settings_.depth, c.asked.size());
    if (may <= c.in_flight) return;
    c.to_send += (may - c.in_flight) * settings_.size;
    c.in_flight = may;
    if (!c.waits_to_write) write_pending(index);
  }

  void ask(std::size_t index, std::uint64_t intended) {
    connections_[index].asked.push(intended);
    ++backlog_;
  }

  void complete(connection& c, std::uint64_t now) {
    const std::uint64_t intended = c.asked.front();
    c.asked.pop();
    --c.in_flight;
    --backlog_;
    if (measuring_) ++result_.requests, ++c.served;
    const bool counts =
        settings_.mode == load_mode::closed ? measuring_ : intended >= begin_ && intended < end_;
    if (counts) result_.latency.record(now > intended ? now - intended : 0);
  }

  void read_answers(std::size_t index) {
    connection& c = connections_[index];
    const ssize_t n = ::recv(c.fd, buffer_.data(), buffer_.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) return lose(index, fmt::format("recv: {}", std::strerror(errno)));
    if (n == 0) return lose(index, "the server closed it");
    const auto got = static_cast<std::size_t>(n);
    if (!pattern_->matches(index, c.received, {buffer_.data(), got}))
      return lose(index, fmt::format("wrong bytes in the echo, between offsets {} and {}",
                                     c.received, c.received + got));
    if (c.received < settings_.size && c.received + got >= settings_.size) --unanswered_;
    c.received += got;
    c.partial += got;
    if (c.received > c.sent) return lose(index, "more bytes came back than were sent");
    const std::uint64_t now = now_ns();
    last_answer_ = now;
    bool answered = false;
    while (c.partial >= settings_.size) {
      c.partial -= settings_.size;
      complete(c, now);
      answered = true;
      if (settings_.mode == load_mode::closed) ask(index, now);
    }
    if (answered) start_requests(index);
  }

  /// Hands every request whose instant has come to the next connection in turn.
  void release_due(arrival_schedule& schedule, std::uint64_t now) {
    while (schedule.next() <= now && schedule.next() < end_ && alive_ > 0) {
      if (backlog_ >= backlog_limit) {
        fail("the server cannot keep up: a million requests are waiting");
        return;
      }
      do turn_ = (turn_ + 1) % connections_.size();
      while (connections_[turn_].fd < 0);
      ask(turn_, schedule.next());
      schedule.pop();
      start_requests(turn_);
    }
  }

  void wait_and_serve(std::uint64_t until, std::uint64_t now) {
    std::array<epoll_event, events_per_wait> events;
    const std::uint64_t left = settings_.spin || until <= now ? 0 : until - now;
    const timespec timeout{static_cast<time_t>(left / 1'000'000'000),
                           static_cast<long>(left % 1'000'000'000)};
    const int count = ::epoll_pwait2(epoll_, events.data(), events_per_wait, &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      const auto& event = events[static_cast<std::size_t>(i)];
      const auto index = static_cast<std::size_t>(event.data.u64);
      if (connections_[index].fd >= 0 && (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        read_answers(index);
      if (connections_[index].fd >= 0 && (event.events & EPOLLOUT) != 0) write_pending(index);
    }
  }

  /// A closed loop is warm when every connection has been served once, else the window would hold
  /// the server's accepts.
  bool warm(std::uint64_t now) const {
    if (now < begin_) return false;
    return settings_.mode == load_mode::open || unanswered_ == 0 ||
           now >= begin_ + late_warmup_limit_ns;
  }

  void open_window(std::uint64_t now) {
    measuring_ = true;
    if (settings_.mode == load_mode::closed) {
      begin_ = now;
      end_ = now + settings_.duration_ns;
    }
    opened_ = now;
    cpu_at_open_ = thread_cpu_ns();
    hooks_.window_begins();
  }

  bool window_is_full(std::uint64_t now) const {
    if (now < end_) return false;
    return settings_.mode == load_mode::open || result_.requests >= settings_.min_requests ||
           now >= end_ + long_window_limit_ns;
  }

  double slowest_of_median() const {
    std::vector<std::uint64_t> served;
    served.reserve(connections_.size());
    for (const auto& c : connections_) served.push_back(c.served);
    std::ranges::sort(served);
    const auto median = served[served.size() / 2];
    return median == 0 ? 0 : static_cast<double>(served.front()) / static_cast<double>(median);
  }

  void close_window() {
    hooks_.window_ends();
    const std::uint64_t now = now_ns();
    measuring_ = false;
    closed_ = true;
    result_.bytes = 2 * result_.requests * settings_.size;
    result_.slowest = slowest_of_median();
    result_.seconds = static_cast<double>(now - opened_) / 1e9;
    result_.busy =
        static_cast<double>(thread_cpu_ns() - cpu_at_open_) / static_cast<double>(now - opened_);
  }

  bool finished(std::uint64_t now) {
    if (alive_ == 0 || (settings_.mode == load_mode::open && !result_.error.empty())) return true;
    if (!closed_ && now > last_answer_ + settings_.silence_limit_ns && backlog_ > 0) {
      fail(fmt::format("no answer for {:.1f} s",
                       static_cast<double>(settings_.silence_limit_ns) / 1e9));
      return true;
    }
    if (!closed_) return false;
    return settings_.mode == load_mode::closed || backlog_ == 0 || now >= end_ + drain_limit_ns;
  }

  void exchange() {
    const std::uint64_t start = now_ns();
    begin_ = start + settings_.warmup_ns;
    end_ = begin_ + settings_.duration_ns;
    last_answer_ = start;
    arrival_schedule schedule(settings_.arrival_kind,
                              settings_.mode == load_mode::open ? settings_.rate : 1, start,
                              settings_.seed);
    if (settings_.mode == load_mode::closed)
      for (std::size_t i = 0; i < connections_.size(); ++i) {
        for (unsigned k = 0; k < settings_.depth; ++k) ask(i, start);
        start_requests(i);
      }
    std::uint64_t next_progress = begin_;
    for (std::uint64_t now = start; !finished(now); now = now_ns()) {
      if (!measuring_ && !closed_ && warm(now)) open_window(now);
      if (measuring_ && window_is_full(now)) {
        if (settings_.mode == load_mode::open)
          release_due(schedule, now);  // those we were late for
        close_window();
        continue;
      }
      std::uint64_t until = !measuring_ && !closed_ ? std::max(begin_, now + 1'000'000)
                            : closed_               ? end_ + drain_limit_ns
                            : now < end_            ? end_
                                                    : now + 1'000'000;
      until = std::min(until, last_answer_ + settings_.silence_limit_ns + 1);
      if (settings_.mode == load_mode::open && !closed_) {
        release_due(schedule, now);
        until = std::min(until, schedule.next());
      }
      if (now >= next_progress) {
        hooks_.progress(result_.requests, static_cast<double>(now - begin_) / 1e9);
        next_progress = now + progress_every_ns;
      }
      wait_and_serve(std::min(until, next_progress), now);
    }
    if (measuring_) close_window();
    if (settings_.mode == load_mode::open) result_.unfinished = backlog_;
    if (result_.error.empty() && result_.requests == 0)
      fail("no request was answered inside the measured window");
  }

  const load_settings& settings_;
  const load_hooks& hooks_;
  std::unique_ptr<byte_pattern> pattern_ = std::make_unique<byte_pattern>();
  std::vector<connection> connections_;
  std::vector<char> buffer_;
  load_result result_;
  int epoll_ = -1;
  std::size_t alive_ = 0;
  std::size_t unanswered_ = 0;  // connections that have not had their first answer
  std::size_t turn_ = 0;
  std::uint64_t backlog_ = 0;
  std::uint64_t begin_ = 0, end_ = 0, opened_ = 0;
  std::uint64_t last_answer_ = 0;
  std::uint64_t cpu_at_open_ = 0;
  bool measuring_ = false;
  bool closed_ = false;
};

}  // namespace

load_result run_load(const load_settings& settings, const load_hooks& hooks) {
  return generator(settings, hooks).run();
}

}  // namespace weir::bench

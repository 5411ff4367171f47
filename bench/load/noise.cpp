// See noise.hpp.
#include "load/noise.hpp"

#include <fmt/core.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <deque>

#include "clock.hpp"
#include "load/judgement.hpp"
#include "runtime/core/sockets/stream_core.hpp"
#include "schedule.hpp"
#include "weir/runtime.hpp"
#include "weir/sync.hpp"
#include "weir/timing.hpp"

namespace weir::load {
namespace {

using detail::lent_bytes;
using detail::socket_base;

/// Gives back what is written to it, each piece after the same time.
class stub_echo final : public detail::stream_core {
 public:
  stub_echo(shard& here, clocks& time, const noise_settings& how) : time_(time), how_(how) {
    set_owner(here);
    socket_.at = this;
  }

  any_stream open() { return any_stream(socket_); }

  /// Until it is cancelled.
  task<> answer() {
    for (;;) {
      if (pending_.empty()) {
        wake_.reset();
        co_await wake_.wait();
        continue;
      }
      const auto left = pending_.front().due - time_.now();
      if (left > duration()) {
        if (how_.spin && left <= close)
          co_await yield();
        else
          co_await sleep_for(how_.spin ? left - close / 2 : left);
        continue;
      }
      ready_ += pending_.front().size;
      pending_.pop_front();
      if (socket_.reader != nullptr && show()) bytes_came(socket_);
    }
  }

  void settle(socket_base&) noexcept override { show(); }
  void release(lent_bytes&) noexcept override {}

 private:
  static constexpr std::size_t size = 1 << 20;  // of all that is on its way: far more than is
  static constexpr duration close = std::chrono::microseconds(3);

  struct piece {
    instant due;
    std::size_t size;
  };

  void bring_in(socket_base& s) override {
    if (show()) bytes_came(s);
  }
  bool lend(socket_base& s, lent_bytes& lent) override {
    lent = {s.rx_data, s.rx_size, 0, nullptr};
    s.rx_size = 0;
    return true;
  }
  void take_out(socket_base& s) override {
    while (!s.writers.empty()) {
      std::array<std::span<const std::byte>, 16> parts;
      const auto got = gather(s, parts);
      for (std::size_t i = 0; i < got.parts; ++i)
        for (const std::byte b : parts[i]) memory_[taken_++ % size] = b;
      pending_.push_back({time_.now() + how_.takes, got.bytes});
      wake_.set();
      sent(s, got.bytes);
    }
  }
  std::error_code send_fin(socket_base&) noexcept override { return {}; }
  void give_up(socket_base&, bool) noexcept override {}

  bool show() noexcept {
    if (socket_.rx_size == 0 && shown_ < ready_) {
      const auto at = shown_ % size;
      const auto n = std::min(ready_ - shown_, size - at);
      socket_.rx_data = memory_.data() + at;
      socket_.rx_size = static_cast<std::uint32_t>(n);
      shown_ += n;
    }
    return socket_.rx_size != 0;
  }

  clocks& time_;
  const noise_settings& how_;
  socket_base socket_;
  event wake_;
  std::deque<piece> pending_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(size);
  std::size_t taken_ = 0, ready_ = 0, shown_ = 0;  // bytes since the beginning
};

plan plan_against(stub_echo& stub, const noise_settings& how) {
  plan out;
  out.to = parse_target("tcp://stub:1");
  out.requests.emplace_back();
  out.size = 16;
  out.depth = 10'000;
  out.mode = loop::open;
  out.rate = how.rate;
  out.warmup = std::chrono::milliseconds(200);
  out.window = how.window;
  out.spins = how.spin;
  out.seed = how.seed;
  out.connect = [&stub](shard&) -> task<any_stream> { co_return stub.open(); };
  return out;
}

void print(const char* what, const bench::latency_histogram& of) {
  const auto us = [&](double q) { return static_cast<double>(of.at(q)) / 1e3; };
  fmt::print("  {:<24} p50 {:>9.2f} us   p99 {:>9.2f} us   p99.9 {:>9.2f} us   max {:>9.2f} us\n",
             what, us(0.5), us(0.99), us(0.999), static_cast<double>(of.max()) / 1e3);
}

}  // namespace

task<> run_against_stub(shard& here, clocks& time, const noise_settings& how, outcome& into) {
  stub_echo stub(here, time, how);
  const auto of = plan_against(stub, how);
  run_context run(of, 1);
  scope peer(here);
  peer.spawn(stub.answer());
  co_await run_on_shard(run, here, 0, time, into);
  peer.cancel();
  co_await peer.drain(duration());
}

bench::latency_histogram added_by_load(const outcome& seen, duration takes) {
  bench::latency_histogram out;
  const auto own = static_cast<std::uint64_t>(takes.count());
  seen.latency.for_each([&](std::uint64_t value, std::uint64_t count) {
    out.record(value > own ? value - own : 0, count);
  });
  return out;
}

bench::latency_histogram bare_sleeps(const noise_settings& how) {
  bench::latency_histogram out;
  const auto begin = bench::now_ns();
  const auto end = begin + static_cast<std::uint64_t>(how.window.count());
  bench::arrival_schedule schedule(bench::arrivals::poisson, how.rate, begin, how.seed);
  for (; schedule.next() < end; schedule.pop()) {
    const auto due = schedule.next();
    const timespec at{static_cast<time_t>(due / 1'000'000'000),
                      static_cast<long>(due % 1'000'000'000)};
    if (bench::now_ns() < due) ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
    out.record(bench::now_ns() - due);
  }
  return out;
}

int run_noise(const noise_settings& how) {
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  config settings;
  if (how.spin) settings.busy_poll_us = 1'000'000;
  settings = resolve_backend(settings);
  outcome seen;
  const int code = weir::run(settings, [&](shard& here) -> task<> {
    machine_clocks time;
    co_await run_against_stub(here, time, how, seen);
  });
  if (code != 0 || !seen.failure.empty()) {
    fmt::print(stderr, "weir-bench: {}\n", seen.failure);
    return 1;
  }
  fmt::print("a stub that takes {:.0f} us, {:.0f}/s of {:.0f}/s asked, {}\n",
             static_cast<double>(how.takes.count()) / 1e3, seen.rate(), how.rate,
             how.spin ? "spinning" : "sleeping");
  print("the load adds", added_by_load(seen, how.takes));
  print("of it, by being late", seen.lateness);
  if (!how.spin) print("bare clock_nanosleep", bare_sleeps(how));
  return 0;
}

}  // namespace weir::load

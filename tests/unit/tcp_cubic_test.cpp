// CUBIC against the formulas of RFC 9438, over virtual time.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "stack/tcp/congestion.hpp"

using namespace weir;
using namespace weir::stack;
using namespace weir::stack::tcp;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t mss = 1000;
constexpr double c = 0.4, beta = 0.7;

double curve(double t, double k, double window_max) { return c * std::pow(t - k, 3) + window_max; }
double k_of(double window_max, double begin) { return std::cbrt((window_max - begin) / c); }

/// A sender that is always limited by its window: each round trip acknowledges a window's worth,
/// segment by segment, evenly spread.
struct sender {
  congestion_control cc;
  instant now = instant::from_ns(0);
  duration rtt = 100ms;

  explicit sender(double segments, congestion_algorithm algorithm = congestion_algorithm::cubic) {
    cc.start(algorithm, mss, static_cast<std::uint32_t>(segments * mss));
  }
  double window() const { return static_cast<double>(cc.window()) / mss; }
  void lose() {
    cc.on_loss(now, cc.window());
    cc.finish_recovery();
  }
  void round() {
    const auto n = cc.window() / mss;
    const auto end = now + rtt;
    for (std::uint32_t i = 0; i < n; ++i) {
      now += rtt / n;
      cc.on_ack(now, mss, rtt);
    }
    now = end;
  }
};

}  // namespace

// covers: 9438-1, 9438-4
TEST_CASE("the window follows the cubic curve to its plateau and beyond") {
  sender s(100);
  s.rtt = 200ms;  // long enough that Reno would be slower all the way
  s.lose();
  CHECK(s.window() == 70);
  s.round();  // the epoch begins with its first acknowledgement
  const auto begin = s.rtt / 70;
  const double k = k_of(100, 70);
  CHECK(k == doctest::Approx(4.217).epsilon(0.001));
  double worst = 0;
  for (int i = 0; i < 37; ++i) {
    const double t = static_cast<double>((s.now - instant::from_ns(0) - begin).count()) * 1e-9;
    worst = std::max(worst, std::abs(s.window() - curve(t, k, 100)));
    s.round();
  }
  CHECK(worst < 1.0);  // segments, in seven seconds that lead from 70 over 100 to 120
  CHECK(s.window() > 115);
}

// covers: 9438-2
TEST_CASE("time in which the application is the limit does not count") {
  sender busy(100), pausing(100);
  busy.lose();
  pausing.lose();
  for (int i = 0; i < 20; ++i) {
    busy.round();
    pausing.round();
  }
  pausing.cc.pause(pausing.now);
  pausing.now += 30s;  // acknowledged, but not for want of window
  pausing.cc.pause(pausing.now);
  CHECK(pausing.window() == busy.window());
  for (int i = 0; i < 30; ++i) {
    busy.round();
    pausing.round();
    CHECK(std::abs(pausing.window() - busy.window()) < 0.5);
  }
}

// covers: 9438-3
TEST_CASE(
    "where Reno would be faster the window is Reno's, with alpha one from the old window on") {
  sender s(20);
  s.rtt = 20ms;
  s.lose();
  CHECK(s.window() == 14);
  double estimate = 14;
  bool reached = false;
  for (int i = 0; i < 60; ++i) {
    const auto n = s.cc.window() / mss;
    const auto end = s.now + s.rtt;
    for (std::uint32_t k = 0; k < n; ++k) {
      s.now += s.rtt / n;
      // RFC 9438 4.3 figure 4, for each acknowledged segment.
      const double alpha = estimate >= 20 ? 1.0 : 3 * (1 - beta) / (1 + beta);
      reached = reached || estimate >= 20;
      estimate += alpha / s.window();
      s.cc.on_ack(s.now, mss, s.rtt);
      CHECK(std::abs(s.window() - estimate) < 0.01);
    }
    s.now = end;
  }
  CHECK(reached);
  CHECK(s.window() > 40);
}

// covers: 9438-4
TEST_CASE("the target lies between the window and half as much again") {
  sender s(100);
  s.lose();
  s.cc.on_ack(s.now, mss, 100ms);
  // A round trip of a minute: the curve is far above, and each segment brings half of one.
  s.now += 60s;
  const auto before = s.cc.window();
  s.cc.on_ack(s.now, mss, 60s);
  CHECK(s.cc.window() - before >= 499);
  CHECK(s.cc.window() - before <= 501);
  // Below the curve's own past it never shrinks.
  sender concave(100);
  concave.lose();
  for (int i = 0; i < 500; ++i) {
    const auto w = concave.cc.window();
    concave.now += 1ms;
    concave.cc.on_ack(concave.now, mss, 0ms);
    CHECK(concave.cc.window() >= w);
  }
}

// covers: 9438-5
TEST_CASE("a loss reduces to seven tenths at once, two segments at least") {
  for (const auto& [before, after] :
       {std::pair{100, 70000u}, {10, 7000u}, {3, 2100u}, {2, 2000u}, {1, 2000u}}) {
    CAPTURE(before);
    sender s(before);
    s.cc.on_loss(s.now, s.cc.window());
    CHECK(s.cc.threshold() == after);
  }
}

// covers: 9438-8
TEST_CASE("a flow that is pushed down below its last plateau aims at a lower one") {
  sender s(100);
  s.lose();
  s.lose();  // at 70: W_max is 70 * 1.7 / 2
  CHECK(s.window() == 49);
  const double window_max = 70 * (1 + beta) / 2, k = k_of(window_max, 49);
  s.round();
  for (int i = 1; i < 20; ++i) {
    const double t = static_cast<double>(s.now.ns()) * 1e-9 - 0.1 / 49;
    CHECK(std::abs(s.window() - std::max(curve(t, k, window_max), 0.0)) < 1.5);
    s.round();
  }
  // One that was pushed down above it is not.
  sender up(100);
  up.lose();
  while (up.window() < 110) up.round();
  const auto top = up.window();
  up.lose();
  const auto begin = up.now;
  const double k_up = k_of(top, up.window());
  up.round();
  for (int i = 1; i < 20; ++i) {
    const double t = static_cast<double>((up.now - begin).count()) * 1e-9;
    CHECK(std::abs(up.window() - curve(t, k_up, top)) < 1.5);
    up.round();
  }
}

// covers: 9438-9
TEST_CASE("after a timeout one segment, slow start to seven tenths, and a curve from there") {
  sender s(100);
  s.cc.on_timeout(s.now, s.cc.window(), true);
  CHECK(s.window() == 1);
  CHECK(s.cc.threshold() == 70000);
  while (s.window() < 70) s.round();
  const double begin = 70;
  double estimate = s.window();
  const auto from = s.now;
  for (int i = 0; i < 50; ++i) {
    // K is zero and W_max where congestion avoidance began; Reno's estimate begins there too.
    const double t = static_cast<double>((s.now - from).count()) * 1e-9;
    CHECK(s.window() >= std::max(estimate, curve(t, 0, begin)) - 1.5);
    CHECK(s.window() <= std::max(estimate, curve(t, 0, begin)) + 4);
    estimate += estimate >= 100 ? 1.0 : 3 * (1 - beta) / (1 + beta);
    s.round();
  }
}

// covers: 9438-10
TEST_CASE("a reduction that was a mistake leaves no trace on the curve") {
  for (const bool timeout : {false, true}) {
    CAPTURE(timeout);
    sender never(100), once(100);
    for (auto* s : {&never, &once}) {
      s->lose();
      for (int i = 0; i < 25; ++i) s->round();
    }
    if (timeout)
      once.cc.on_timeout(once.now, once.cc.window(), true);
    else
      once.cc.on_loss(once.now, once.cc.window());
    CHECK(once.cc.threshold() < never.cc.threshold() * 2);
    once.cc.undo();
    CHECK(once.window() == never.window());
    for (int i = 0; i < 40; ++i) {
      never.round();
      once.round();
      CHECK(std::abs(never.window() - once.window()) < 0.1);
    }
    once.cc.undo();  // once only
    CHECK(std::abs(never.window() - once.window()) < 0.1);
  }
}

// covers: 9438-11
TEST_CASE("below the threshold it is slow start, whatever the clock says") {
  sender s(10);
  s.cc.on_timeout(s.now, 80000, true);
  const auto threshold = s.cc.threshold();
  s.now += 100s;
  while (s.cc.window() < threshold) {
    const auto before = s.cc.window();
    s.cc.on_ack(s.now, mss, 100ms);
    CHECK(s.cc.window() == std::min(before + mss, threshold));
  }
}

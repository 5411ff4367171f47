// See congestion.hpp.
#include "stack/tcp/congestion.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

namespace weir::stack::tcp {
namespace {

constexpr float cubic_c = 0.4f;     // RFC 9438 5.1
constexpr float cubic_beta = 0.7f;  // RFC 9438 4.6
constexpr std::uint32_t max_window = 1u << 30;

}  // namespace

void congestion_control::start(congestion_algorithm algorithm, std::uint32_t mss,
                               std::uint32_t initial_window) {
  algorithm_ = algorithm;
  mss_ = mss;
  window_ = std::max(mss, initial_window);
}

void congestion_control::set_threshold(std::uint32_t bytes) {
  const bool before = searching();
  threshold_ = bytes;
  if (searching() == before) return;
  if (before)
    std::construct_at(&epoch_, cubic_epoch{cubic_epoch::none, 0, 0, 0});
  else
    std::construct_at(&start_);
}

void congestion_control::end_epoch() {
  if (!searching()) epoch_.clock_ns = cubic_epoch::none;
}

void congestion_control::pause(instant now) {
  if (searching() || epoch_.clock_ns < 0) return;
  epoch_.clock_ns = -2 - (now.ns() - epoch_.clock_ns);
}

void congestion_control::on_round_trip(seq una, seq next, std::uint32_t rtt_us) {
  // RFC 9406 4.3: in the first slow start only; later ones know where to stop.
  if (searching() && start_.on_ack(una, next, rtt_us)) set_threshold(window_);
}

void congestion_control::on_ack(instant now, std::uint32_t acked, duration rtt) {
  if (in_slow_start()) {
    // RFC 5681 3.1 (2), with the byte counting of RFC 3465 not limited to L=2: Linux's choice,
    // tempered by the ACK clock of receivers that coalesce.
    if (searching() && start_.conservative()) {
      set_window(window_ + std::max(1u, acked / hystart::growth_divisor));
      return;
    }
    const auto grow = std::min(acked, threshold_ - window_);
    set_window(window_ + grow);
    acked -= grow;
    if (acked == 0) return;
  }
  if (algorithm_ == congestion_algorithm::cubic) {
    cubic_increase(now, acked, rtt);
    return;
  }
  acked_ += acked;
  if (acked_ >= window_) {  // one segment a round trip
    acked_ -= window_;
    set_window(window_ + mss_);
  }
}

void congestion_control::cubic_increase(instant now, std::uint32_t acked, duration rtt) {
  const auto mss = static_cast<float>(mss_);
  const auto segments = static_cast<float>(window_) / mss;
  const auto acked_segments = static_cast<float>(acked) / mss;
  auto& e = epoch_;
  if (e.clock_ns == cubic_epoch::none) {
    e.clock_ns = now.ns();
    e.window_estimate = segments;
    e.prior = std::max(e.prior, segments);
    if (window_max_ < segments) window_max_ = segments;
    e.k = std::cbrt((window_max_ - segments) / cubic_c);
  } else if (e.clock_ns < 0) {
    e.clock_ns = now.ns() - (-2 - e.clock_ns);
  }
  const auto curve = [&](std::int64_t ns) {
    const auto d = static_cast<float>(static_cast<double>(ns) * 1e-9) - e.k;
    return cubic_c * d * d * d + window_max_;
  };
  const auto elapsed = now.ns() - e.clock_ns;
  const auto target = std::clamp(curve(elapsed + rtt.count()), segments, 1.5f * segments);
  // RFC 9438 4.3: alpha is 1 once the estimate has reached the window before the reduction.
  const auto alpha =
      e.window_estimate >= e.prior ? 1.0f : 3.0f * (1.0f - cubic_beta) / (1.0f + cubic_beta);
  e.window_estimate += alpha * acked_segments / segments;
  // Growth is kept in bytes, so that small steps add up. RFC 9438 4.3: where the curve lies below
  // what Reno would have, the window is Reno's.
  auto grow = (target - segments) / segments * acked_segments * mss;
  if (curve(elapsed) < e.window_estimate)
    grow = std::max(0.0f, (e.window_estimate - segments) * mss - static_cast<float>(acked_) / 256);
  const auto whole = static_cast<std::uint32_t>(grow);
  acked_ += static_cast<std::uint32_t>((grow - static_cast<float>(whole)) *
                                       256.0f);  // the fraction, in 1/256 byte
  set_window(window_ + whole + acked_ / 256);
  acked_ %= 256;
}

std::uint32_t congestion_control::reduced(std::uint32_t flight) const {
  const auto share = algorithm_ == congestion_algorithm::cubic
                         ? static_cast<std::uint32_t>(static_cast<float>(flight) * cubic_beta)
                         : flight / 2;
  return std::max(share, 2 * mss_);
}

void congestion_control::reduce(std::uint32_t flight) {
  const auto segments = static_cast<float>(window_) / static_cast<float>(mss_);
  // RFC 9438 4.7, fast convergence: a flow that is pushed down twice makes room.
  window_max_ = segments < window_max_ ? segments * (1.0f + cubic_beta) / 2.0f : segments;
  acked_ = 0;
  // CUBIC reduces what it could have sent (RFC 9438 4.6), Reno what it had out.
  set_threshold(reduced(algorithm_ == congestion_algorithm::cubic ? window_ : flight));
  end_epoch();
  epoch_.prior = segments;
}

void congestion_control::remember() {
  if (before_ == nullptr) before_ = std::make_unique<before_reduction>();
  before_->window = window_;
  before_->threshold = threshold_;
  before_->window_max = window_max_;
  if (!searching()) before_->epoch = epoch_;
}

void congestion_control::on_loss(instant, std::uint32_t flight) {
  remember();
  reduce(flight);
}

std::uint32_t congestion_control::on_mark(instant now, std::uint32_t flight) {
  const auto before = window_;
  on_loss(now, flight);
  before_->window = 0;  // a mark is never a mistake
  const auto share = algorithm_ == congestion_algorithm::cubic
                         ? static_cast<std::uint32_t>(static_cast<float>(before) * cubic_beta)
                         : before / 2;
  return std::clamp(share, mss_, threshold_);
}

void congestion_control::on_timeout(instant, std::uint32_t flight, bool first) {
  if (first) {
    remember();
    reduce(flight);
  }
  end_epoch();
  // RFC 9438 4.8: congestion avoidance after it begins at its own plateau, with K zero.
  window_max_ = 0;
  window_ = mss_;
}

void congestion_control::set_window(std::uint32_t bytes) {
  window_ = std::clamp(bytes, mss_, max_window);
}

void congestion_control::restart_after_idle(std::uint32_t restart_window) {
  end_epoch();
  // What the path carried is remembered in the threshold (RFC 2861's idea, as Linux).
  set_threshold(std::max(threshold_, window_ / 4 * 3));
  window_ = std::min(window_, restart_window);
}

void congestion_control::forget_unused(std::uint32_t initial_window) {
  if (window_ <= initial_window) return;
  end_epoch();
  set_threshold(std::max(threshold_, window_ / 4 * 3));
  window_ = std::max(window_ / 2, initial_window);
}

void congestion_control::undo() {
  if (before_ == nullptr || before_->window == 0) return;
  set_window(std::max(window_, before_->window));
  set_threshold(std::max(threshold_, before_->threshold));
  // RFC 9438 4.9: the curve goes on where it was.
  window_max_ = before_->window_max;
  if (!searching()) epoch_ = before_->epoch;
  before_->window = 0;
}

void congestion_control::set_mss(std::uint32_t mss) {
  // RFC 5681 3.1: a window counted in old segments shrinks with them when path MTU discovery cut
  // them.
  if (mss < mss_)
    window_ = std::max(mss, static_cast<std::uint32_t>(std::uint64_t{window_} * mss / mss_));
  mss_ = mss;
}

}  // namespace weir::stack::tcp

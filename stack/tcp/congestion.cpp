// See congestion.hpp.
#include "tcp/congestion.hpp"

#include <algorithm>
#include <cmath>

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

void congestion_control::on_ack(instant now, std::uint32_t acked, duration rtt) {
  if (in_slow_start()) {
    // RFC 5681 3.1 (2), with the byte counting of RFC 3465 not limited to L=2: Linux's choice,
    // tempered by the ACK clock of receivers that coalesce.
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
  if (epoch_ns_ < 0) {
    epoch_ns_ = now.ns();
    epoch_window_ = segments;
    window_estimate_ = segments;
    if (window_max_ < segments) window_max_ = segments;
    k_ = std::cbrt((window_max_ - segments) / cubic_c);
  }
  const auto t = static_cast<float>(static_cast<double>(now.ns() - epoch_ns_ + rtt.count()) * 1e-9);
  const auto d = t - k_;
  auto target = std::clamp(cubic_c * d * d * d + window_max_, segments, 1.5f * segments);
  // RFC 9438 4.3: alpha is 1 once the estimate has reached the window before the reduction.
  const auto alpha =
      window_estimate_ >= window_max_ ? 1.0f : 3.0f * (1.0f - cubic_beta) / (1.0f + cubic_beta);
  window_estimate_ += alpha * acked_segments / segments;
  // Growth is kept in bytes, so that small steps add up.
  auto grow = (target - segments) / segments * acked_segments * mss;
  if (window_estimate_ > target) grow = std::max(0.0f, (window_estimate_ - segments) * mss);
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

void congestion_control::note_reduction() {
  const auto segments = static_cast<float>(window_) / static_cast<float>(mss_);
  // RFC 9438 4.7, fast convergence: a flow that is pushed down twice makes room.
  window_max_ = segments < window_max_ ? segments * (1.0f + cubic_beta) / 2.0f : segments;
  epoch_ns_ = -1;
  acked_ = 0;
}

void congestion_control::on_loss(instant, std::uint32_t flight) {
  undo_window_ = window_;
  undo_threshold_ = threshold_;
  note_reduction();
  // CUBIC reduces what it could have sent (RFC 9438 4.6), Reno what it had out.
  threshold_ = reduced(algorithm_ == congestion_algorithm::cubic ? window_ : flight);
}

std::uint32_t congestion_control::on_mark(instant now, std::uint32_t flight) {
  const auto before = window_;
  on_loss(now, flight);
  undo_window_ = 0;  // a mark is never a mistake
  const auto share = algorithm_ == congestion_algorithm::cubic
                         ? static_cast<std::uint32_t>(static_cast<float>(before) * cubic_beta)
                         : before / 2;
  return std::clamp(share, mss_, threshold_);
}

void congestion_control::on_timeout(instant, std::uint32_t flight, bool first) {
  if (first) {
    undo_window_ = window_;
    undo_threshold_ = threshold_;
    note_reduction();
    threshold_ = reduced(algorithm_ == congestion_algorithm::cubic ? window_ : flight);
  }
  epoch_ns_ = -1;
  window_ = mss_;
}

void congestion_control::set_window(std::uint32_t bytes) {
  window_ = std::clamp(bytes, mss_, max_window);
}

void congestion_control::restart_after_idle(std::uint32_t restart_window) {
  epoch_ns_ = -1;
  // What the path carried is remembered in the threshold (RFC 2861's idea, as Linux).
  threshold_ = std::max(threshold_, window_ / 4 * 3);
  window_ = std::min(window_, restart_window);
}

void congestion_control::undo() {
  if (undo_window_ == 0) return;
  set_window(std::max(window_, undo_window_));
  threshold_ = std::max(threshold_, undo_threshold_);
  epoch_ns_ = -1;
  undo_window_ = 0;
}

void congestion_control::set_mss(std::uint32_t mss) {
  // RFC 5681 3.1: a window counted in old segments shrinks with them when path MTU discovery cut
  // them.
  if (mss < mss_)
    window_ = std::max(mss, static_cast<std::uint32_t>(std::uint64_t{window_} * mss / mss_));
  mss_ = mss;
}

}  // namespace weir::stack::tcp

// Explicit congestion notification (RFC 3168): the receiver's echo of a mark until the sender says
// that it has slowed down, and the sender's answer to the echo, once per window. Which segments are
// marked as capable is send.cpp's; what a reduction amounts to is congestion.cpp's. See
// connection.hpp.
#include "stack/tcp/connection.hpp"

namespace weir::stack::tcp {
namespace {

/// Below so many segments a proportional reduction has nothing to spread: the window drops at once.
constexpr std::uint32_t spread_from = 5;

}  // namespace

void connection::note_marks(context& ctx, const wire::tcp_segment& segment) {
  // RFC 3168 6.1.3, in this order: CWR ends the echo of older marks, a mark begins it anew. Only
  // acceptable segments get here (6.1.5), and only data counts.
  if (segment.payload.empty()) return;
  if (segment.has(wire::cwr) && ecn_echo_) {
    ecn_echo_ = false;
    ack_ = ack_need::now;  // a window of one segment waits for it
  }
  if (segment.ecn != static_cast<std::uint8_t>(wire::ecn_mark::ce)) return;
  ctx.counters.add(counter::ecn_marks_received);
  if (!ecn_echo_) ack_ = ack_need::now;
  ecn_echo_ = true;
}

void connection::note_reduction() {
  // RFC 3168 6.1.2: whatever the reason was, the peer is told with the next new data.
  reduced_end_ = snd_.nxt;
  cwr_due_ = ecn_ok_;
}

void connection::on_congestion_echo(context& ctx, std::uint32_t flight_before) {
  // Once per window: the echo goes on until our CWR has arrived, which rides on what follows
  // reduced_end_.
  if (snd_.una <= reduced_end_ || flight_before == 0) return;
  ctx.counters.add(counter::ecn_reductions);
  if (congestion_.window() <= mss_) {
    // RFC 3168 6.1.2, RFC 9438 4.6: a window of one segment cannot shrink, so the rate does: the
    // next segment waits for a whole timeout.
    note_reduction();
    const auto next = ctx.now + current_rto();
    setbacks_.change().pace_at = next;
    if (!snd_.idle()) timers_.arm(timer::retransmit, next);
    return;
  }
  auto& s = setbacks_.change();
  s.prr_flight = std::max(flight_before, 1u);
  s.prr_delivered = s.prr_out = 0;
  const auto target = congestion_.on_mark(ctx.now, flight_before);
  note_reduction();
  if (target < congestion_.threshold() || target < spread_from * mss_ || snd_.idle()) {
    congestion_.set_window(target);
    return;
  }
  congestion_state_ = congestion_state::reduced;
  reduce_by_rate(0, false);
}

}  // namespace weir::stack::tcp

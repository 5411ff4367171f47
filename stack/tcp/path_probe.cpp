// What the path carries: routers' word about it (RFC 1191, RFC 8201), and where there is none,
// black holes suspected after repeated timeouts and probes that are ordinary data in a longer
// packet (RFC 4821). See connection.hpp and path_search.hpp.
#include <algorithm>
#include <array>

#include "stack/tcp/connection.hpp"

namespace weir::stack::tcp {
namespace {

constexpr std::uint16_t least_v4 = 68;    // RFC 791; RFC 4821 7.7
constexpr std::uint16_t least_v6 = 1280;  // RFC 8200 5
/// RFC 4821 7.4: so many segments follow a probe, so that its loss is noticed without a timeout.
constexpr std::uint32_t followers = 4;
/// A window that has room for a probe, its followers and the acknowledgement clock (Linux's 11).
constexpr std::uint32_t least_window = 11;

}  // namespace

void connection::cut_to(std::uint16_t mtu) {
  mtu_ = mtu;
  set_mss(peer_mss_);
}

void connection::start_path_search() {
  // RFC 4821 7.2: with suspicion from the start, the search begins at a size that nearly every path
  // carries.
  if (options_->probing != path_probing::always) return;
  const auto least = flow_.local.address.is_v4() ? least_v4 : least_v6;
  const auto base = std::min(std::max(options_->probe_base, least), mtu_);
  setbacks_.change().path.begin(base, mtu_);
  mtu_ = base;
}

void connection::send_path_probe(context& ctx) {
  const bool calm = congestion_state_ == congestion_state::open && !fin_sent_ &&
                    board_.sacked() + reno_sacked_ == 0 && board_.lost() == 0 && !has_sack() &&
                    may_send() && congestion_.window() >= least_window * mss_ &&
                    setbacks_->pace_at <= ctx.now;
  if (!calm || setbacks_->path.probing()) return;
  // RFC 8201 5.4: never beyond what the peer takes.
  const auto fixed = static_cast<std::uint16_t>(headers() - (timestamps_ ? 12 : 0));
  const auto limit = static_cast<std::uint16_t>(std::min<std::uint32_t>(
      ctx.out.path_limit(ctx.now, flow_.remote.address), std::uint32_t{peer_mss_} + fixed));
  std::uint32_t size = setbacks_.change().path.next(ctx.now, rtt_.smoothed(), limit);
  const auto edge = snd_.una + snd_.wnd;
  if (size == 0 || edge <= snd_.nxt) return;
  // What is there to be sent may be less than the search asks for: a smaller step is one too.
  const auto there = std::min(span_of(snd_.nxt, data_end()), span_of(snd_.nxt, edge));
  if (there < followers * mss_) return;
  size = std::min(size, there - followers * mss_ + headers());
  const auto step =
      std::max<std::uint32_t>((setbacks_->path.high() - setbacks_->path.low()) / 4u, 1);
  if (size < mtu_ + step) return;
  const auto bytes = size - headers();
  if (flight() + bytes > congestion_.window()) return;
  // One packet: its bytes must not be scattered over more parts than one can gather.
  std::array<std::span<const std::byte>, ip_layer::max_parts> parts;
  std::size_t count = 0;
  if (out_.gather(snd_.out(), bytes, parts, count) < bytes) return;
  if (!board_.reserve(ctx.pool)) return;
  const auto from = snd_.nxt;
  board_.push(from, bytes, ctx.now, false, true);
  snd_.nxt += bytes;
  setbacks_.change().path.sent(static_cast<std::uint16_t>(size), from);
  ctx.counters.add(counter::path_probes_sent);
  emit_data(ctx, from, bytes, false, transmission::path_probe);
  const auto runs = timers_.about_sent();
  if (runs == timer::none || runs == timer::persist || runs == timer::tail_probe)
    arm_retransmit(ctx);
}

bool connection::path_probe_lost(context& ctx) {
  const auto start = setbacks_->path.probe_start();
  const sent_record* record = nullptr;
  for (std::uint32_t i = 0; i < board_.count() && record == nullptr; ++i)
    if (board_[i].has(sent_record::probe) && board_[i].start >= start) record = &board_[i];
  if (record == nullptr || record->has(sent_record::sacked)) {
    // It arrived, and never was thought lost: packets of that size go through. The window in bytes
    // stays as it is (RFC 4821 4).
    setbacks_.change().path.arrived(ctx.now);
    cut_to(setbacks_->path.low());
    path_news_ = true;
    return false;
  }
  if (!record->has(sent_record::lost)) return false;
  const bool alone = board_.lost() == record->length;
  ctx.counters.add(counter::path_probes_lost);
  setbacks_.change().path.lost(ctx.now);
  output_due_ = true;
  return alone;
}

void connection::on_suspected_black_hole(context& ctx) {
  // RFC 4821 7.7: nothing of the oldest data arrives, however often it is sent. If it is long, the
  // length may be why; each further timeout halves it.
  if (options_->probing == path_probing::off || board_.empty()) return;
  const bool v4 = flow_.local.address.is_v4();
  const auto least = v4 ? least_v4 : least_v6;
  const auto base = std::max(options_->probe_base, least);
  const auto smaller = std::max(mtu_ > base ? base : static_cast<std::uint16_t>(mtu_ / 2), least);
  const auto before = mss_;
  if (smaller >= mtu_ || board_[0].length + headers() <= smaller) return;
  const auto high = std::max(setbacks_->path.high(), mtu_);
  cut_to(smaller);
  if (mss_ == before) return;
  if (!path_suspect_) ctx.counters.add(counter::path_black_holes);
  path_suspect_ = true;
  // An outage looks the same: the first probe of all, once something arrives, is of the old size.
  setbacks_.change().path.begin(smaller, high);
}

void connection::learn_path_mtu(context& ctx) {
  // RFC 8201 5.2: what another connection was told concerns this one too. A packet that is too
  // large is lost in any case, so a loss is the time to ask.
  const auto known = ctx.out.path_mtu(ctx.now, flow_.remote.address);
  if (known < mtu_) on_path_mtu(ctx, known);
}

void connection::on_path_mtu(context& ctx, std::uint16_t mtu) {
  if (mtu >= mtu_) return;
  ctx.counters.add(counter::path_mtu_lowered);
  if (options_->probing != path_probing::off) setbacks_.change().path.settle(mtu, ctx.now);
  if (!synchronized()) {
    mtu_ = mtu;
    return;
  }
  const auto before = mss_;
  cut_to(mtu);
  if (mss_ == before) return;
  // RFC 1191 6.5: what was too large is sent again at once and cut anew, once for each decrease,
  // and this is no congestion.
  for (std::uint32_t i = 0; i < board_.count(); ++i)
    if (!board_[i].has(sent_record::sacked) && board_[i].length > mss_) board_.mark_lost(i);
  output_due_ = true;
}

}  // namespace weir::stack::tcp

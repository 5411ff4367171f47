// See receiver.hpp.
#include "stack/tcp/receiver.hpp"

#include <algorithm>
#include <chrono>

namespace weir::stack::tcp {

void receiver::prepare(std::uint32_t receive_buffer, std::uint8_t shift) {
  space_ = std::max<std::uint32_t>(1, std::min(receive_buffer, initial_receive_space));
  shift_ = shift & 15;
}

void receiver::begin(seq irs, std::uint32_t window) {
  irs_ = irs;
  next_ = told_ = irs + 1;
  edge_ = next_ + window;
}

void receiver::start(std::uint32_t mss, instant now) {
  mss_ = std::min(mss, space_);
  tuned_at_ = now;
}

bool receiver::acceptable(seq sequence, std::uint32_t length) const {
  const auto left = window();
  if (length == 0) {
    if (left == 0) return sequence == next_;
    return next_ <= sequence && sequence < edge_;
  }
  if (left == 0) return false;
  const auto last = sequence + (length - 1);
  return (next_ <= sequence && sequence < edge_) || (next_ <= last && last < edge_) ||
         (sequence < next_ && last >= edge_);
}

// --- What arrives.

std::pair<seq, seq> receiver::held_part(seq at, std::size_t length) const {
  const auto from = queue_.next_offset() + span_of(next_, at);
  const auto to = from + length;
  const auto held = queue_.ranges();
  const auto found =
      std::upper_bound(held.begin(), held.end(), from,
                       [](std::uint64_t value, const auto& r) { return value < r.end; });
  if (found == held.end() || found->begin >= to) return {at, at};
  const auto place = [&](std::uint64_t offset) {
    return at + static_cast<std::uint32_t>(offset - from);
  };
  return {place(std::max(found->begin, from)), place(std::min(found->end, to))};
}

bool receiver::end_at(seq at) {
  if (end_seen_) return false;
  end_seen_ = true;
  end_ = at;
  return true;
}

void receiver::take_end() {
  ended_ = true;
  next_ += 1;
}

// --- The window.

std::uint32_t receiver::select_window(const buffer::memory_account& memory) {
  const auto unit = 1u << shift_;
  auto space = std::min<std::uint64_t>(free_space(), std::uint64_t{65535} << shift_);
  if (memory.pressure()) {
    // Two segments out of the reserve for who reads what comes.
    const auto least = queue_.readable() == 0 ? std::uint64_t{2} * mss_ : 0;
    space = std::min(space, std::max(memory.share(), least));
  }
  const auto rounded = static_cast<std::uint32_t>(space) & ~(unit - 1);
  if (rounded >= window() + step()) edge_ = next_ + rounded;
  auto left = window();
  if ((left & (unit - 1)) != 0) {
    // What was advertised is honoured; a remainder that the shift cannot say is rounded up while
    // there is room.
    if (space >= unit) {
      left = std::min((left | (unit - 1)) + 1, 65535u << shift_);
      edge_ = later(edge_, next_ + left);
    } else {
      left &= ~(unit - 1);
    }
  }
  return std::min(left, 65535u << shift_);
}

void receiver::tune(const context& ctx, std::uint32_t most) {
  if (taken_ > space_ / 2 && space_ < most && !ctx.pool.account().pressure()) {
    const auto wanted = std::min<std::uint64_t>(std::uint64_t{taken_} * 2 + 16 * mss_, most);
    space_ = std::max(space_, static_cast<std::uint32_t>(wanted));
  }
  taken_ = 0;
  tuned_at_ = ctx.now;
}

// --- Selective acknowledgement.

// The range beyond a gap that holds `at`; ranges() where none does.
std::size_t receiver::range_of(seq at) const {
  const auto held = queue_.ranges();
  if (at < next_) return held.size();
  const auto offset = queue_.next_offset() + span_of(next_, at);
  const auto found =
      std::upper_bound(held.begin(), held.end(), offset,
                       [](std::uint64_t value, const auto& r) { return value < r.end; });
  if (found == held.end() || found->begin > offset) return held.size();
  return static_cast<std::size_t>(found - held.begin());
}

void receiver::report_first(setbacks_ref& marks, seq at) const {
  // What was reported of late is repeated, so that each block is told several times. What has grown
  // together with this range needs no place of its own.
  const auto range = range_of(at);
  if (range == ranges()) return;
  std::size_t kept = 1;
  std::array<seq, 4> fresh{at, at, at, at};
  for (const auto mark : marks->reported) {
    const auto other = range_of(mark);
    if (other != range && other != ranges() && kept < fresh.size()) fresh[kept++] = mark;
  }
  marks.change().reported = fresh;
}

void receiver::write_sack(wire::tcp_option_set& options, const setbacks& marks,
                          std::size_t room) const {
  if (room == 0) return;
  const auto held = queue_.ranges();
  std::size_t n = 0;
  if (marks.has_duplicate())
    options.sack[n++] = {marks.duplicate_from.raw(), marks.duplicate_to.raw()};
  std::size_t listed[4];
  std::size_t count = 0;
  const auto add = [&](std::size_t i) {
    if (n == room || i >= held.size() || std::find(listed, listed + count, i) != listed + count)
      return;
    listed[count++] = i;
    const auto as_seq = [&](std::uint64_t offset) {
      return next_ + static_cast<std::uint32_t>(offset - queue_.next_offset());
    };
    options.sack[n++] = {as_seq(held[i].begin).raw(), as_seq(held[i].end).raw()};
  };
  for (const auto mark : marks.reported) add(range_of(mark));
  for (auto i = held.size(); i-- > 0 && n < room;) add(i);
  options.sack_count = static_cast<std::uint8_t>(n);
}

}  // namespace weir::stack::tcp

// The receive side of a connection: its sequence space (RFC 9293 3.3.1), the queue behind it, the
// window that it offers, the size that it is tuned to, and what SACK blocks say of it. Which
// segments get here and when they are acknowledged is receive.cpp's.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "stack/buffer/receive_queue.hpp"
#include "stack/tcp/context.hpp"
#include "stack/tcp/seq.hpp"
#include "stack/tcp/setbacks.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

/// What the window of a connection is before a round trip has shown what is needed.
inline constexpr std::uint32_t initial_receive_space = 65536;

class receiver {
 public:
  // --- Opening.
  /// Before the peer's SYN: the buffer, and the window shift that is offered (RFC 7323 2.2).
  void prepare(std::uint32_t receive_buffer, std::uint8_t shift);
  /// The peer's SYN has come; `window` was offered beside it.
  void begin(seq irs, std::uint32_t window);
  /// The peer does not scale windows.
  void unscaled() { shift_ = 0; }
  /// The handshake is over.
  void start(std::uint32_t mss, instant now);

  // --- Sequence numbers.
  seq irs() const { return irs_; }
  seq next() const { return next_; }
  /// The right end of what was ever advertised.
  seq edge() const { return edge_; }
  /// What the peer has been told of (RFC 7323 4.3: Last.ACK.sent).
  seq told() const { return told_; }
  void tell() { told_ = next_; }
  std::uint32_t window() const { return span_of(next_, later(next_, edge_)); }
  /// RFC 9293 3.10.7.4, the four cases.
  bool acceptable(seq sequence, std::uint32_t length) const;

  // --- What arrives.
  struct arrival {
    std::uint32_t advanced = 0;  ///< bytes that are in order now
    bool first = false;          ///< nothing was readable before
    bool refused = false;        ///< for want of memory, or of ranges
    bool duplicate = false;      ///< every byte was here already
    bool beyond = false;         ///< more is held beyond a gap than before
  };
  /// Stores `bytes`, which begin at `at` within the window.
  arrival store(context& ctx, seq at, std::span<const std::byte> bytes);
  /// A segment of `size` bytes came, more than any before.
  void note_size(std::uint32_t size) { mss_ = std::max(mss_, size); }
  /// Whether something is held beyond a gap.
  bool has_gap() const { return queue_.out_of_order() > 0; }
  /// The first part of [at, at + length) that is held beyond a gap; empty where nothing is.
  std::pair<seq, seq> held_part(seq at, std::size_t length) const;

  // --- The end.
  /// A FIN stands at `at`; false if the end was known already.
  bool end_at(seq at);
  bool end_seen() const { return end_seen_; }
  seq end() const { return end_; }
  /// Everything before the end is here, but the end itself was not taken yet.
  bool at_end() const { return end_seen_ && !ended_ && next_ == end_; }
  void take_end();
  /// The end, and everything before it, has arrived.
  bool ended() const { return ended_; }

  // --- The window.
  /// What the window field says, before its shift: the edge moves right by a segment or half the
  /// buffer at least (RFC 9293 3.8.6.2.2), and never left (SHLD-14).
  std::uint32_t select_window(const buffer::memory_account& memory);
  /// Whether the window could be twice what the peer believes it to be.
  bool window_moved() const {
    const auto left = window();
    const auto space = free_space();
    return space >= left + step() && space / 2 >= left;
  }
  std::uint8_t shift() const { return shift_; }
  std::uint32_t space() const { return space_; }
  std::uint32_t mss() const { return mss_; }
  /// `n` bytes were read: what the reader takes in a round trip must fit twice, or the window would
  /// be the limit (Linux's dynamic right-sizing).
  void note_read(const context& ctx, std::size_t n, duration round_trip, std::uint32_t most) {
    taken_ += static_cast<std::uint32_t>(n);
    if (ctx.now - tuned_at_ >= std::max<duration>(round_trip, std::chrono::microseconds(100)))
      tune(ctx, most);
  }
  /// Since when what is readable has found no reader, roughly.
  instant tuned_at() const { return tuned_at_; }

  // --- Selective acknowledgement.
  /// The range around `at` is the next to be told of (RFC 2018 4).
  void report_first(setbacks_ref& marks, seq at) const;
  /// How many ranges lie beyond gaps.
  std::size_t ranges() const { return queue_.ranges().size(); }
  /// Writes up to `room` blocks: a duplicate first, once (RFC 2883 4), then the range that the
  /// newest segment belongs to, those reported before it, and any others.
  void write_sack(wire::tcp_option_set& options, const setbacks& marks, std::size_t room) const;

  buffer::receive_queue& queue() { return queue_; }
  const buffer::receive_queue& queue() const { return queue_; }

 private:
  std::uint32_t free_space() const {
    auto used = queue_.readable();
    // What is lent is not free, and counts at half its true size at least: the queue is charged for
    // twice the window at most, so that the window closes before the memory is refused.
    if (const auto lent = queue_.lent(); lent != 0)
      used = std::max(used + lent, queue_.charged() / 2);
    return used < space_ ? space_ - used : 0;
  }
  void tune(const context& ctx, std::uint32_t most);
  std::uint32_t step() const { return std::max(1u, std::min(space_ / 2, mss_)); }
  std::size_t range_of(seq at) const;

  buffer::receive_queue queue_;
  instant tuned_at_;
  seq irs_, next_, edge_, told_, end_;
  std::uint32_t space_ = initial_receive_space;  // the buffer as tuned so far
  std::uint32_t mss_ = 536;     // the largest segment seen: behind "every second segment"
  std::uint32_t taken_ = 0;     // what the reader took since tuned_at_
  std::uint8_t shift_ : 4 = 0;  // 14 at most (RFC 7323 2.3)
  bool end_seen_ : 1 = false;   // a FIN came, perhaps beyond a gap
  bool ended_ : 1 = false;
};

// Inline: every segment with data comes this way (a call costs 1% of a round trip of 64 bytes).
[[gnu::always_inline]] inline receiver::arrival receiver::store(context& ctx, seq at,
                                                                std::span<const std::byte> bytes) {
  using status = buffer::receive_queue::status;
  arrival out;
  const auto before = queue_.next_offset();
  const auto beyond_before = queue_.out_of_order();
  out.first = queue_.readable() == 0;
  auto limit = 2 * space_ + 2 * 2080;
  if (const auto& memory = ctx.pool.account(); memory.pressure())
    limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(limit, memory.receive_share()));
  auto outcome = queue_.insert(ctx.pool, before + span_of(next_, at), bytes, limit, ctx.stays);
  // What lies beyond a gap must not keep out what fills it, or the connection would stand still: it
  // goes, from the far end (RFC 2018 8).
  while (outcome == status::no_memory && at == next_ && queue_.drop_farthest(ctx.pool)) {
    ctx.counters.add(counter::drop_tcp_memory);
    const auto stored = static_cast<std::size_t>(queue_.next_offset() - before);
    if (stored >= bytes.size()) break;
    outcome = queue_.insert(ctx.pool, queue_.next_offset(), bytes.subspan(stored), limit);
  }
  out.advanced = static_cast<std::uint32_t>(queue_.next_offset() - before);
  out.refused = outcome == status::no_memory || outcome == status::no_range;
  out.duplicate = outcome == status::duplicate;
  out.beyond = queue_.out_of_order() > beyond_before;
  next_ += out.advanced;
  return out;
}

}  // namespace weir::stack::tcp

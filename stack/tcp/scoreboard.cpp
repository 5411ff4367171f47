// See scoreboard.hpp.
#include "stack/tcp/scoreboard.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <utility>

namespace weir::stack::tcp {
namespace {

/// Records of one instant are joined up to this many bytes: no more than one retransmission can
/// carry.
constexpr std::uint32_t max_record = 61440;

}  // namespace

bool scoreboard::reserve(buffer::chunk_pool& pool) {
  const auto [first, count, sacked, lost, retransmitted, highest_sacked] = seen();
  if (first + count < capacity()) return true;
  const auto wanted = store_ == nullptr ? std::size_t{1} : std::size_t{store_->capacity()} + 1;
  const bool largest = wanted > buffer::chunk_pool::capacities.back();
  if (store_ != nullptr && (first >= capacity() / 2 || (largest && first > 0))) {
    std::memmove(records(), records() + first, count * sizeof(sent_record));
    mine().first = 0;
    return true;
  }
  if (largest) return false;
  auto* fresh = pool.take(wanted);
  if (fresh == nullptr) return false;
  auto* old = std::exchange(store_, fresh);
  ::new (static_cast<void*>(store_->data()))
      totals{0, count, sacked, lost, retransmitted, highest_sacked};
  if (old != nullptr) {
    const auto* from = reinterpret_cast<const sent_record*>(old->data() + sizeof(totals)) + first;
    std::memcpy(records(), from, count * sizeof(sent_record));
    pool.give(old);
  }
  return true;
}

void scoreboard::push(seq start, std::uint32_t length, instant now, bool with_fin, bool probe) {
  if (seen().count > 0 && !probe) {
    auto& last = (*this)[seen().count - 1];
    if (last.sent == now && last.flags == 0 && last.end() == start &&
        last.length + length <= max_record) {
      last.length += length;
      if (with_fin) last.flags |= sent_record::fin;
      return;
    }
  }
  assert(seen().first + seen().count < capacity());
  records()[seen().first + seen().count] = {
      now, start, length,
      static_cast<std::uint8_t>((with_fin ? sent_record::fin : 0) |
                                (probe ? sent_record::probe : 0))};
  ++mine().count;
}

void scoreboard::unaccount(const sent_record& r) {
  if (r.has(sent_record::sacked)) mine().sacked -= r.length;
  if (r.has(sent_record::lost)) mine().lost -= r.length;
  if (r.has(sent_record::retransmitted)) mine().retransmitted -= r.length;
}

void scoreboard::deliver(sent_record& r, ack_outcome& outcome) {
  outcome.delivered += r.length;
  if (r.sent > outcome.newest_sent ||
      (r.sent == outcome.newest_sent && r.end() > outcome.newest_end)) {
    outcome.newest_sent = r.sent;
    outcome.newest_end = r.end();
    outcome.newest_retransmitted = r.has(sent_record::ever_retransmitted);
  }
  if (!r.has(sent_record::ever_retransmitted)) {
    outcome.clean_sent = std::max(outcome.clean_sent, r.sent);
    if (outcome.any_sacked && r.end() < outcome.highest_sacked) outcome.reordered = true;
  }
}

void scoreboard::acknowledge(buffer::chunk_pool& pool, seq una, ack_outcome& outcome) {
  const auto clean_before = outcome.clean_sent;
  bool held_up = false;
  while (seen().count > 0) {
    auto& r = (*this)[0];
    if (r.start >= una) break;
    if (r.end() > una) {  // a part of it, wherever the peer's segments were cut
      auto front = r;
      front.length = span_of(r.start, una);
      front.flags &= static_cast<std::uint8_t>(~sent_record::fin);
      if (!front.has(sent_record::sacked)) {
        deliver(front, outcome);
        held_up = held_up || front.has(sent_record::ever_retransmitted);
      }
      unaccount(front);
      r.length -= front.length;
      r.start = una;
      break;
    }
    if (!r.has(sent_record::sacked)) {
      deliver(r, outcome);
      held_up = held_up || r.has(sent_record::ever_retransmitted);
    }
    unaccount(r);
    ++mine().first;
    --mine().count;
  }
  // What was sent once may have arrived long ago and waited behind what was sent again: when it was
  // sent says nothing about the path (Karn; RFC 6298 3).
  if (held_up) outcome.clean_sent = clean_before;
  if (seen().count == 0) clear(pool);
}

void scoreboard::sack(buffer::chunk_pool& pool, seq left, seq right, ack_outcome& outcome) {
  // Records are sorted: find the first that ends beyond `left`.
  std::uint32_t low = 0;
  auto high = seen().count;
  while (low < high) {
    const auto middle = (low + high) / 2;
    if ((*this)[middle].end() <= left)
      low = middle + 1;
    else
      high = middle;
  }
  for (auto i = low; i < seen().count && (*this)[i].start < right; ++i) {
    if ((*this)[i].has(sent_record::sacked)) continue;
    if ((*this)[i].start < left) {
      if (!split(pool, i, span_of((*this)[i].start, left))) return;
      continue;
    }
    if ((*this)[i].end() > right && !split(pool, i, span_of((*this)[i].start, right))) return;
    auto& r = (*this)[i];
    deliver(r, outcome);
    outcome.newly_sacked += r.length;
    unaccount(r);
    r.flags = static_cast<std::uint8_t>(
        (r.flags & ~(sent_record::lost | sent_record::retransmitted)) | sent_record::sacked);
    if (seen().sacked == 0 || r.end() > seen().highest_sacked) mine().highest_sacked = r.end();
    mine().sacked += r.length;
  }
}

void scoreboard::mark_lost(std::uint32_t i) {
  auto& r = (*this)[i];
  if (r.has(sent_record::retransmitted)) unmark_retransmitted(i);
  if (r.has(sent_record::lost) || r.has(sent_record::sacked)) return;
  r.flags |= sent_record::lost;
  mine().lost += r.length;
}

void scoreboard::mark_retransmitted(std::uint32_t i, instant now) {
  auto& r = (*this)[i];
  if (!r.has(sent_record::retransmitted)) mine().retransmitted += r.length;
  r.flags |= sent_record::retransmitted | sent_record::ever_retransmitted;
  r.sent = now;
}

void scoreboard::unmark_retransmitted(std::uint32_t i) {
  auto& r = (*this)[i];
  if (!r.has(sent_record::retransmitted)) return;
  r.flags &= static_cast<std::uint8_t>(~sent_record::retransmitted);
  mine().retransmitted -= r.length;
}

void scoreboard::mark_all_lost(bool forget_sacks) {
  for (std::uint32_t i = 0; i < seen().count; ++i) {
    auto& r = (*this)[i];
    if (forget_sacks && r.has(sent_record::sacked)) {
      mine().sacked -= r.length;
      r.flags &= static_cast<std::uint8_t>(~sent_record::sacked);
    }
    if (!r.has(sent_record::sacked)) mark_lost(i);
  }
}

void scoreboard::unmark_all_lost() {
  for (std::uint32_t i = 0; i < seen().count; ++i) {
    auto& r = (*this)[i];
    if (r.has(sent_record::lost)) mine().lost -= r.length;
    unmark_retransmitted(i);
    r.flags &= static_cast<std::uint8_t>(~sent_record::lost);
  }
}

std::uint32_t scoreboard::first_to_retransmit() const {
  if (seen().lost == 0) return seen().count;
  for (std::uint32_t i = 0; i < seen().count; ++i) {
    const auto& r = (*this)[i];
    if (r.has(sent_record::lost) && !r.has(sent_record::retransmitted)) return i;
  }
  return seen().count;
}

bool scoreboard::split(buffer::chunk_pool& pool, std::uint32_t i, std::uint32_t length) {
  if (!reserve(pool)) return false;
  auto* at = records() + seen().first + i;
  assert(length > 0 && length < at->length);
  std::memmove(at + 1, at, (seen().count - i) * sizeof(sent_record));
  ++mine().count;
  at->length = length;
  at->flags &= static_cast<std::uint8_t>(~sent_record::fin);
  at[1].start = at[1].start + length;
  at[1].length -= length;
  return true;
}

void scoreboard::clear(buffer::chunk_pool& pool) {
  if (store_ != nullptr) pool.give(std::exchange(store_, nullptr));
}

}  // namespace weir::stack::tcp

// See scoreboard.hpp.
#include "tcp/scoreboard.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace weir::stack::tcp {
namespace {

/// Records of one instant are joined up to this many bytes: no more than one retransmission can
/// carry.
constexpr std::uint32_t max_record = 61440;

}  // namespace

bool scoreboard::reserve(buffer::chunk_pool& pool) {
  if (first_ + count_ < capacity()) return true;
  if (store_ != nullptr && first_ >= capacity() / 2) {
    std::memmove(records(), records() + first_, count_ * sizeof(sent_record));
    first_ = 0;
    return true;
  }
  const auto wanted = store_ == nullptr ? std::size_t{1} : std::size_t{store_->capacity} + 1;
  if (wanted > buffer::chunk_pool::capacities.back()) {
    if (first_ == 0) return false;
    std::memmove(records(), records() + first_, count_ * sizeof(sent_record));
    first_ = 0;
    return true;
  }
  auto* fresh = pool.take(wanted);
  if (fresh == nullptr) return false;
  if (store_ != nullptr) {
    std::memcpy(fresh->data(), records() + first_, count_ * sizeof(sent_record));
    pool.give(store_);
  }
  store_ = fresh;
  first_ = 0;
  return true;
}

void scoreboard::push(seq start, std::uint32_t length, instant now, bool with_fin, bool probe) {
  if (count_ > 0 && !probe) {
    auto& last = (*this)[count_ - 1];
    if (last.sent == now && last.flags == 0 && last.end() == start &&
        last.length + length <= max_record) {
      last.length += length;
      if (with_fin) last.flags |= sent_record::fin;
      return;
    }
  }
  assert(first_ + count_ < capacity());
  records()[first_ + count_] = {now, start, length,
                                static_cast<std::uint8_t>((with_fin ? sent_record::fin : 0) |
                                                          (probe ? sent_record::probe : 0))};
  ++count_;
}

void scoreboard::unaccount(const sent_record& r) {
  if (r.has(sent_record::sacked)) sacked_ -= r.length;
  if (r.has(sent_record::lost)) lost_ -= r.length;
  if (r.has(sent_record::retransmitted)) retransmitted_ -= r.length;
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
  while (count_ > 0) {
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
    ++first_;
    --count_;
  }
  // What was sent once may have arrived long ago and waited behind what was sent again: when it was
  // sent says nothing about the path (Karn; RFC 6298 3).
  if (held_up) outcome.clean_sent = clean_before;
  if (count_ == 0) clear(pool);
}

void scoreboard::sack(buffer::chunk_pool& pool, seq left, seq right, ack_outcome& outcome) {
  // Records are sorted: find the first that ends beyond `left`.
  std::uint32_t low = 0;
  auto high = count_;
  while (low < high) {
    const auto middle = (low + high) / 2;
    if ((*this)[middle].end() <= left)
      low = middle + 1;
    else
      high = middle;
  }
  for (auto i = low; i < count_ && (*this)[i].start < right; ++i) {
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
    if (sacked_ == 0 || r.end() > highest_sacked_) highest_sacked_ = r.end();
    sacked_ += r.length;
  }
}

void scoreboard::mark_lost(std::uint32_t i) {
  auto& r = (*this)[i];
  if (r.has(sent_record::retransmitted)) unmark_retransmitted(i);
  if (r.has(sent_record::lost) || r.has(sent_record::sacked)) return;
  r.flags |= sent_record::lost;
  lost_ += r.length;
}

void scoreboard::mark_retransmitted(std::uint32_t i, instant now) {
  auto& r = (*this)[i];
  if (!r.has(sent_record::retransmitted)) retransmitted_ += r.length;
  r.flags |= sent_record::retransmitted | sent_record::ever_retransmitted;
  r.sent = now;
}

void scoreboard::unmark_retransmitted(std::uint32_t i) {
  auto& r = (*this)[i];
  if (!r.has(sent_record::retransmitted)) return;
  r.flags &= static_cast<std::uint8_t>(~sent_record::retransmitted);
  retransmitted_ -= r.length;
}

void scoreboard::mark_all_lost(bool forget_sacks) {
  for (std::uint32_t i = 0; i < count_; ++i) {
    auto& r = (*this)[i];
    if (forget_sacks && r.has(sent_record::sacked)) {
      sacked_ -= r.length;
      r.flags &= static_cast<std::uint8_t>(~sent_record::sacked);
    }
    if (!r.has(sent_record::sacked)) mark_lost(i);
  }
}

void scoreboard::unmark_all_lost() {
  for (std::uint32_t i = 0; i < count_; ++i) {
    auto& r = (*this)[i];
    if (r.has(sent_record::lost)) lost_ -= r.length;
    unmark_retransmitted(i);
    r.flags &= static_cast<std::uint8_t>(~sent_record::lost);
  }
}

std::uint32_t scoreboard::first_to_retransmit() const {
  if (lost_ == 0) return count_;
  for (std::uint32_t i = 0; i < count_; ++i) {
    const auto& r = (*this)[i];
    if (r.has(sent_record::lost) && !r.has(sent_record::retransmitted)) return i;
  }
  return count_;
}

bool scoreboard::split(buffer::chunk_pool& pool, std::uint32_t i, std::uint32_t length) {
  if (!reserve(pool)) return false;
  auto* at = records() + first_ + i;
  assert(length > 0 && length < at->length);
  std::memmove(at + 1, at, (count_ - i) * sizeof(sent_record));
  ++count_;
  at->length = length;
  at->flags &= static_cast<std::uint8_t>(~sent_record::fin);
  at[1].start = at[1].start + length;
  at[1].length -= length;
  return true;
}

void scoreboard::clear(buffer::chunk_pool& pool) {
  if (store_ != nullptr) pool.give(store_);
  *this = scoreboard{};
}

}  // namespace weir::stack::tcp

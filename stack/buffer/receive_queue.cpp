// Reassembly in place; see receive_queue.hpp. Chunks beyond a gap begin on a grid of `cell` bytes
// counted from the chunk before them, so that a flood of one-byte segments, in whatever order,
// shares cells instead of taking one each.
#include "stack/buffer/receive_queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace weir::stack::buffer {
namespace {

constexpr std::uint64_t cell = chunk_pool::capacities[1];
/// Fewer bytes than that are copied at once: it costs less than to put it off.
constexpr std::size_t least_left = 1024;

}  // namespace

std::span<const byte_range> receive_queue::ranges() const {
  if (ranges_ == nullptr) return {};
  return {range_array(), ranges_->end};
}

receive_queue::status receive_queue::insert(chunk_pool& pool, std::uint64_t at,
                                            std::span<const std::byte> bytes, std::uint32_t limit,
                                            bool stays) {
  assert(at >= next_ && !pool.unfilled());
  if (bytes.empty()) return status::duplicate;
  if (at == next_ && ranges_ == nullptr) {  // the common case: in order, nothing beyond
    if (stays && leave_in_packet(pool, bytes, limit)) return status::stored;
    std::uint64_t stored_to = at;
    const bool all = write(pool, at, bytes, limit, stored_to);
    next_ = stored_to;
    return all ? status::stored : status::no_memory;
  }
  // Copy what is missing, gap by gap.
  const auto end = at + bytes.size();
  auto position = at;
  std::uint64_t stored_to = at;
  bool fresh = false;
  bool full = false;
  std::size_t i = 0;
  while (position < end && !full) {
    const auto held = ranges();
    while (i < held.size() && held[i].end <= position) ++i;
    if (i < held.size() && held[i].begin <= position) {
      position = std::min(end, held[i].end);
      stored_to = position;
      continue;
    }
    const auto gap_end = i < held.size() ? std::min(end, held[i].begin) : end;
    full =
        !write(pool, position, bytes.subspan(position - at, gap_end - position), limit, stored_to);
    fresh = fresh || stored_to > position;
    position = stored_to;
  }
  if (stored_to == at) return status::no_memory;
  if (!fresh) return full ? status::no_memory : status::duplicate;
  if (at == next_) {
    next_ = stored_to;
    absorb_ranges(pool);
  } else if (const auto added = add_range(pool, at, stored_to, limit); added != status::stored) {
    consume(pool,
            0);  // the bytes written stay unmarked; in an idle queue their chunks go back at once
    return added;
  }
  return full ? status::no_memory : status::stored;
}

// In an empty queue, where one chunk has room for all: it is taken and charged as ever, so that
// nothing but the copy is put off. What is not done here finds the chunk in its place.
bool receive_queue::leave_in_packet(chunk_pool& pool, std::span<const std::byte> bytes,
                                    std::uint32_t limit) {
  if (head_ != nullptr || bytes.size() < least_left) return false;
  auto* c = place_for(pool, next_, bytes.size(), limit, true);
  if (c == nullptr || c->limit < bytes.size()) return false;
  pool.fill_later(*c, bytes);
  hint_ = c;
  next_ += bytes.size();
  return true;
}

bool receive_queue::write(chunk_pool& pool, std::uint64_t at, std::span<const std::byte> bytes,
                          std::uint32_t limit, std::uint64_t& stored_to) {
  const bool in_order = at == next_;
  while (!bytes.empty()) {
    auto* c = place_for(pool, at, bytes.size(), limit, in_order);
    if (c == nullptr) return false;
    const auto skip = static_cast<std::size_t>(at - c->offset);
    const auto n = std::min<std::size_t>(bytes.size(), c->limit - skip);
    std::memcpy(c->data() + skip, bytes.data(), n);
    hint_ = c;
    at += n;
    stored_to = at;
    bytes = bytes.subspan(n);
  }
  return true;
}

chunk* receive_queue::place_for(chunk_pool& pool, std::uint64_t at, std::size_t wanted,
                                std::uint32_t limit, bool in_order) {
  chunk* before = nullptr;
  if (tail_ != nullptr && tail_->offset <= at)
    before = tail_;
  else if (hint_ != nullptr && hint_->offset <= at)
    before = hint_;
  else if (head_ != nullptr && head_->offset <= at)
    before = head_;
  while (before != nullptr && before->next != nullptr && before->next->offset <= at)
    before = before->next;
  if (before != nullptr && at < before->offset + before->limit) return before;

  chunk* after = before != nullptr ? before->next : head_;
  const auto free_from = before != nullptr ? before->offset + before->limit : std::min(at, next_);
  auto start = at;
  if (!in_order) start = free_from + (at - free_from) / cell * cell;  // beyond a gap: on the grid
  auto room = wanted + (at - start);
  if (in_order)
    room = std::max<std::size_t>(room, chunk_pool::grown(readable()));
  else  // never a class up for a little more: what is left over goes to the next chunk
    room = std::max<std::size_t>(chunk_pool::grown(room), cell);
  if (after != nullptr) room = std::min<std::size_t>(room, after->offset - start);
  if (charged_ + chunk_pool::cost(room) > limit) {
    if (!in_order) return nullptr;
    // An empty queue takes some chunk whatever the limit: a reader always gets on.
    if (charged_ == 0)
      room = std::min<std::size_t>({room, wanted, chunk_pool::grown(limit)});
    else if (room = std::min(room, wanted); charged_ + chunk_pool::cost(room) > limit)
      room = chunk_pool::grown(room);  // a part of it
    if (charged_ != 0 && charged_ + chunk_pool::cost(room) > limit) return nullptr;
  }
  auto* fresh = pool.take(room);
  if (fresh == nullptr) return nullptr;
  fresh->offset = start;
  if (after != nullptr) {
    fresh->limit = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(fresh->capacity(), after->offset - start));
  }
  fresh->next = after;
  if (before != nullptr)
    before->next = fresh;
  else
    head_ = fresh;
  if (after == nullptr) tail_ = fresh;
  charged_ += fresh->true_size();
  return fresh;
}

receive_queue::status receive_queue::add_range(chunk_pool& pool, std::uint64_t begin,
                                               std::uint64_t end, std::uint32_t limit) {
  if (ranges_ == nullptr && !grow_ranges(pool, limit)) return status::no_memory;
  auto* array = range_array();
  auto count = ranges_->end;
  auto* first =
      std::find_if(array, array + count, [&](const byte_range& r) { return r.end >= begin; });
  auto* last = first;
  std::uint64_t covered = 0;
  auto joined = byte_range{begin, end};
  while (last != array + count && last->begin <= end) {
    joined.begin = std::min(joined.begin, last->begin);
    joined.end = std::max(joined.end, last->end);
    covered += last->end - last->begin;
    ++last;
  }
  if (first == last) {
    if (count == max_ranges) return status::no_range;
    const auto index = first - array;
    if ((count + 1) * sizeof(byte_range) > ranges_->capacity() && !grow_ranges(pool, limit))
      return status::no_memory;
    array = range_array();
    std::memmove(array + index + 1, array + index,
                 (count - static_cast<std::uint32_t>(index)) * sizeof(byte_range));
    array[index] = joined;
    ++ranges_->end;
  } else {
    *first = joined;
    std::memmove(first + 1, last,
                 static_cast<std::size_t>(array + count - last) * sizeof(byte_range));
    ranges_->end -= static_cast<std::uint32_t>(last - first - 1);
  }
  ranges_->limit += static_cast<std::uint32_t>(joined.end - joined.begin - covered);
  return status::stored;
}

bool receive_queue::grow_ranges(chunk_pool& pool, std::uint32_t limit) {
  const auto wanted = ranges_ == nullptr ? std::size_t{1} : std::size_t{ranges_->capacity()} + 1;
  if (charged_ + chunk_pool::cost(wanted) > std::uint64_t{limit} + chunk_pool::cost(1))
    return false;
  auto* fresh = pool.take(wanted);
  if (fresh == nullptr) return false;
  fresh->limit = 0;
  if (ranges_ != nullptr) {
    std::memcpy(fresh->data(), ranges_->data(), ranges_->end * sizeof(byte_range));
    fresh->end = ranges_->end;
    fresh->limit = ranges_->limit;
    charged_ -= ranges_->true_size();
    pool.give(ranges_);
  }
  charged_ += fresh->true_size();
  ranges_ = fresh;
  return true;
}

void receive_queue::absorb_ranges(chunk_pool& pool) {
  if (ranges_ == nullptr) return;
  auto* array = range_array();
  std::uint32_t gone = 0;
  while (gone < ranges_->end && array[gone].begin <= next_) {
    next_ = std::max(next_, array[gone].end);
    ranges_->limit -= static_cast<std::uint32_t>(array[gone].end - array[gone].begin);
    ++gone;
  }
  ranges_->end -= gone;
  std::memmove(array, array + gone, ranges_->end * sizeof(byte_range));
  if (ranges_->end == 0) release_ranges(pool);
}

void receive_queue::release_ranges(chunk_pool& pool) {
  if (ranges_ == nullptr) return;
  charged_ -= ranges_->true_size();
  pool.give(ranges_);
  ranges_ = nullptr;
}

std::span<const std::byte> receive_queue::peek() const {
  if (readable() == 0) return {};
  const auto skip = static_cast<std::size_t>(read_ - head_->offset);
  const auto n = std::min<std::uint64_t>(next_ - read_, head_->limit - skip);
  return {bytes_of(*head_) + skip, static_cast<std::size_t>(n)};
}

void receive_queue::consume(chunk_pool& pool, std::uint32_t n) {
  assert(n <= readable());
  read_ += n;
  const bool drained = read_ == next_ && ranges_ == nullptr;
  while (head_ != nullptr && (drained || head_->offset + head_->limit <= read_)) {
    auto* done = head_;
    head_ = head_->next;
    if (hint_ == done) hint_ = nullptr;
    drop(pool, done);
  }
  if (head_ == nullptr) tail_ = nullptr;
}

// What is lent stays charged until the last of it is back, or disowned. Others may hold it longer.
void receive_queue::drop(chunk_pool& pool, chunk* c) {
  if (--c->lenders == 0 || lent_ == 0) charged_ -= c->true_size();
  (void)pool.let_go(c);
}

chunk* receive_queue::lend(chunk_pool& pool) {
  auto* c = head_;
  assert(c->kind == chunk_kind::bytes);
  const auto n = static_cast<std::uint32_t>(peek().size());
  ++c->holders;
  ++c->lenders;
  lent_ += n;
  consume(pool, n);
  return c;
}

void receive_queue::take_back(chunk_pool& pool, chunk* c, std::uint32_t n) {
  assert(n <= lent_);
  drop(pool, c);
  lent_ -= n;
}

void receive_queue::disown() {
  if (lent_ == 0) return;
  lent_ = 0;
  charged_ = ranges_ != nullptr ? ranges_->true_size() : 0;
  for (auto* c = head_; c != nullptr; c = c->next) charged_ += c->true_size();
}

std::size_t receive_queue::read(chunk_pool& pool, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto head = peek();
    if (head.empty()) break;
    const auto n = std::min(head.size(), into.size() - done);
    std::memcpy(into.data() + done, head.data(), n);
    consume(pool, static_cast<std::uint32_t>(n));
    done += n;
  }
  return done;
}

bool receive_queue::drop_farthest(chunk_pool& pool) {
  if (ranges_ == nullptr || tail_ == nullptr) return false;
  auto* array = range_array();
  if (tail_->offset <= next_) {
    // What waits beyond the gap shares its chunk with what is in order: only the note of it goes.
    release_ranges(pool);
    return true;
  }
  const auto from = tail_->offset;
  while (ranges_->end > 0 && array[ranges_->end - 1].end > from) {
    auto& last = array[ranges_->end - 1];
    ranges_->limit -= static_cast<std::uint32_t>(last.end - std::max(last.begin, from));
    last.end = std::max(last.begin, from);
    if (last.begin == last.end) --ranges_->end;
  }
  if (ranges_->end == 0) release_ranges(pool);
  auto* done = tail_;
  tail_ = nullptr;
  if (head_ == done) head_ = nullptr;
  for (auto* c = head_; c != nullptr; c = c->next) {
    if (c->next == done) c->next = nullptr;
    tail_ = c;
  }
  hint_ = nullptr;
  drop(pool, done);
  return true;
}

void receive_queue::clear(chunk_pool& pool) {
  release_ranges(pool);
  consume(pool, readable());
}

}  // namespace weir::stack::buffer

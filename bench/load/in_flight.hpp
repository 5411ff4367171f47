// Requests of a connection that are not answered: when each was due and when it was written, by
// their numbers, which rise. Answers may come in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir::load {

class in_flight {
 public:
  struct request {
    std::int64_t due = 0;
    std::int64_t could = 0;    ///< when a connection was free for it: never before `due`
    std::int64_t written = 0;  ///< 0: not yet
    std::int64_t think = 0;    ///< ns that its connection pauses after the answer
    bool open = false;
  };

  std::uint64_t add(const request& one) {
    if (next_ - oldest_ == slots_.size()) grow();
    request& slot = at(next_);
    slot = one;
    slot.open = true;
    ++open_;
    return next_++;
  }
  /// Null where that number is not open.
  request* find(std::uint64_t which) {
    if (which < oldest_ || which >= next_) return nullptr;
    request& slot = at(which);
    return slot.open ? &slot : nullptr;
  }
  void close(std::uint64_t which) {
    at(which).open = false;
    --open_;
    while (oldest_ < next_ && !at(oldest_).open) ++oldest_;
  }
  std::size_t size() const { return open_; }
  /// The first that is open, or the next one's number.
  std::uint64_t oldest() const { return oldest_; }
  std::uint64_t next() const { return next_; }
  void clear() {
    for (auto& slot : slots_) slot.open = false;
    open_ = 0;
    oldest_ = next_ = 0;
  }

 private:
  request& at(std::uint64_t which) { return slots_[which & (slots_.size() - 1)]; }
  void grow() {
    std::vector<request> larger(slots_.size() * 2);
    for (std::uint64_t i = oldest_; i < next_; ++i) larger[i & (larger.size() - 1)] = at(i);
    slots_ = std::move(larger);
  }
  std::vector<request> slots_ = std::vector<request>(4);
  std::uint64_t oldest_ = 0, next_ = 0;
  std::size_t open_ = 0;
};

}  // namespace weir::load

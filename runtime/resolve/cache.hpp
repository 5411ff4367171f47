// Answers that are kept for as long as they may be, at most so many of them: the one that was not
// asked for the longest makes room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "runtime/resolve/message.hpp"
#include "weir/stack/time.hpp"

namespace weir::detail {

using known_answer = std::shared_ptr<const answer>;

class answer_cache {
 public:
  explicit answer_cache(std::size_t capacity) : capacity_(capacity) {}

  /// Null: nothing is known, or not any more.
  known_answer find(const question& q, instant now) {
    auto found = index_.find(key(q));
    if (found == index_.end()) return nullptr;
    auto at = found->second;
    if (at->expires <= now) {
      remove(found);
      return nullptr;
    }
    by_use_.splice(by_use_.begin(), by_use_, at);
    return at->what;
  }
  /// Answers that may not be kept are not.
  void keep(const question& q, known_answer what, instant now) {
    auto name = key(q);
    if (auto old = index_.find(name); old != index_.end()) remove(old);
    if (capacity_ == 0 || what->lifetime <= duration(0)) return;
    if (by_use_.size() >= capacity_) {
      remove(index_.find(by_use_.back().name));
      ++dropped_;
    }
    const auto expires = now + what->lifetime;
    by_use_.push_front({name, std::move(what), expires});
    index_.emplace(std::move(name), by_use_.begin());
  }
  void clear() {
    index_.clear();
    by_use_.clear();
  }
  std::size_t size() const { return by_use_.size(); }
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct entry {
    std::string name;
    known_answer what;
    instant expires;
  };
  using index = std::unordered_map<std::string, std::list<entry>::iterator>;

  static std::string key(const question& q) {
    return q.name + ' ' + std::to_string(static_cast<unsigned>(q.type));
  }
  void remove(index::iterator which) {
    by_use_.erase(which->second);
    index_.erase(which);
  }

  std::size_t capacity_;
  std::list<entry> by_use_;
  index index_;
  std::uint64_t dropped_ = 0;
};

}  // namespace weir::detail

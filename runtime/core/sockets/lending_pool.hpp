// Buffers that receive() lends where the bytes lie elsewhere. A bounded number of them, made when
// first needed, reused last in, first out (the hottest first); when all are lent, whoever wants one
// waits, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "weir/detail/home.hpp"

namespace weir::detail {

/// A socket whose lending read may have to wait for a buffer.
struct lending_socket : socket_base, stack::queue_link<lending_socket> {
  bool waits_for_buffer = false;
};

class lending_pool {
 public:
  lending_pool(std::size_t buffer_size, std::size_t most) : size_(buffer_size), most_(most) {}

  /// An empty span when all are lent: the socket then waits, and is among those that next_waiting()
  /// gives.
  std::span<std::byte> take(lending_socket& s) {
    if (free_.empty() && made_.size() == most_) {
      ++starved_;
      if (!s.waits_for_buffer) waiting_.push_back(s);
      s.waits_for_buffer = true;
      return {};
    }
    if (free_.empty()) {
      made_.push_back(std::make_unique_for_overwrite<std::byte[]>(size_));
      free_.reserve(made_.size());  // so that giving back never allocates
      return {made_.back().get(), size_};
    }
    auto* buffer = free_.back();
    free_.pop_back();
    return {buffer, size_};
  }
  void give_back(void* buffer) noexcept { free_.push_back(static_cast<std::byte*>(buffer)); }

  /// The first that waits, where there is a buffer now; it waits no longer. Else null.
  lending_socket* next_waiting() noexcept {
    if (waiting_.empty() || (free_.empty() && made_.size() == most_)) return nullptr;
    auto* s = waiting_.pop_front();
    s->waits_for_buffer = false;
    return s;
  }
  void forget(lending_socket& s) noexcept {
    if (s.waits_for_buffer) waiting_.remove(s);
    s.waits_for_buffer = false;
  }

  std::size_t lent() const { return made_.size() - free_.size(); }
  std::uint64_t starved() const { return starved_; }

 private:
  std::size_t size_;
  std::size_t most_;
  std::vector<std::unique_ptr<std::byte[]>> made_;
  std::vector<std::byte*> free_;
  stack::intrusive_queue<lending_socket, lending_socket> waiting_;
  std::uint64_t starved_ = 0;
};

}  // namespace weir::detail

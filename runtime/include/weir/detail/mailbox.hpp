// The mailbox of a shard: messages from other threads, many producers and one consumer, without a
// lock. Messages are owned by their senders and linked in place, so posting allocates nothing.
// Order is kept per sender.
#pragma once

#include <atomic>

namespace weir::detail {

struct message {
  explicit message(void (*f)(message&) noexcept) : run(f) {}
  message* next = nullptr;
  void (*run)(
      message&) noexcept;  // on the receiving shard; the message is the callee's from here on
};

class mailbox {
 public:
  void put(message& m) noexcept {
    auto* head = head_.load(std::memory_order_relaxed);
    do m.next = head;
    while (!head_.compare_exchange_weak(head, &m, std::memory_order_seq_cst,
                                        std::memory_order_relaxed));
  }
  bool empty() const noexcept { return head_.load(std::memory_order_seq_cst) == nullptr; }

  /// All messages, oldest first.
  message* take() noexcept {
    auto* newest = head_.exchange(nullptr, std::memory_order_acquire);
    message* oldest = nullptr;
    while (newest != nullptr) {
      auto* next = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = next;
    }
    return oldest;
  }

 private:
  std::atomic<message*> head_{nullptr};
};

}  // namespace weir::detail

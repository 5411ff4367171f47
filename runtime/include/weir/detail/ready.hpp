// The ready queue: coroutines whose wait is over, in the order in which it ended. Completions are
// put here and resumed later from the shard's loop, never from inside the code that found them.
// Intrusive: queueing allocates nothing.
#pragma once

#include <coroutine>
#include <cstdint>

namespace weir::detail {

struct ready_node {
  ready_node* next = nullptr;
  std::coroutine_handle<> handle;
};

class ready_queue {
 public:
  bool empty() const { return head_ == nullptr; }
  const ready_node* first() const { return head_; }

  std::uint32_t size() const { return size_; }

  void push(ready_node& node) {
    ++size_;
    node.next = nullptr;
    if (tail_ != nullptr)
      tail_->next = &node;
    else
      head_ = &node;
    tail_ = &node;
  }

  ready_node* pop() {
    auto* node = head_;
    if (node == nullptr) return nullptr;
    --size_;
    head_ = node->next;
    if (head_ == nullptr) tail_ = nullptr;
    return node;
  }

  /// Everything that is queued now; what is pushed from here on is the next batch.
  ready_queue take() {
    ready_queue batch = *this;
    head_ = tail_ = nullptr;
    size_ = 0;
    return batch;
  }

 private:
  ready_node* head_ = nullptr;
  ready_node* tail_ = nullptr;
  std::uint32_t size_ = 0;
};

}  // namespace weir::detail

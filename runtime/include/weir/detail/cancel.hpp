// Cancellation inside one shard: a tree of states. A task's promise points at the state that
// governs it; an operation that waits hangs a node into that state. A request reaches every node
// below, once. It only *starts* the cancelling: the operation's own completion, which may still be
// a success, ends the wait. No atomics: a shard is one thread.
#pragma once

#include <cassert>

namespace weir::detail {

class cancel_state;

/// Hooked into a state while something there can be cancelled. Unlinks itself when it goes.
class cancel_node {
 public:
  using callback = void (*)(cancel_node&) noexcept;

  explicit cancel_node(callback on_cancel) : on_cancel_(on_cancel) {}
  cancel_node(const cancel_node&) = delete;
  cancel_node& operator=(const cancel_node&) = delete;
  ~cancel_node() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    next_->prev_ = prev_;
    prev_->next_ = next_;
    next_ = prev_ = nullptr;
  }

 private:
  friend class cancel_state;
  cancel_node() = default;

 protected:
  /// What a request does to this node.
  void cancel() noexcept { on_cancel_(*this); }
  callback what() const { return on_cancel_; }

 private:
  cancel_node* prev_ = nullptr;
  cancel_node* next_ = nullptr;
  callback on_cancel_ = nullptr;
};

class cancel_state : private cancel_node {
 public:
  cancel_state() : cancel_node(&cancel_state::from_parent) { list_.prev_ = list_.next_ = &list_; }
  explicit cancel_state(cancel_state* parent) : cancel_state() { attach(parent); }
  ~cancel_state() {
    assert(list_.next_ == &list_ &&
           "a cancel_state went while operations were still hooked into it");
    list_.prev_ = list_.next_ = nullptr;
  }

  /// Makes this state hear of the parent's requests.
  void attach(cancel_state* parent) {
    if (parent == nullptr) return;
    if (parent->requested_)
      request();
    else
      parent->add(*this);
  }
  void detach() { unlink(); }

  bool requested() const { return requested_; }

  void add(cancel_node& node) {
    node.prev_ = list_.prev_;
    node.next_ = &list_;
    list_.prev_->next_ = &node;
    list_.prev_ = &node;
  }

  /// Tells every node below, once each. Nodes may come and go while it runs.
  void request() noexcept {
    if (requested_) return;
    requested_ = true;
    while (list_.next_ != &list_) {
      auto* node = list_.next_;
      node->unlink();
      node->on_cancel_(*node);
    }
  }

 private:
  static void from_parent(cancel_node& node) noexcept {
    static_cast<cancel_state&>(node).request();
  }

  cancel_node list_;
  bool requested_ = false;
};

}  // namespace weir::detail

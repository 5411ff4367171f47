// Cancellation inside one shard: a tree of states. A task's promise points at the state that
// governs it; an operation that waits hangs a node into that state. A request reaches every node
// below, once. It only *starts* the cancelling: the operation's own completion, which may still be
// a success, ends the wait, and until then it stays in the tree: so the tree also holds what every
// coroutine waits for (runtime/core/task_walk.hpp). No atomics: a shard is one thread.
#pragma once

#include <cassert>

namespace weir::detail {

class cancel_node;
class cancel_state;
struct wait_told;

/// What nodes of one kind do.
struct cancel_kind {
  using callback = void (*)(cancel_node&) noexcept;
  using teller = void (*)(const cancel_node&, wait_told&) noexcept;

  callback on_cancel;
  teller tell;  ///< null: not what a coroutine waits for
};
template <cancel_kind::callback OnCancel, cancel_kind::teller Tell = nullptr>
inline constexpr cancel_kind kind_of_node{OnCancel, Tell};

/// Hooked into a state from the beginning of a wait to its end, told of a request or not. Unlinks
/// itself when it goes.
class cancel_node {
 public:
  explicit cancel_node(const cancel_kind& kind) : kind_(&kind) {}
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
  friend class task_cursor;
  cancel_node() = default;

 protected:
  /// What a request does to this node.
  void cancel() noexcept { kind_->on_cancel(*this); }

 private:
  void put_behind(cancel_node& other) {
    prev_ = &other;
    next_ = other.next_;
    next_->prev_ = this;
    other.next_ = this;
  }
  static void nothing(cancel_node&) noexcept {}
  /// One that stands in a list for somebody who goes through it.
  static const cancel_kind marker;

  cancel_node* prev_ = nullptr;
  cancel_node* next_ = nullptr;
  const cancel_kind* kind_ = nullptr;
};
inline constexpr cancel_kind cancel_node::marker{&cancel_node::nothing, nullptr};

class cancel_state : private cancel_node {
 public:
  cancel_state() : cancel_node(kind_of_node<&cancel_state::from_parent>) {
    list_.prev_ = list_.next_ = &list_;
  }
  explicit cancel_state(cancel_state* parent) : cancel_state() { attach(parent); }
  ~cancel_state() {
    while (list_.next_ != &list_) {
      assert(list_.next_->kind_ == &marker &&
             "a cancel_state went while operations were still hooked into it");
      list_.next_->unlink();
    }
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

  void add(cancel_node& node) { node.put_behind(*list_.prev_); }

  /// Tells every node below, once each. Nodes may come and go while it runs; those that are told
  /// stay until they go.
  void request() noexcept;

 private:
  friend class task_cursor;
  static void stand_behind(cancel_node& here, cancel_node& other) noexcept;
  static void from_parent(cancel_node& node) noexcept {
    static_cast<cancel_state&>(node).request();
  }

  cancel_node list_;
  bool requested_ = false;
};

}  // namespace weir::detail

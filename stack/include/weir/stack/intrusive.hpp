// Queues and lists whose links lie in their elements: queueing allocates nothing, and nobody but
// the queue touches a link. An element that may stand in several at once has a link of its own for
// each, told apart by a tag. A queue costs its element a pointer and is served in order; a list
// costs two, and lets an element go from anywhere at once.
#pragma once

#include <cassert>
#include <cstddef>

namespace weir::stack {

template <class T, class Tag>
class intrusive_queue;

/// What an element derives from.
template <class Tag = void>
class queue_link {
 public:
  queue_link() = default;
  queue_link(const queue_link&) = delete;
  queue_link& operator=(const queue_link&) = delete;

 private:
  template <class, class>
  friend class intrusive_queue;
  queue_link* next_ = nullptr;
};

/// First in, first out. An element is in one queue of its tag at a time, and outlives its stay. T
/// may be incomplete where the queue is a member. Two pointers; constant time but for remove() and
/// size().
template <class T, class Tag = void>
class intrusive_queue {
 public:
  intrusive_queue() = default;
  intrusive_queue(const intrusive_queue&) = delete;
  intrusive_queue& operator=(const intrusive_queue&) = delete;

  bool empty() const { return first_ == nullptr; }
  /// Null when empty.
  T* front() const { return static_cast<T*>(first_); }
  /// The one behind `element`, or null.
  T* after(const T& element) const {
    return static_cast<T*>(static_cast<const queue_link<Tag>&>(element).next_);
  }

  void push_back(T& element) {
    queue_link<Tag>& link = element;
    link.next_ = nullptr;
    (first_ == nullptr ? first_ : last_->next_) = &link;
    last_ = &link;
  }
  void push_front(T& element) {
    queue_link<Tag>& link = element;
    link.next_ = first_;
    if (first_ == nullptr) last_ = &link;
    first_ = &link;
  }
  /// Null when empty.
  T* pop_front() {
    auto* link = first_;
    if (link == nullptr) return nullptr;
    first_ = link->next_;
    if (first_ == nullptr) last_ = nullptr;
    link->next_ = nullptr;
    return static_cast<T*>(link);
  }
  /// Of an element that is in this queue (asserted); linear.
  void remove(T& element) {
    queue_link<Tag>* before = nullptr;
    auto* at = first_;
    for (queue_link<Tag>& link = element; at != &link; at = at->next_) {
      assert(at != nullptr && "what is removed is in the queue");
      before = at;
    }
    (before == nullptr ? first_ : before->next_) = at->next_;
    if (last_ == at) last_ = before;
    at->next_ = nullptr;
  }
  std::size_t size() const {
    std::size_t count = 0;
    for (auto* at = first_; at != nullptr; at = at->next_) ++count;
    return count;
  }

 private:
  queue_link<Tag>* first_ = nullptr;
  queue_link<Tag>* last_ = nullptr;
};

template <class T, class Tag>
class intrusive_list;

/// What an element of a list derives from.
template <class Tag = void>
class list_link {
 public:
  list_link() = default;
  list_link(const list_link&) = delete;
  list_link& operator=(const list_link&) = delete;

 private:
  template <class, class>
  friend class intrusive_list;
  list_link* previous_ = nullptr;
  list_link* next_ = nullptr;
};

/// All of a kind, the newest first. An element is in one list of its tag at a time.
template <class T, class Tag = void>
class intrusive_list {
 public:
  intrusive_list() = default;
  intrusive_list(const intrusive_list&) = delete;
  intrusive_list& operator=(const intrusive_list&) = delete;

  bool empty() const { return first_ == nullptr; }
  std::size_t size() const { return size_; }
  /// Null when empty, or behind the last.
  T* front() const { return static_cast<T*>(first_); }
  T* after(const T& element) const {
    return static_cast<T*>(static_cast<const list_link<Tag>&>(element).next_);
  }
  void push_front(T& element) {
    list_link<Tag>& link = element;
    link.previous_ = nullptr;
    link.next_ = first_;
    if (first_ != nullptr) first_->previous_ = &link;
    first_ = &link;
    ++size_;
  }
  void remove(T& element) {
    list_link<Tag>& link = element;
    (link.previous_ != nullptr ? link.previous_->next_ : first_) = link.next_;
    if (link.next_ != nullptr) link.next_->previous_ = link.previous_;
    link.previous_ = link.next_ = nullptr;
    --size_;
  }

 private:
  list_link<Tag>* first_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace weir::stack

// Synchronisation between the coroutines of one shard: event, mutex, semaphore, channel. No locks
// and no atomics: a shard is one thread; between shards use submit_to(). Waiters are served in
// order. Every wait takes .timeout(d), .nothrow() and .until_stop(), and ends with
// operation_canceled when its coroutine is cancelled, also where there was nothing to wait for.
// Each object outlives its waiters (asserted).
#pragma once

#include <cassert>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "weir/detail/operation.hpp"
#include "weir/error.hpp"
#include "weir/task.hpp"

namespace weir {

namespace detail {

class wait_list;

/// A wait for another coroutine of this shard.
class wait_operation : public operation {
 public:
  explicit wait_operation(cancel_hook kind) : operation(kind) {}

 protected:
  static void leave(operation& op) noexcept;

 private:
  friend class wait_list;

  wait_list* list_ = nullptr;
  wait_operation* previous_ = nullptr;
  wait_operation* following_ = nullptr;
};

/// Those who wait, in order of arrival.
class wait_list {
 public:
  wait_list() = default;
  wait_list(const wait_list&) = delete;
  wait_list& operator=(const wait_list&) = delete;
  ~wait_list() {
    assert(first_ == nullptr && "a synchronisation object went while coroutines waited for it");
  }

  bool empty() const { return first_ == nullptr; }
  wait_operation* first() const { return first_; }
  void add(wait_operation& waiter);
  void remove(wait_operation& waiter);
  wait_operation* pop() {
    auto* waiter = first_;
    if (waiter != nullptr) remove(*waiter);
    return waiter;
  }

 private:
  wait_operation* first_ = nullptr;
  wait_operation* last_ = nullptr;
};

/// Every wait: Derived has ready() (take it without waiting), enqueue() and value(). It counts
/// against the turn also where there is nothing to wait for, and a cancellation is seen first.
template <class Derived>
class [[nodiscard]] wait_awaiter : public wait_operation {
 public:
  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] {
      if (self().ready())
        complete();
      else
        self().enqueue();
    });
  }
  auto await_resume() {
    if (auto ec = final_error()) throw io_error(ec, Derived::name);
    return self().value();
  }

 protected:
  std::error_code outcome() const noexcept { return final_error(); }

 private:
  friend Derived;
  explicit wait_awaiter(duration limit)
      : wait_operation(&hook<&wait_operation::leave, &wait_awaiter::tell>) {
    set_timeout(limit);
  }

  static void tell(const detail::cancel_node& node, wait_told& out) noexcept {
    const auto& self = static_cast<const Derived&>(told(node, out));
    out.operation = Derived::name;
    if constexpr (requires { self.tell_more(out); }) self.tell_more(out);
  }
  Derived& self() { return static_cast<Derived&>(*this); }
};

}  // namespace detail

/// A flag to wait for: set() wakes everyone and stays set until reset().
class event {
 public:
  class wait_for_set : public detail::wait_awaiter<wait_for_set> {
   public:
    static constexpr const char* name = "event wait";
    struct arguments {
      event* of;
    };
    wait_for_set(const arguments& of, duration limit) : wait_awaiter(limit), event_(of.of) {}
    bool ready() const { return event_->set_; }
    void enqueue() { event_->waiters_.add(*this); }
    void value() const {}

   private:
    event* event_;
  };

  bool is_set() const { return set_; }
  void set() {
    set_ = true;
    while (auto* waiter = waiters_.pop()) waiter->complete();
  }
  void reset() { set_ = false; }
  detail::request<wait_for_set> wait() { return detail::request<wait_for_set>({this}); }

 private:
  bool set_ = false;
  detail::wait_list waiters_;
};

/// A counting semaphore: acquire() takes one permit, release() gives back.
class semaphore {
 public:
  explicit semaphore(std::size_t permits) : permits_(permits) {}

  class take : public detail::wait_awaiter<take> {
   public:
    static constexpr const char* name = "semaphore acquire";
    struct arguments {
      semaphore* of;
    };
    take(const arguments& of, duration limit) : wait_awaiter(limit), semaphore_(of.of) {}
    bool ready() const { return semaphore_->try_acquire(); }
    void enqueue() { semaphore_->waiters_.add(*this); }
    void value() const {}

   private:
    semaphore* semaphore_;
  };

  std::size_t available() const { return permits_; }
  /// Fails while others wait, so that nobody overtakes them.
  bool try_acquire() {
    if (permits_ == 0 || !waiters_.empty()) return false;
    --permits_;
    return true;
  }
  detail::request<take> acquire() { return detail::request<take>({this}); }
  void release(std::size_t n = 1) {
    for (; n > 0; --n) {
      if (auto* waiter = waiters_.pop())
        waiter->complete();  // the permit goes straight to the one who waited
      else
        ++permits_;
    }
  }

 private:
  friend class mutex;
  std::size_t permits_;
  detail::wait_list waiters_;
};

/// Mutual exclusion across suspensions. lock() gives a guard that unlocks when it goes.
class mutex {
 public:
  class guard {
   public:
    guard() = default;
    explicit guard(mutex& m) : mutex_(&m) {}
    guard(guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    guard& operator=(guard&& other) noexcept {
      if (this != &other) {
        unlock();
        mutex_ = std::exchange(other.mutex_, nullptr);
      }
      return *this;
    }
    ~guard() { unlock(); }
    void unlock() {
      if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->permit_.release();
    }

   private:
    mutex* mutex_ = nullptr;
  };

  class take : public detail::wait_awaiter<take> {
   public:
    static constexpr const char* name = "mutex lock";
    struct arguments {
      mutex* of;
    };
    take(const arguments& of, duration limit) : wait_awaiter(limit), mutex_(of.of) {}
    bool ready() const { return mutex_->permit_.try_acquire(); }
    void enqueue() { mutex_->permit_.waiters_.add(*this); }
    guard value() const {
#if WEIR_WITH_TASKS
      mutex_->taken_at_ = detail::promise_of(handle).where;
#endif
      return guard(*mutex_);
    }
    void tell_more([[maybe_unused]] detail::wait_told& out) const {
#if WEIR_WITH_TASKS
      out.holder = mutex_->taken_at_;
#endif
    }

   protected:
    result<guard> outcome() const {
      if (auto ec = this->final_error()) return ec;
      return value();
    }

   private:
    mutex* mutex_;
  };

  bool locked() const { return permit_.available() == 0; }
  detail::request<take> lock() { return detail::request<take>({this}); }

 private:
  semaphore permit_{1};
#if WEIR_WITH_TASKS
  detail::source_at taken_at_ = nullptr;
#endif
};

/// A bounded queue between coroutines of one shard. send() waits while it is full, receive() while
/// it is empty; after close(), send() fails with error::closed and receive() drains what is left,
/// then gives nothing.
template <class T>
class channel {
 public:
  explicit channel(std::size_t capacity) : capacity_(capacity) { assert(capacity > 0); }

  class put : public detail::wait_awaiter<put> {
   public:
    static constexpr const char* name = "channel send";
    struct arguments {
      channel* of;
      T item;
    };
    put(arguments&& of, duration limit)
        : detail::wait_awaiter<put>(limit), channel_(of.of), item_(std::move(of.item)) {}
    bool ready() { return !channel_->closed_ && channel_->try_put(item_); }
    void enqueue() {
      if (channel_->closed_)
        this->complete(make_error_code(error::closed));
      else
        channel_->senders_.add(*this);
    }
    void value() const {}
    void tell_more(detail::wait_told& out) const { channel_->tell(out); }

   private:
    friend channel;
    channel* channel_;
    T item_;
  };

  class get : public detail::wait_awaiter<get> {
   public:
    static constexpr const char* name = "channel receive";
    struct arguments {
      channel* of;
    };
    get(const arguments& of, duration limit) : detail::wait_awaiter<get>(limit), channel_(of.of) {}
    bool ready() { return channel_->try_get(item_) || channel_->closed_; }
    void enqueue() { channel_->receivers_.add(*this); }
    /// Empty: closed and drained.
    std::optional<T> value() { return std::move(item_); }
    void tell_more(detail::wait_told& out) const { channel_->tell(out); }

   protected:
    result<std::optional<T>> outcome() {
      if (auto ec = this->final_error()) return ec;
      return std::move(item_);
    }

   private:
    friend channel;
    channel* channel_;
    std::optional<T> item_;
  };

  std::size_t size() const { return items_.size(); }
  std::size_t capacity() const { return capacity_; }
  bool closed() const { return closed_; }

  detail::request<put> send(T value) { return detail::request<put>({this, std::move(value)}); }
  detail::request<get> receive() { return detail::request<get>({this}); }
  /// False when full or closed; `value` is then untouched.
  bool try_send(T& value) { return !closed_ && try_put(value); }
  bool try_send(T&& value) { return try_send(value); }
  /// What is there; nothing where the channel is empty.
  std::optional<T> try_receive() {
    std::optional<T> item;
    try_get(item);
    return item;
  }

  void close() {
    closed_ = true;
    while (auto* waiter = senders_.pop()) waiter->complete(make_error_code(error::closed));
    while (auto* waiter = receivers_.pop()) waiter->complete();
  }

 private:
  bool try_put(T& value) {
    if (auto* waiter = receivers_.pop()) {
      static_cast<get*>(waiter)->item_.emplace(std::move(value));
      waiter->complete();
      return true;
    }
    if (items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    return true;
  }
  bool try_get(std::optional<T>& into) {
    if (items_.empty()) return false;
    into.emplace(std::move(items_.front()));
    items_.pop_front();
    if (auto* waiter = senders_.pop()) {
      items_.push_back(std::move(static_cast<put*>(waiter)->item_));
      waiter->complete();
    }
    return true;
  }

  void tell(detail::wait_told& out) const {
    out.have = static_cast<std::int64_t>(items_.size());
    out.bound = static_cast<std::int64_t>(capacity_);
  }

  std::size_t capacity_;
  std::deque<T> items_;
  bool closed_ = false;
  detail::wait_list senders_;
  detail::wait_list receivers_;
};

}  // namespace weir

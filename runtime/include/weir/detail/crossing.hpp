// What values pass through from any shard to one of them, their home: a fixed number of places,
// made once. A place is free, or on its way (in the home's mailbox), or at home. Sending into a
// free place is a compare-and-swap and a message, without a lock, an allocation or an answer; a
// sender that finds none asks the home for one and waits for its answer.
//
// Life: counted references. The home's object holds one, each sending handle, and each place and
// operation that is on its way, so that what arrives late finds it.
#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "weir/detail/mailbox.hpp"
#include "weir/detail/operation.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

template <class T>
class crossing {
 public:
  struct place : message {
    place() : message(&crossing::arrive) {}
    std::optional<T> value;
    crossing* of = nullptr;
    std::uint32_t index = 0;
    std::atomic<std::uint32_t> below = none;  // of the free ones
    place* following = nullptr;               // of those at home
  };
  class put;

  /// `arrived` gets every place with a value, at home, in order, and gives it back with done().
  crossing(shard& home, std::size_t capacity, void (*arrived)(void*, place&), void* whom)
      : home_(home),
        capacity_(static_cast<std::uint32_t>(capacity)),
        places_(std::make_unique<place[]>(capacity)),
        arrived_(arrived),
        whom_(whom),
        close_note_(*this) {
    assert(capacity > 0 && capacity < none);
    for (std::uint32_t i = 0; i < capacity_; ++i) {
      places_[i].of = this;
      places_[i].index = i;
      places_[i].below.store(i + 1 < capacity_ ? i + 1 : none, std::memory_order_relaxed);
    }
    free_.store(0, std::memory_order_release);
  }
  crossing(const crossing&) = delete;

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  shard& home() const { return home_; }
  std::size_t capacity() const { return capacity_; }
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  /// Sends that found no place free, and had to wait.
  std::uint64_t waited() const { return waited_.load(std::memory_order_relaxed); }

  /// Any thread. False: closed, or no place is free; `value` is then untouched.
  bool try_put(T& value) {
    if (closed()) return false;
    auto* at = take_free();
    if (at == nullptr) return false;
    retain();
    // Looked at again: who closes counts the places that are on their way.
    const bool late = closed();
    if (!late) at->value.emplace(std::move(value));
    home_.deliver(*at);
    return !late;
  }

  /// Any thread. Sends fail from now on; what was sent before arrives, and `on_close` is called at
  /// home.
  void close() noexcept {
    if (closed_.exchange(true, std::memory_order_acq_rel)) return;
    retain();
    home_.deliver(close_note_);
  }

  // --- At home.

  /// Called when it was closed, and when a place came home empty: something that is waited for may
  /// not come any more.
  void on_close(void (*f)(void*)) { on_close_ = f; }
  /// Nobody is there any more to get what arrives.
  void abandon() noexcept {
    whom_ = nullptr;
    close();
    refuse_waiting();
  }
  /// Closed, and every place is here: nothing comes any more. `held`: by who gets them.
  bool nothing_comes(std::size_t held) noexcept {
    if (!closed()) return false;
    while (take_free() != nullptr) ++collected_;
    return collected_ + held == capacity_;
  }
  /// A place is empty again: whoever waits longest gets it.
  void done(place& at) {
    at.value.reset();
    if (closed())
      ++collected_;
    else if (auto* waiter = pop_waiter(); waiter != nullptr)
      admit(*waiter, at);
    else
      give_back(at);
  }

 private:
  static constexpr std::uint32_t none = UINT32_MAX;

  struct close_message : message {
    explicit close_message(crossing& c) : message(&crossing::closed_at_home), of(&c) {}
    crossing* of;
  };

  // The free places are a stack; the upper half of its head counts, so that a head which came back
  // is not taken for the one that was seen.
  place* take_free() noexcept {
    auto top = free_.load(std::memory_order_acquire);
    for (;;) {
      const auto index = static_cast<std::uint32_t>(top);
      if (index == none) return nullptr;
      const auto next = places_[index].below.load(std::memory_order_relaxed);
      const auto wanted = counted(top) | next;
      if (free_.compare_exchange_weak(top, wanted, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        return &places_[index];
    }
  }
  void give_back(place& at) noexcept {
    auto top = free_.load(std::memory_order_relaxed);
    do at.below.store(static_cast<std::uint32_t>(top), std::memory_order_relaxed);
    while (!free_.compare_exchange_weak(top, counted(top) | at.index, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  }
  static std::uint64_t counted(std::uint64_t top) { return ((top >> 32) + 1) << 32; }

  static void arrive(message& m) noexcept {
    auto& at = static_cast<place&>(m);
    auto& self = *at.of;
    self.take_in(at);
    self.drop();
  }
  void take_in(place& at) {
    if (at.value.has_value() && whom_ != nullptr) return arrived_(whom_, at);
    done(at);
    tell_closed();
  }
  static void closed_at_home(message& m) noexcept {
    auto& self = *static_cast<close_message&>(m).of;
    self.refuse_waiting();
    self.tell_closed();
    self.drop();
  }
  void tell_closed() {
    if (closed() && whom_ != nullptr && on_close_ != nullptr) on_close_(whom_);
  }
  void refuse_waiting() noexcept {
    while (auto* waiter = pop_waiter()) waiter->answer(make_error_code(error::closed));
  }
  void admit(put& op, place& at) {
    at.value.emplace(std::move(op.item_));
    op.answer({});
    if (whom_ != nullptr)
      arrived_(whom_, at);
    else
      done(at);
  }
  put* pop_waiter() noexcept {
    auto* first = first_waiter_;
    if (first != nullptr) unlink(*first);
    return first;
  }
  void link(put& op) noexcept {
    op.before_ = last_waiter_;
    op.behind_ = nullptr;
    (last_waiter_ != nullptr ? last_waiter_->behind_ : first_waiter_) = &op;
    last_waiter_ = &op;
    op.waits_ = true;
  }
  void unlink(put& op) noexcept {
    (op.before_ != nullptr ? op.before_->behind_ : first_waiter_) = op.behind_;
    (op.behind_ != nullptr ? op.behind_->before_ : last_waiter_) = op.before_;
    op.waits_ = false;
  }

  shard& home_;
  const std::uint32_t capacity_;
  std::unique_ptr<place[]> places_;
  std::atomic<std::uint64_t> free_{none};
  std::atomic<std::uint32_t> references_{1};
  std::atomic<std::uint64_t> waited_{0};
  std::atomic<bool> closed_{false};

  // At home.
  void (*arrived_)(void*, place&);
  void* whom_;
  void (*on_close_)(void*) = nullptr;
  std::size_t collected_ = 0;  // places that are out of use since it was closed
  put* first_waiter_ = nullptr;
  put* last_waiter_ = nullptr;
  close_message close_note_;
};

/// A send. The value is in the sender's frame until there is a place for it.
template <class T>
class [[nodiscard]] crossing<T>::put : public operation {
 public:
  struct arguments {
    crossing* of;
    T item;
  };
  put(arguments&& of, duration limit)
      : operation(&hook<&put::withdraw, &put::tell>),
        of_(of.of),
        item_(std::move(of.item)),
        ask_(*this),
        withdrawal_(*this) {
    set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  void await_resume() {
    if (auto ec = final_error()) throw io_error(ec, "send to a shard");
  }

 protected:
  std::error_code outcome() const noexcept { return final_error(); }

 private:
  friend crossing;
  struct note : message {
    explicit note(put& p) : message(nullptr), of(&p) {}
    put* of;
  };

  // On the sender's shard.
  void begin() {
    if (of_->closed()) return complete(make_error_code(error::closed));
    if (of_->try_put(item_)) return complete();
    of_->waited_.fetch_add(1, std::memory_order_relaxed);
    of_->retain();
    ask_.run = &put::asked;
    of_->home_.deliver(ask_);
  }
  static void withdraw(operation& op) noexcept {
    auto& self = static_cast<put&>(op);
    self.withdrawing_ = true;
    self.withdrawal_.run = &put::withdrawn;
    self.of_->home_.deliver(self.withdrawal_);
  }
  static void answered(message& m) noexcept {
    auto& self = *static_cast<note&>(m).of;
    self.answered_ = true;
    self.end_when_both_are_back();
  }
  static void withdrawal_back(message& m) noexcept {
    auto& self = *static_cast<note&>(m).of;
    self.withdrawing_ = false;
    self.end_when_both_are_back();
  }
  void end_when_both_are_back() {
    if (!answered_ || withdrawing_) return;
    auto* of = of_;
    complete(answer_);
    of->drop();
  }
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept {
    const auto& self = static_cast<const put&>(told(node, out));
    out.operation = "send to a shard";
    out.bound = static_cast<std::int64_t>(self.of_->capacity());
  }

  // At home.
  static void asked(message& m) noexcept {
    auto& self = *static_cast<note&>(m).of;
    auto& to = *self.of_;
    if (to.closed()) return self.answer(make_error_code(error::closed));
    if (auto* at = to.take_free()) return to.admit(self, *at);
    to.link(self);
  }
  static void withdrawn(message& m) noexcept {
    auto& self = *static_cast<note&>(m).of;
    if (self.waits_) {
      self.of_->unlink(self);
      self.answer(canceled_error());
    }
    self.withdrawal_.run = &put::withdrawal_back;
    self.owner().deliver(self.withdrawal_);
  }
  /// It may be gone from here on, unless a withdrawal is on its way.
  void answer(std::error_code ec) noexcept {
    answer_ = ec;
    ask_.run = &put::answered;
    owner().deliver(ask_);
  }

  crossing* of_;
  T item_;
  note ask_, withdrawal_;
  std::error_code answer_;
  bool answered_ = false;     // the sender's
  bool withdrawing_ = false;  // the sender's
  bool waits_ = false;        // home's
  put* before_ = nullptr;     // home's
  put* behind_ = nullptr;     // home's
};

}  // namespace weir::detail

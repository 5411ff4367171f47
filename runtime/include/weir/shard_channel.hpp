// A bounded channel into one shard from all shards of the run. The receiving end is an object of
// its shard; sending ends are handles that any shard may keep and copy.
//
//   weir::shard_channel<job> jobs(shard, 256);
//   auto to = jobs.sender();          // handed to others
//   co_await to.send(std::move(job)); // on any shard; waits while it is full
//   while (auto next = co_await jobs.receive()) ...
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "weir/detail/crossing.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"
#include "weir/sync.hpp"

namespace weir {

/// Sends into a shard_channel. Copies send to the same one. Used by one thread at a time, and not
/// after the channel's shard has gone: every shard of a run is there until the last serve() ended.
template <class T>
class channel_sender {
 public:
  channel_sender() = default;
  explicit channel_sender(detail::crossing<T>& to) : to_(&to) { to.retain(); }
  channel_sender(const channel_sender& other) : to_(other.to_) {
    if (to_ != nullptr) to_->retain();
  }
  channel_sender(channel_sender&& other) noexcept : to_(std::exchange(other.to_, nullptr)) {}
  channel_sender& operator=(channel_sender other) noexcept {
    std::swap(to_, other.to_);
    return *this;
  }
  ~channel_sender() {
    if (to_ != nullptr) to_->drop();
  }

  /// Sends; waits while the channel is full. What one coroutine sends arrives in its order. Where
  /// there is room nothing is allocated, locked or answered. Fails with error::closed;
  /// .timeout(d), .nothrow(), .until_stop() as every wait: the value then was not sent. This handle
  /// outlives the wait.
  detail::request<typename detail::crossing<T>::put> send(T value) {
    return detail::request<typename detail::crossing<T>::put>({to_, std::move(value)});
  }
  /// False when it is full or closed; `value` is then untouched.
  bool try_send(T& value) { return to_->try_put(value); }
  /// As shard_channel::close().
  void close() noexcept { to_->close(); }
  bool closed() const { return to_->closed(); }

 private:
  detail::crossing<T>* to_ = nullptr;
};

template <class T>
class shard_channel {
  using place = typename detail::crossing<T>::place;

 public:
  /// Holds up to `capacity` values, those included that are on their way.
  shard_channel(shard& home, std::size_t capacity)
      : line_(new detail::crossing<T>(home, capacity, &shard_channel::arrived, this)) {
    line_->on_close(&shard_channel::may_be_over);
  }
  shard_channel(const shard_channel&) = delete;
  shard_channel& operator=(const shard_channel&) = delete;
  /// Sends fail with error::closed from now on; what arrived and was not received goes.
  ~shard_channel() {
    line_->abandon();
    while (auto* at = pop()) line_->done(*at);
    line_->drop();
  }

  channel_sender<T> sender() { return channel_sender<T>(*line_); }
  /// Sends fail with error::closed from now on. What was sent before is received, then nothing.
  void close() noexcept { line_->close(); }
  bool closed() const { return line_->closed(); }
  std::size_t size() const { return size_; }  ///< values that have arrived
  std::size_t capacity() const { return line_->capacity(); }
  /// Sends that found it full, and had to wait.
  std::uint64_t waited() const { return line_->waited(); }

  class get : public detail::wait_awaiter<get> {
   public:
    static constexpr const char* name = "receive from shards";
    struct arguments {
      shard_channel* of;
    };
    get(const arguments& of, duration limit) : detail::wait_awaiter<get>(limit), of_(of.of) {}
    bool ready() {
      assert(of_->line_->home().on_this_thread());
      return of_->try_get(item_) || of_->line_->nothing_comes(of_->size_);
    }
    void enqueue() { of_->receivers_.add(*this); }
    std::optional<T> value() { return std::move(item_); }
    void tell_more(detail::wait_told& out) const {
      out.bound = static_cast<std::int64_t>(of_->capacity());
    }

   protected:
    result<std::optional<T>> outcome() {
      if (auto ec = this->final_error()) return ec;
      return std::move(item_);
    }

   private:
    friend shard_channel;
    shard_channel* of_;
    std::optional<T> item_;
  };
  /// The next value; nothing once it is closed and what was sent has been received.
  detail::request<get> receive() { return detail::request<get>({this}); }
  /// What has arrived.
  std::optional<T> try_receive() {
    std::optional<T> item;
    try_get(item);
    return item;
  }

 private:
  static void arrived(void* self, place& at) {
    auto& here = *static_cast<shard_channel*>(self);
    if (auto* waiter = static_cast<get*>(here.receivers_.pop())) {
      waiter->item_.emplace(std::move(*at.value));
      here.line_->done(at);
      return waiter->complete();
    }
    at.following = nullptr;
    (here.last_ != nullptr ? here.last_->following : here.first_) = &at;
    here.last_ = &at;
    ++here.size_;
  }
  static void may_be_over(void* self) {
    auto& here = *static_cast<shard_channel*>(self);
    if (here.receivers_.empty() || !here.line_->nothing_comes(here.size_)) return;
    while (auto* waiter = here.receivers_.pop()) waiter->complete();
  }
  place* pop() {
    auto* at = first_;
    if (at == nullptr) return nullptr;
    first_ = at->following;
    if (first_ == nullptr) last_ = nullptr;
    --size_;
    return at;
  }
  bool try_get(std::optional<T>& into) {
    auto* at = pop();
    if (at == nullptr) return false;
    into.emplace(std::move(*at->value));
    line_->done(*at);
    return true;
  }

  detail::crossing<T>* line_;
  place* first_ = nullptr;
  place* last_ = nullptr;
  std::size_t size_ = 0;
  detail::wait_list receivers_;
};

}  // namespace weir

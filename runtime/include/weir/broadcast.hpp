// From any shard to everybody who listens on any: each shard gets a copy of the value, and gives
// one to each of its subscriptions. Whoever listens too slowly misses values and is told; nobody
// waits for him.
//
//   weir::broadcast<std::shared_ptr<const message>> said;  // outlives all that use it
//   weir::subscription mine(said, shard, 256);
//   co_await said.send(text);
//   auto next = co_await mine.receive();
#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "weir/detail/crossing.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"
#include "weir/sharded.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"

namespace weir {

template <class T>
class broadcast;

/// Of one listener, on his shard: what was sent since it was made, at most `capacity` at a time.
template <class T>
class subscription {
 public:
  subscription(broadcast<T>& to, shard& here, std::size_t capacity);
  ~subscription();
  subscription(const subscription&) = delete;
  subscription& operator=(const subscription&) = delete;

  class get : public detail::wait_awaiter<get> {
   public:
    static constexpr const char* name = "receive from a broadcast";
    struct arguments {
      subscription* of;
    };
    get(const arguments& of, duration limit) : detail::wait_awaiter<get>(limit), of_(of.of) {}
    bool ready() { return of_->take(item_) || (lost_ = of_->tell_loss()); }
    void enqueue() { of_->receivers_.add(*this); }
    T value() {
      if (lost_) throw io_error(make_error_code(error::limit_exceeded), name);
      return std::move(*item_);
    }
    void tell_more(detail::wait_told& out) const {
      out.bound = static_cast<std::int64_t>(of_->items_.size());
    }

   protected:
    result<T> outcome() {
      if (auto ec = this->final_error()) return ec;
      if (lost_) return make_error_code(error::limit_exceeded);
      return std::move(*item_);
    }

   private:
    friend subscription;
    subscription* of_;
    std::optional<T> item_;
    bool lost_ = false;
  };
  /// The next value. error::limit_exceeded, once, where values were missed: it goes on with those
  /// that were sent after them.
  detail::request<get> receive() { return detail::request<get>({this}); }
  /// Waits until a value is missed that receive() has not told of yet.
  detail::request<event::wait_for_set> loss() { return behind_.wait(); }
  std::size_t size() const { return held_; }        ///< values that wait
  std::uint64_t missed() const { return missed_; }  ///< values that found it full

 private:
  friend class broadcast<T>;
  using part = typename broadcast<T>::part;

  void offer(const T& value) {
    if (auto* waiter = static_cast<get*>(receivers_.pop())) {
      waiter->item_.emplace(value);
      return waiter->complete();
    }
    // After a loss nothing before it is told: what comes later must not stand before it.
    if (lost_ || held_ == items_.size()) {
      lost_ = true;
      ++missed_;
      return behind_.set();
    }
    items_[(first_ + held_++) % items_.size()].emplace(value);
  }
  bool take(std::optional<T>& into) {
    if (held_ == 0) return false;
    into = std::exchange(items_[first_], std::nullopt);
    first_ = (first_ + 1) % items_.size();
    --held_;
    return true;
  }

  bool tell_loss() {
    behind_.reset();
    return std::exchange(lost_, false);
  }

  part& of_;
  event behind_;
  std::vector<std::optional<T>> items_;
  std::size_t first_ = 0, held_ = 0;
  bool lost_ = false;
  std::uint64_t missed_ = 0;
  detail::wait_list receivers_;
};

template <class T>
class broadcast {
 public:
  using value_type = T;
  /// `under_way`: values that may be on their way to a shard, and no subscription's yet; a shard
  /// that is behind by more holds senders up.
  explicit broadcast(std::size_t under_way = 64) : under_way_(under_way) {}

  /// Sends to every subscription of this run, this shard's too. Values of one sender arrive in
  /// order everywhere. Subscriptions that are made meanwhile on other shards may or may not get it.
  task<> send(T value) {
    auto& here = co_await this_shard();
    for (auto* to : here.siblings()) {
      auto* there = (*parts_)[to->index()].load(std::memory_order_acquire);
      if (there == nullptr) continue;  // nobody ever listened there
      T copy = value;
      if (!there->line.try_put(copy)) co_await put(there->line, std::move(copy));
    }
  }

 private:
  friend class subscription<T>;
  static constexpr std::size_t most_shards = 1024;  // as `shards` of the configuration

  struct part;
  using table = std::array<std::atomic<part*>, most_shards>;

  /// One shard's, and kept by it to its end.
  struct part {
    part(const broadcast& b, shard& here)
        : all(b.parts_), line(*new detail::crossing<T>(here, b.under_way_, &part::arrived, this)) {
      (*all)[here.index()].store(this, std::memory_order_release);
    }
    ~part() {
      (*all)[line.home().index()].store(nullptr, std::memory_order_release);
      line.abandon();
      line.drop();
    }
    static void arrived(void* self, typename detail::crossing<T>::place& at) {
      auto& mine = *static_cast<part*>(self);
      for (auto* each : mine.listening) each->offer(*at.value);
      mine.line.done(at);
    }

    std::shared_ptr<table> all;
    detail::crossing<T>& line;
    std::vector<subscription<T>*> listening;
  };

  static detail::request<typename detail::crossing<T>::put> put(detail::crossing<T>& to, T value) {
    return detail::request<typename detail::crossing<T>::put>({&to, std::move(value)});
  }
  part& at(shard& here) {
    assert(here.index() < most_shards);
    return spread_.local(here);
  }

  std::size_t under_way_;
  std::shared_ptr<table> parts_ = std::make_shared<table>();
  sharded<part> spread_{[this](shard& here) { return std::make_unique<part>(*this, here); }};
};

template <class T>
subscription<T>::subscription(broadcast<T>& to, shard& here, std::size_t capacity)
    : of_(to.at(here)), items_(capacity) {
  assert(capacity > 0);
  of_.listening.push_back(this);
}

template <class T>
subscription<T>::~subscription() {
  std::erase(of_.listening, this);
}

}  // namespace weir

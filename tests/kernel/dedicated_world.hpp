// Shards on threads of their own on one stack, dedicated unless a test wants it otherwise, in the
// network of the process.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/backend/family.hpp"
#include "runtime/observe/take_snapshot.hpp"
#include "runtime/transport/stack/dedicated/dedicated_stack.hpp"
#include "weir/weir.hpp"

namespace kernel_test {

/// weir's default.
inline constexpr const char* address = "198.18.0.2";
inline constexpr std::chrono::seconds patience{60};

/// A call on a shard's own thread.
template <class F>
auto call_on(weir::shard& where, F&& f) {
  std::promise<decltype(f())> done;
  where.post([&] { done.set_value(f()); });
  return done.get_future().get();
}

/// Keeps a shard's thread from doing anything.
class standstill {
 public:
  explicit standstill(weir::shard& s) {
    s.post([this] {
      stands_.count_down();
      go_on_.wait();
      gone_.count_down();
    });
    stands_.wait();
  }
  ~standstill() {
    go_on_.count_down();
    gone_.wait();
  }

 private:
  std::latch stands_{1}, go_on_{1}, gone_{1};
};

/// Some shards on one stack. Whatever runs on them is cancelled at the end.
class world {
 public:
  explicit world(unsigned shards, weir::config settings = {},
                 weir::placement where = weir::placement::dedicated) {
    settings.backend = "stack";
    settings.stack.placement = where;
    settings.shards = shards;
    for (unsigned i = 0; i < shards; ++i)
      threads_.push_back(std::make_unique<weir::shard_thread>(settings, i, family_));
  }

  weir::shard& shard(std::size_t i) { return threads_[i]->shard(); }
  weir::shard& stack() {
    return family_->inside().part<weir::detail::dedicated_family>().stack->shard();
  }
  weir::detail::sockets_owner& sockets_owner() {
    return family_->inside().part<weir::detail::dedicated_family>().stack->service();
  }

  void start(std::size_t i, std::function<weir::task<>(weir::shard&)> what) {
    shard(i).post([this, i, what = std::move(what)] {
      shard(i).start(run(shard(i), what), [](std::exception_ptr) {});
    });
  }
  /// Ends a shard, and its thread.
  void end(std::size_t i) { threads_[i].reset(); }
  std::error_code refusal(std::size_t i, std::uint16_t port, const weir::listen_options& how) {
    return call_on(shard(i), [&] {
      auto listener = shard(i).try_listen({address, port}, how);
      return listener ? std::error_code() : listener.error();
    });
  }
  std::uint64_t count(weir::shard& of, std::string_view name) {
    return call_on(of, [&]() -> std::uint64_t {
      for (const auto& c : weir::detail::take_snapshot(of, {}).counts)
        if (c.name == name) return c.value;
      return ~std::uint64_t{0};
    });
  }
  /// Waits for a counter; false when it does not come.
  bool reaches(weir::shard& of, std::string_view name, std::uint64_t wanted) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (count(of, name) < wanted) {
      if (std::chrono::steady_clock::now() > until) return false;
      ::usleep(200);
    }
    return true;
  }

 private:
  static weir::task<> run(weir::shard& s, std::function<weir::task<>(weir::shard&)> what) {
    co_await what(s);
  }

  std::shared_ptr<weir::shard_family> family_ = std::make_shared<weir::shard_family>();
  std::vector<std::unique_ptr<weir::shard_thread>> threads_;
};

}  // namespace kernel_test

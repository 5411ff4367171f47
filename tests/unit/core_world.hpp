// A shard without sockets under a clock that only moves when everybody waits: for tests of the core
// alone. Nothing here depends on the machine's speed; a wake-up from another thread is a real one.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/transport.hpp"
#include "weir/weir.hpp"

namespace core_test {

/// Waiting for a deadline makes it so. Waiting without one waits for wake().
class jumping_driver : public weir::detail::driver {
 public:
  std::string_view name() const override { return "jumping"; }
  weir::instant now() override { return now_; }
  void turn(weir::instant deadline) override {
    std::unique_lock lock(mutex_);
    if (deadline.is_never()) wake_up_.wait(lock, [this] { return woken_; });
    if (!woken_ && deadline > now_) now_ = deadline;
    woken_ = false;
  }
  void wake() noexcept override {
    std::lock_guard lock(mutex_);
    woken_ = true;
    wake_up_.notify_one();
  }
  weir::result<std::unique_ptr<weir::detail::packet_port>> open_packet_port(
      int, std::size_t, weir::detail::packet_receiver&) override {
    return std::make_error_code(std::errc::operation_not_supported);
  }

 private:
  weir::instant now_ = weir::instant::from_ns(1'000'000'000);
  std::mutex mutex_;
  std::condition_variable wake_up_;
  bool woken_ = false;
};

/// Has no sockets.
class no_transport final : public weir::detail::transport {
 public:
  std::string_view name() const override { return "none"; }
  weir::result<weir::detail::listener_socket*> listen(const weir::endpoint&,
                                                      const weir::listen_options&) override {
    return std::errc::operation_not_supported;
  }
  void start_connect(weir::detail::connect_operation& op) override {
    op.complete(std::make_error_code(std::errc::operation_not_supported));
  }
  void cancel_connect(weir::detail::connect_operation&) noexcept override {}
  void release(weir::detail::lent_bytes&) noexcept override {}
  void settle(weir::detail::socket_base&) noexcept override {}
  void before_wait(weir::instant) override {}
  weir::instant next_deadline() const override { return weir::instant::never(); }
  std::size_t closing() const override { return 0; }
  void abandon() noexcept override {}

 private:
  void bring_in(weir::detail::socket_base&) override {}
  bool lend(weir::detail::socket_base&, weir::detail::lent_bytes&) override { return false; }
  void take_out(weir::detail::socket_base&) override {}
  std::error_code send_fin(weir::detail::socket_base&) noexcept override { return {}; }
  void give_up(weir::detail::socket_base&, bool) noexcept override {}
  void accept_wanted(weir::detail::listener_socket&, weir::detail::accept_operation&) override {}
  void stop_listening(weir::detail::listener_socket&) noexcept override {}
};

class world {
 public:
  world()
      : shard_(0, settings_, std::make_unique<jumping_driver>(), std::make_unique<no_transport>()) {
  }

  weir::shard& shard() { return shard_; }

  /// Runs `body(shard)` to its end and everything that it left to the shard. Throws what it threw.
  void run(std::function<weir::task<>(weir::shard&)> body) {
    bool ended = false;
    std::exception_ptr failure;
    shard_.start(body(shard_), [&](std::exception_ptr f) {
      failure = std::move(f);
      ended = true;
    });
    shard_.run_until([&] { return ended && shard_.roots() == 0; });
    if (failure) std::rethrow_exception(failure);
  }

 private:
  weir::config settings_;
  weir::shard shard_;
};

/// A shard on a thread of its own, until it goes.
class second_shard {
 public:
  second_shard() : thread_([this] { serve(); }) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return shard_ != nullptr; });
  }
  ~second_shard() {
    shard_->post([this] { end_ = true; });
    thread_.join();
  }
  weir::shard& shard() { return *shard_; }

 private:
  void serve() {
    weir::config settings;
    weir::shard mine(1, settings, std::make_unique<jumping_driver>(),
                     std::make_unique<no_transport>());
    {
      std::lock_guard lock(mutex_);
      shard_ = &mine;
      changed_.notify_one();
    }
    mine.run_until([&] { return end_ && mine.roots() == 0; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  weir::shard* shard_ = nullptr;
  bool end_ = false;  // the shard's own thread's
  std::thread thread_;
};

/// The error of an io_error that `attempt` throws; no error when it ends well.
inline weir::task<std::error_code> error_of(weir::task<> attempt) {
  std::error_code code;
  try {
    co_await std::move(attempt);
  } catch (const weir::io_error& e) {
    code = e.code();
  }
  co_return code;
}

}  // namespace core_test

// The driver on Asio's io_context, with its epoll reactor: where this build's portable back end
// gets completions and time from. Private to driver/asio and transport/asio, the only folders that
// include Asio.
//
// Descriptors are watched in a set of the driver's own (ready_set.hpp), which the reactor sees as
// one.
//
// Waits are as exact as epoll_wait(2), which counts milliseconds: a deadline is met up to one
// millisecond late, never early, and costs no timerfd call.
#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "runtime/backend/driver.hpp"
#include "runtime/core/spin_policy.hpp"
#include "runtime/driver/asio/asio_outer_loop.hpp"
#include "runtime/driver/asio/handler_slot.hpp"
#include "runtime/driver/asio/ready_set.hpp"

namespace weir::detail {

class asio_driver final : public driver {
 public:
  explicit asio_driver(spin_policy spin);
  /// On somebody's io_context.
  explicit asio_driver(asio::io_context& theirs);
  ~asio_driver() override;

  std::string_view name() const override { return "asio"; }
  instant now() override;
  void turn(instant deadline) override;
  void wake() noexcept override;
  result<std::unique_ptr<packet_port>> open_packet_port(int device, std::size_t frame_limit,
                                                        packet_receiver& receiver) override;
  result<std::unique_ptr<watch>> watch_descriptor(int fd, watch_client& client) override;
  std::uint64_t system_calls() const override { return system_calls_; }
  std::error_code let_loop_call(std::function<instant()> turn) override;
  void has_work(bool some) override;
  void leave_loop() override;

  // --- For the clients of this driver.

  asio::io_context& context() { return context_; }
  ready_set& watched() { return *watched_; }
  /// A handler has run, and handed out what it had.
  void handled() {
    if (outer_ != nullptr) outer_->ask();
  }
  void count_system_call() noexcept { ++system_calls_; }

 private:
  /// Of somebody's io_context, in one turn.
  static constexpr std::size_t handlers_per_turn = 512;
  /// So many were ready at once: more have come by the time that these are served.
  static constexpr std::size_t busy_at = 4;

  class wake_handler;
  /// Of wake(): from there until its handler runs, so that there is one such handler at most and
  /// its memory can be one slot. In an io_context of somebody else it may outlive the driver.
  struct wake_up {
    std::atomic<bool> woken{false};
    handler_slot slot;
    asio_driver* driver;
  };
  using work_guard = asio::executor_work_guard<asio::io_context::executor_type>;

  void make_reactor();
  void look();
  bool spin(instant deadline);

  std::optional<asio::io_context> own_;
  asio::io_context& context_;
  std::optional<work_guard> work_;
  std::shared_ptr<wake_up> wake_up_ = std::make_shared<wake_up>();
  std::shared_ptr<asio_outer_loop> outer_;
  spin_policy spin_;
  std::uint64_t system_calls_ = 0;
  std::optional<ready_set> watched_;
};

}  // namespace weir::detail

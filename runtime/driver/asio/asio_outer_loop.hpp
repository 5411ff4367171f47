// The turns of a shard that lives in somebody's io_context: handlers that are posted there, and one
// timer. Private to driver/asio.
//
// What waits in the io_context keeps a reference, and finds at the shard's end that there is
// nothing to do any more.
#pragma once

#include <asio/basic_waitable_timer.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>

#include "runtime/driver/asio/handler_slot.hpp"
#include "weir/stack/time.hpp"

namespace weir::detail {

class asio_outer_loop : public std::enable_shared_from_this<asio_outer_loop> {
 public:
  /// As driver::let_loop_call() has it.
  asio_outer_loop(asio::io_context& context, std::function<instant()> turn);

  /// A turn soon, after the handlers that wait already.
  void ask();
  void end() noexcept;

 private:
  using clock = std::chrono::steady_clock;
  template <void (asio_outer_loop::*Run)()>
  class handler;

  void turn_asked();
  void timer_fired();
  void arm(instant deadline);

  asio::io_context& context_;
  std::function<instant()> turn_;  // none: the end
  handler_slot turn_slot_, timer_slot_;
  bool asked_ = false;
  bool looked_ = false;
  instant due_;  // when the next turn has to be
  instant armed_ = instant::never();
  asio::basic_waitable_timer<clock, asio::wait_traits<clock>, asio::io_context::executor_type>
      timer_;
};

}  // namespace weir::detail

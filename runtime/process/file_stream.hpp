// A regular file as a stream, read and written where its open file stands, as whoever shares that
// goes on there: a program's standard input or output. Each call runs on the pool of offload().
#pragma once

#include "runtime/core/sockets/lending_pool.hpp"
#include "runtime/core/sockets/stream_core.hpp"
#include "weir/descriptor.hpp"
#include "weir/shard.hpp"
#include "weir/task.hpp"

namespace weir::detail {

/// A home of one stream. Deletes itself when the handle and what was lent have gone.
class file_stream final : public stream_core {
 public:
  static any_stream make(shard& here, unique_fd fd);

  void release(lent_bytes& lent) noexcept override;
  void settle(socket_base&) noexcept override {}  // nothing is queued in front of a reader
  int native_handle(const socket_base&) const noexcept override { return fd_.get(); }

 private:
  /// Where a coroutine waits until there is something to do.
  struct bell : ready_node {
    bool rung = false, waiting = false;
    void ring(shard& owner) noexcept {
      if (!waiting) return void(rung = true);
      waiting = false;
      make_ready(owner, *this);
    }
    bool await_ready() noexcept { return std::exchange(rung, false); }
    void await_suspend(std::coroutine_handle<> waiter) noexcept {
      handle = waiter;
      waiting = true;
    }
    void await_resume() noexcept {}
  };

  explicit file_stream(unique_fd fd) : fd_(std::move(fd)) {}
  task<> read_on();
  task<> write_on();
  void launch(task<> pump);
  void go_if_over() noexcept;

  void bring_in(socket_base& s) override;
  bool reading_elsewhere(socket_base&, bool) noexcept override { return reading_; }
  bool lend(socket_base&, lent_bytes&) override { return false; }  // read_operation::lent is filled
  void forget_lending(socket_base&) noexcept override { lending_.forget(socket_); }
  void take_out(socket_base& s) override;
  bool writing_elsewhere(socket_base&, const write_operation&) noexcept override {
    return writing_;
  }
  std::error_code send_fin(socket_base&) noexcept override { return {}; }
  void give_up(socket_base& s, bool reset) noexcept override;

  unique_fd fd_;
  lending_socket socket_;
  lending_pool lending_{16 * 1024, 64};
  bell in_, out_;
  bool reading_ = false, writing_ = false;
  bool given_up_ = false;
  unsigned pumps_ = 0;
};

}  // namespace weir::detail

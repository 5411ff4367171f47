// What every layer above a stream does alike: a home for one stream, which reads and writes another
// one. It owns that inner stream and two coroutines, one that reads it and one that writes it, each
// only when asked; when the handle has gone they end, what was written having left, and the inner
// stream and the layer go with them. The shard does not end before.
#pragma once

#include <cstddef>
#include <span>
#include <system_error>

#include "core/sockets/stream_core.hpp"
#include "weir/buffers.hpp"
#include "weir/detail/cancel.hpp"
#include "weir/detail/ready.hpp"
#include "weir/detail/timer.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir::detail {

/// Made with new, by a derived class's own function that also calls begin(); deletes itself.
class layer_core : public stream_core {
 public:
  explicit layer_core(any_stream inner);

  socket_base& socket() { return socket_; }

  endpoint local_endpoint(const socket_base&) const override { return inner_.local_endpoint(); }
  endpoint remote_endpoint(const socket_base&) const override { return inner_.remote_endpoint(); }

 protected:
  ~layer_core() override;

  /// Starts the two coroutines. May throw std::bad_alloc; then nothing has begun.
  void begin();

  // --- What the layer asks for.

  /// The inner stream's next bytes: came() or in_ended() follows, later. Asking twice is asking
  /// once.
  void ask_in() noexcept { in_.ring(owner()); }
  /// Writes these bytes, which stay as they are until gone(). One at a time.
  void ask_out(std::span<const std::byte> bytes) noexcept;
  bool writing_out() const { return !leaving_.empty(); }
  /// No more is asked to go out: the inner stream's sending direction ends.
  std::error_code end_out() noexcept;

  // --- What it is told.

  virtual void came(lent_buffer chunk) = 0;
  /// Without an error: the inner stream's end.
  virtual void in_ended(std::error_code why) = 0;
  virtual void gone(std::error_code why) = 0;
  /// The handle has gone: nothing more is asked to come in. What is still to leave is asked to go
  /// out. Asked again after each gone(), until there is nothing.
  virtual void flush() noexcept {}

  // --- Lending: a copy of the head of rx_data. A layer that has memory to hand over lends that.

  bool lend(socket_base& s, lent_bytes& lent) override;
  void release(lent_bytes& lent) noexcept override;
  /// What is lent keeps the layer, which it goes back to.
  void lent_out() noexcept { ++lent_; }
  void came_back() noexcept {
    --lent_;
    go_if_over();
  }

  void give_up(socket_base& s, bool reset) noexcept final;

 private:
  /// Where a coroutine waits until it is asked for.
  class bell : public ready_node {
   public:
    void ring(shard& owner) noexcept {
      if (!waiting_) {
        rung_ = true;
        return;
      }
      waiting_ = false;
      make_ready(owner, *this);
    }
    bool await_ready() noexcept { return std::exchange(rung_, false); }
    void await_suspend(std::coroutine_handle<> waiter) noexcept {
      handle = waiter;
      waiting_ = true;
    }
    void await_resume() noexcept {}

   private:
    bool rung_ = false;
    bool waiting_ = false;
  };
  struct ended : completion {
    layer_core* layer;
  };

  task<> read_inner();
  task<> write_inner();
  void launch(task<> pump, cancel_state& governing) noexcept;
  static void pump_ended(completion& c, promise_base& pump) noexcept;
  static void linger_over(timer_node& node) noexcept;
  void go_if_over() noexcept;

  any_stream inner_;
  socket_base socket_;
  bell in_;
  bell out_;
  std::span<const std::byte> leaving_;
  cancel_state in_cancel_;
  cancel_state out_cancel_;
  struct linger_timer : timer_node {
    explicit linger_timer(layer_core& l) : timer_node(&layer_core::linger_over), layer(&l) {}
    layer_core* layer;
  } linger_;
  ended ended_;
  unsigned running_ = 0;
  unsigned lent_ = 0;
  bool given_up_ = false;
  bool reset_ = false;
};

}  // namespace weir::detail

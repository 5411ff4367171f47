// What every layer above a stream does alike: a home for one stream, which reads and writes another
// one. It owns that inner stream, an operation that reads it and one that writes it, each begun
// only when asked, and a coroutine that is resumed by the end of either. When the handle has gone
// it ends, what was written having left, and the inner stream and the layer go with it. The shard
// does not end before.
#pragma once

#include <coroutine>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>

#include "runtime/core/sockets/stream_core.hpp"
#include "weir/buffers.hpp"
#include "weir/detail/cancel.hpp"
#include "weir/detail/timer.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir::detail {

/// Made with new, by a derived class's own function that also calls begin(); deletes itself.
class layer_core : public stream_core {
 public:
  explicit layer_core(any_stream inner);

  socket_base& socket() { return socket_; }

  /// The inner stream's: it is the one that is cancelled, too.
  void start_peer_end(peer_end_operation& op) override {
    op.socket = &inner_.socket();
    op.socket->at->start_peer_end(op);
  }
  endpoint local_endpoint(const socket_base&) const override { return inner_.local_endpoint(); }
  endpoint remote_endpoint(const socket_base&) const override { return inner_.remote_endpoint(); }

 protected:
  ~layer_core() override;

  /// Makes the coroutine. May throw std::bad_alloc; then nothing has begun.
  void begin();

  // --- What the layer asks for.

  /// The inner stream's next bytes: came() or in_ended() follows, later. Asking twice is asking
  /// once.
  void ask_in() noexcept;
  /// Writes these bytes, which stay as they are until gone(), later. One at a time.
  void ask_out(std::span<const std::byte> bytes) noexcept;
  bool writing_out() const { return writing_; }
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
  using pump_handle = std::coroutine_handle<task_promise<void>>;
  struct inner_stream : any_stream {
    explicit inner_stream(any_stream&& of) : any_stream(std::move(of)) {}
    using any_stream::socket;
  };
  struct inner_read : read_operation {
    explicit inner_read(socket_base& of);
    /// False: it is over already.
    bool begin(pump_handle pump) noexcept;
    lent_buffer taken() noexcept;
    void end() noexcept;
    using operation::final_error;
  };
  struct inner_write : write_operation {
    explicit inner_write(socket_base& of);
    bool begin(pump_handle pump, std::span<const std::byte> bytes) noexcept;
    void end() noexcept;
    using operation::final_error;
  };
  /// The handle has gone, and what was written may still leave: for so long, and until all is
  /// cancelled.
  struct lingering : timer_node, cancel_node {
    explicit lingering(layer_core& of);
    static void over(timer_node& node) noexcept;
    static void cancelled(cancel_node& node) noexcept;
    layer_core* layer;
  };
  /// Where the pump waits for its next turn, and ends.
  struct rest {
    layer_core* layer;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept { layer->end_if_over(); }
    void await_resume() const noexcept {}
  };

  task<> pump();
  pump_handle pump_of(const ready_node& resumed) const noexcept;
  void look() noexcept;
  void read_ended() noexcept;
  void write_ended() noexcept;
  void cut_off() noexcept;
  void end_if_over() noexcept;
  void go_if_over() noexcept;

  inner_stream inner_;
  socket_base socket_;
  inner_read read_;
  inner_write write_;
  std::unique_ptr<lingering> lingering_;
  unsigned lent_ = 0;
  bool reading_ = false;  // read_ has begun, and its end was not seen
  bool writing_ = false;
  bool both_ = false;  // have ended, and the pump is resumed again for the second one
  bool given_up_ = false;
  bool cut_ = false;  // nothing more leaves
  bool reset_ = false;
  bool over_ = false;  // the pump has gone
};

}  // namespace weir::detail

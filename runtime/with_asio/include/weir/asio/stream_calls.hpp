// Operations of a stream that end in a call instead of in a coroutine that awaits them: what
// asio_stream is made of. Knows nothing of Asio.
#pragma once

#include <array>
#include <cassert>
#include <span>
#include <utility>

#include "weir/asio/handler_queue.hpp"
#include "weir/shard.hpp"
#include "weir/stack/intrusive.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir::detail {

class stream_calls;

/// One of them, from start() to the call of `done`, which the shard's loop makes: never start().
class stream_call : private completion, public stack::queue_link<> {
 public:
  /// Nothing of weir's touches the call any more.
  using done_function = void (*)(stream_call&, const transfer&) noexcept;

  /// Asks for an early end; `done` comes all the same, later.
  void cancel() noexcept;

 protected:
  explicit stream_call(done_function f)
      : completion{&kind_of_end<&stream_call::on_end>}, done_(f) {}
  ~stream_call() = default;

 private:
  friend stream_calls;
  static void on_end(completion& c, promise_base&) noexcept;

  done_function done_;
  stream_calls* of_ = nullptr;
  std::coroutine_handle<task_promise<transfer>> frame_;
  cancel_state cancel_;
};

/// A stream and its calls. Outlives the handle that made it for as long as calls are under way: so
/// the memory that they read and write is in use until `done`, never longer.
class stream_calls {
 public:
  explicit stream_calls(any_stream of)
      : stream(std::move(of)), here_(&stream.owner()), queue_(&here_->local<handler_queue>()) {}

  /// At least one byte into `into`; end_of_stream at the end.
  void read(stream_call& call, std::span<std::byte> into) {
    start(call, open_ ? read_of(stream, into) : refuse());
  }
  /// At least one byte of `parts`, in order, whose memory stays until `done`.
  void write(stream_call& call, std::span<const std::span<const std::byte>> parts) {
    start(call, open_ ? write_of(stream, parts) : refuse());
  }
  /// The end of a connection: half-closes it, first or last, and reads until the peer's end.
  void end(stream_call& call, bool close_first) {
    start(call, open_ ? end_of(stream, close_first) : refuse());
  }

  void cancel() noexcept {
    for (auto* one = under_way_.front(); one != nullptr; one = under_way_.after(*one))
      one->cancel();
  }
  /// Cancels what is under way; the connection closes with the last of it.
  void close() noexcept {
    if (!std::exchange(open_, false)) return;
    cancel();
    if (under_way_.empty()) stream.close();
  }
  /// The handle has gone.
  void leave() noexcept {
    close();
    left_ = true;
    if (under_way_.empty()) delete this;
  }
  bool open() const { return open_; }
  bool idle() const { return under_way_.empty(); }

  any_stream stream;

 private:
  friend stream_call;

  static task<transfer> read_of(any_stream& from, std::span<std::byte> into) {
    transfer got = co_await from.read_some(into).nothrow();
    if (!got.ec && got.n == 0 && !into.empty()) got.ec = make_error_code(error::end_of_stream);
    co_return got;
  }
  /// Several parts as one write, of which as much goes as the socket takes at once.
  struct gathering : any_stream {
    static request<write_awaiter> write_some(any_stream& to,
                                             std::span<const std::span<const std::byte>> parts) {
      auto& socket = (to.*&gathering::socket)();
      return request<write_awaiter>({&socket, {}, parts, "async_write_some", false, true});
    }
  };
  static task<transfer> write_of(any_stream& to,
                                 std::span<const std::span<const std::byte>> parts) {
    transfer sent = co_await gathering::write_some(to, parts).nothrow();
    if (sent.n > 0) sent.ec = {};  // the next one hears why it stopped
    co_return sent;
  }
  static task<transfer> end_of(any_stream& of, bool close_first) {
    std::error_code gone;
    if (close_first) of.shutdown_send(gone);
    std::array<std::byte, 1024> unread;
    transfer got;
    do got = co_await of.read_some(unread).nothrow();
    while (got.n > 0);
    if (!close_first) of.shutdown_send(gone);
    co_return got;
  }
  static task<transfer> refuse() { co_return transfer{make_error_code(error::closed), 0}; }

  /// It begins with the loop's next round, so that nothing of it happens inside the caller.
  void start(stream_call& call, task<transfer> work) noexcept {
    assert(here_->on_this_thread() && "a stream is used on the shard that owns it");
    call.of_ = this;
    call.frame_ = work.release();
    call.cancel_.attach(&here_->root_cancel());
    under_way_.push_back(call);
    here_->root_started();
    auto& promise = call.frame_.promise();
    promise.owner = here_;
    promise.cancel = &call.cancel_;
    promise.on_done = &call;
    promise.turn.handle = call.frame_;
    here_->make_ready(promise.turn);
    queue_->stir();
  }
  void ended(stream_call& call) noexcept {
    under_way_.remove(call);
    here_->root_ended();
    if (open_ || !under_way_.empty()) return;
    stream.close();
    if (left_) delete this;
  }

  ~stream_calls() = default;

  shard* here_;
  handler_queue* queue_;
  stack::intrusive_queue<stream_call> under_way_;  // a read and a write, as a rule
  bool open_ = true;
  bool left_ = false;
};

inline void stream_call::cancel() noexcept {
  if (of_ == nullptr) return;
  cancel_.request();
  of_->queue_->stir();
}

inline void stream_call::on_end(completion& c, promise_base&) noexcept {
  auto& self = static_cast<stream_call&>(c);
  const transfer got = self.frame_.promise().take();
  self.frame_.destroy();
  self.cancel_.detach();
  std::exchange(self.of_, nullptr)->ended(self);
  self.done_(self, got);
}

}  // namespace weir::detail

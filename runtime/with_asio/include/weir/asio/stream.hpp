// asio_stream: a stream of weir's as Asio's AsyncReadStream and AsyncWriteStream, so that
// ssl::stream, Beast and whatever else is written for Asio runs on every back end.
#pragma once

#include <array>
#include <cassert>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "weir/asio/context.hpp"
#include "weir/asio/flavour.hpp"
#include "weir/asio/stream_calls.hpp"
#if WEIR_ASIO_BOOST && __has_include(<boost/beast/core/role.hpp>)
#include <boost/beast/core/role.hpp>
#define WEIR_ASIO_BEAST 1
#else
#define WEIR_ASIO_BEAST 0
#endif

namespace weir {
inline namespace WEIR_ASIO_FLAVOUR {

template <class Executor>
class basic_asio_stream;

/// One operation's handler and what it needs, in memory of the handler's allocator.
template <class Handler, class IoExecutor>
class handler_call final : public detail::stream_call {
  using executor = typename asio_of::associated_executor<Handler, IoExecutor>::type;
  using from = typename asio_of::associated_allocator<Handler>::type;
  using allocator = typename std::allocator_traits<from>::template rebind_alloc<handler_call>;
  using traits = std::allocator_traits<allocator>;

 public:
  static constexpr std::size_t most_parts = 16;  // as many as Asio's own composed writes give

  template <class H>
  static handler_call& make(H&& handler, const IoExecutor& io) {
    allocator memory(asio_of::get_associated_allocator(handler));
    auto* at = traits::allocate(memory, 1);
    try {
      return *::new (static_cast<void*>(at)) handler_call(std::forward<H>(handler), io);
    } catch (...) {
      traits::deallocate(memory, at, 1);
      throw;
    }
  }
  template <class H>
  handler_call(H&& handler, const IoExecutor& io)
      : stream_call(&handler_call::on_done),
        handler_(std::forward<H>(handler)),
        work_(asio_of::get_associated_executor(handler_, io)),
        io_(io) {
    if constexpr (of_a_shard) io_.context().call_started();
#if WEIR_ASIO_HAS_SLOTS
    auto slot = asio_of::get_associated_cancellation_slot(handler_);
    if (slot.is_connected())
      slot.assign([this](asio_of::cancellation_type type) {
        if (type != asio_of::cancellation_type::none) this->cancel();
      });
#endif
  }

  /// Where a write's parts stand meanwhile.
  std::array<std::span<const std::byte>, most_parts> parts;

 private:
  /// The handler with its results, as a function of none.
  struct bound {
    using allocator_type = from;
    allocator_type get_allocator() const noexcept { return memory; }
    void operator()() {
      if constexpr (std::is_invocable_v<Handler&, const asio_error&, std::size_t>)
        handler(error, n);
      else
        handler(error);
    }
    Handler handler;
    from memory;
    asio_error error;
    std::size_t n;
  };

  static void on_done(detail::stream_call& call, const transfer& got) noexcept {
    auto& self = static_cast<handler_call&>(call);
#if WEIR_ASIO_HAS_SLOTS
    auto slot = asio_of::get_associated_cancellation_slot(self.handler_);
    if (slot.is_connected()) slot.clear();
#endif
    from memory(asio_of::get_associated_allocator(self.handler_));
    bound ready{std::move(self.handler_), memory, to_asio_error(got.ec), got.n};
    asio_of::executor_work_guard<executor> work(std::move(self.work_));
    if constexpr (of_a_shard) self.io_.context().call_ended();
    allocator own(memory);
    self.~handler_call();
    traits::deallocate(own, &self, 1);  // before the call, which may want as much
    asio_of::dispatch(work.get_executor(), std::move(ready));
  }

  static constexpr bool of_a_shard =
      requires(const IoExecutor& io) { io.context().call_started(); };

  Handler handler_;
  asio_of::executor_work_guard<executor> work_;
  IoExecutor io_;
};

/// Owns a stream. Move-only; used on the stream's shard, whose thread also runs what its executor
/// is given. An operation begins with the shard's next round and completes from its loop, never
/// inside the call that initiated it: on the handler's associated executor, with memory of its
/// associated allocator; it can be cancelled through its associated cancellation slot (Asio 1.19,
/// Boost 1.77; every kind, for a read or a write that has moved no byte yet), by cancel() and by
/// close(). Bytes go to and from the caller's buffers, which stay until the handler is called.
///
/// One read and one write at a time. Zero bytes are transferred at once. Errors are Asio's:
/// error::eof at the end of the stream, error::operation_aborted, error::bad_descriptor after
/// close(), and the system's.
///
/// Operations count as running on the shard: it does not end before they have. When the object
/// goes they end with operation_aborted.
template <class Executor>
class basic_asio_stream {
 public:
  using executor_type = Executor;
  using lowest_layer_type = basic_asio_stream;

  basic_asio_stream(shard_context& context, any_stream of)
      : basic_asio_stream(context.get_executor(), std::move(of)) {}
  /// On any executor whose thread is the shard's: of an io_context in which an embedded_shard is.
  basic_asio_stream(const Executor& executor, any_stream of)
      : calls_(new detail::stream_calls(std::move(of))), executor_(executor) {}
  basic_asio_stream(basic_asio_stream&& other) noexcept
      : calls_(std::exchange(other.calls_, nullptr)), executor_(other.executor_) {}
  basic_asio_stream& operator=(basic_asio_stream&& other) noexcept {
    if (this == &other) return *this;
    if (calls_ != nullptr) calls_->leave();
    calls_ = std::exchange(other.calls_, nullptr);
    executor_ = other.executor_;
    return *this;
  }
  ~basic_asio_stream() {
    if (calls_ != nullptr) calls_->leave();
  }

  executor_type get_executor() noexcept { return executor_; }
  lowest_layer_type& lowest_layer() { return *this; }
  const lowest_layer_type& lowest_layer() const { return *this; }

  /// weir's own handle: addresses, options, shutdown_send(). Not to be moved from or closed.
  any_stream& stream() {
    assert(calls_ != nullptr && calls_->open());
    return calls_->stream;
  }
  bool is_open() const { return calls_ != nullptr && calls_->open(); }

  /// Ends what is under way with operation_aborted.
  void cancel() {
    if (calls_ != nullptr) calls_->cancel();
  }
  void cancel(asio_error& error) {
    error = {};
    cancel();
  }
  /// The same, and closes.
  void close() {
    if (calls_ != nullptr) calls_->close();
  }
  void close(asio_error& error) {
    error = {};
    close();
  }

  /// Handler: void(error_code, std::size_t).
  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return asio_of::async_initiate<Token, void(asio_error, std::size_t)>(initiation{this}, token,
                                                                         reading{}, buffers);
  }
  /// As many of the buffers' bytes as the socket takes at once. Handler: as above.
  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return asio_of::async_initiate<Token, void(asio_error, std::size_t)>(initiation{this}, token,
                                                                         writing{}, buffers);
  }
  /// Half-closes, before or after, and reads until the peer's end. Handler: void(error_code).
  template <class Token>
  auto async_end(bool close_first, Token&& token) {
    return asio_of::async_initiate<Token, void(asio_error)>(initiation{this}, token, ending{},
                                                            close_first);
  }

 private:
  struct reading {};
  struct writing {};
  struct ending {};

  struct initiation {
    using executor_type = Executor;
    executor_type get_executor() const noexcept { return self->executor_; }

    template <class Handler, class Buffers>
    void operator()(Handler&& handler, reading, const Buffers& buffers) const {
      asio_of::mutable_buffer into;
      const auto end = asio_of::buffer_sequence_end(buffers);
      for (auto at = asio_of::buffer_sequence_begin(buffers); at != end && into.size() == 0; ++at)
        into = asio_of::mutable_buffer(*at);
      auto& call = self->call_for(std::forward<Handler>(handler));
      self->calls_->read(call, {static_cast<std::byte*>(into.data()), into.size()});
    }
    template <class Handler, class Buffers>
    void operator()(Handler&& handler, writing, const Buffers& buffers) const {
      auto& call = self->call_for(std::forward<Handler>(handler));
      std::size_t n = 0;
      const auto end = asio_of::buffer_sequence_end(buffers);
      for (auto at = asio_of::buffer_sequence_begin(buffers); at != end; ++at) {
        const asio_of::const_buffer part(*at);
        if (part.size() == 0) continue;
        call.parts[n++] = {static_cast<const std::byte*>(part.data()), part.size()};
        if (n == call.parts.size()) break;
      }
      self->calls_->write(call, std::span(call.parts).first(n));
    }
    template <class Handler>
    void operator()(Handler&& handler, ending, bool close_first) const {
      self->calls_->end(self->call_for(std::forward<Handler>(handler)), close_first);
    }
    basic_asio_stream* self;
  };

  template <class Handler>
  auto& call_for(Handler&& handler) {
    assert(calls_ != nullptr && "the stream was moved from");
    return handler_call<std::decay_t<Handler>, Executor>::make(std::forward<Handler>(handler),
                                                               executor_);
  }

  detail::stream_calls* calls_;
  Executor executor_;
};

using asio_stream = basic_asio_stream<shard_context::executor_type>;

#if WEIR_ASIO_BEAST
// What Beast's WebSocket asks of the layer under it (websocket::teardown, close at a timeout).

template <class Executor, class Handler>
void async_teardown(boost::beast::role_type role, basic_asio_stream<Executor>& stream,
                    Handler&& handler) {
  stream.async_end(role == boost::beast::role_type::server, std::forward<Handler>(handler));
}
template <class Executor>
void beast_close_socket(basic_asio_stream<Executor>& stream) {
  stream.close();
}
#endif

}  // namespace WEIR_ASIO_FLAVOUR
}  // namespace weir

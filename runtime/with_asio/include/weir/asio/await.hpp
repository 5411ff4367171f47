// use_await: Asio's operations awaited by weir's coroutines.
//
//   co_await secured.async_handshake(asio::ssl::stream_base::server, weir::use_await).timeout(5s);
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "weir/asio/flavour.hpp"
#include "weir/detail/mailbox.hpp"
#include "weir/detail/operation.hpp"
#include "weir/shard.hpp"
#include "weir/stack/result.hpp"

namespace weir {
inline namespace WEIR_ASIO_FLAVOUR {

/// The completion token. What an initiating function then gives is awaited as weir's own operations
/// are, with .timeout(), .nothrow() and .until_stop(). It begins with the co_await.
///
/// Gives what the handler would have got behind its error; throws io_error for the error, which
/// nothrow() hands back (error_code alone: std::error_code; with a number of bytes: transfer; with
/// a T: result<T>). The system's errors are std::errc's (a cancelled operation:
/// std::errc::operation_canceled), others Asio's (asio::error::eof). An exception_ptr is thrown
/// either way.
///
/// A timeout or a cancellation goes to the operation's cancellation slot, as terminal: what was
/// composed of several (a handshake) cannot go on afterwards. Boost's Asio before 1.77 has no
/// slots: use_await.cancelling(object) calls object.cancel() instead. An operation that hears of
/// neither is waited for.
struct use_await_t {
  void* object = nullptr;
  void (*cancel)(void*) = nullptr;

  /// Of an object that outlives the wait.
  template <class Object>
  use_await_t cancelling(Object& of) const {
    return {&of, [](void* it) { static_cast<Object*>(it)->cancel(); }};
  }
};
inline constexpr use_await_t use_await{};

/// Memory as coroutine frames have it: a pool of the thread's, and so none from the heap in the
/// long run.
template <class T>
struct frame_allocator {
  using value_type = T;
  frame_allocator() = default;
  template <class U>
  frame_allocator(const frame_allocator<U>&) noexcept {}
  T* allocate(std::size_t n) {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    return static_cast<T*>(detail::allocate_frame(n * sizeof(T)));
  }
  void deallocate(T* at, std::size_t n) noexcept { detail::free_frame(at, n * sizeof(T)); }
  friend bool operator==(const frame_allocator&, const frame_allocator&) noexcept { return true; }
};
template <>
struct frame_allocator<void> {
  using value_type = void;
  template <class U>
  struct rebind {
    using other = frame_allocator<U>;
  };
  frame_allocator() = default;
  template <class U>
  frame_allocator(const frame_allocator<U>&) noexcept {}
  friend bool operator==(const frame_allocator&, const frame_allocator&) noexcept { return true; }
};

/// What is told how an operation of Asio's ended, on whichever thread, and ends the wait on the
/// shard.
template <class... Args>
class asio_wait : public detail::operation {
 public:
  void came(Args... args) noexcept {
    got_.emplace(std::move(args)...);
    end(error_of(*got_));
  }
  /// The handler was destroyed: its context has gone.
  void abandoned() noexcept { end(canceled_error()); }
#if WEIR_ASIO_HAS_SLOTS
  asio_of::cancellation_slot slot() noexcept { return signal_.slot(); }
#endif

 protected:
  explicit asio_wait(const use_await_t& token)
      : operation(&hook<&asio_wait::request_cancel>), token_(token), note_(*this) {}

  std::optional<std::tuple<Args...>> got_;

 private:
  struct note : detail::message {
    explicit note(asio_wait& w) : message(&note::arrive), of(&w) {}
    static void arrive(message& m) noexcept {
      auto& self = *static_cast<note&>(m).of;
      self.complete(self.ended_with_);
    }
    asio_wait* of;
  };

  static std::error_code error_of(const std::tuple<Args...>& got) noexcept {
    if constexpr (sizeof...(Args) > 0) {
      if constexpr (std::is_same_v<std::tuple_element_t<0, std::tuple<Args...>>, asio_error>)
        return from_asio_error(std::get<0>(got));
    }
    return {};
  }
  void end(std::error_code error) noexcept {
    // Between the turns of an embedded shard nobody would see what was made ready.
    if (owner().on_this_thread() && !owner().pulse().sleeping.load(std::memory_order_relaxed))
      return complete(error);
    ended_with_ = error;
    owner().deliver(note_);
  }
  static void request_cancel(operation& op) noexcept {
    auto& self = static_cast<asio_wait&>(op);
#if WEIR_ASIO_HAS_SLOTS
    self.signal_.emit(asio_of::cancellation_type::terminal);
#endif
    if (self.token_.cancel != nullptr) self.token_.cancel(self.token_.object);
  }

  use_await_t token_;
  note note_;
  std::error_code ended_with_;
#if WEIR_ASIO_HAS_SLOTS
  asio_of::cancellation_signal signal_;
#endif
};

/// The handler.
template <class... Args>
class asio_wait_handler {
 public:
  using allocator_type = frame_allocator<void>;
  allocator_type get_allocator() const noexcept { return {}; }
#if WEIR_ASIO_HAS_SLOTS
  using cancellation_slot_type = asio_of::cancellation_slot;
  cancellation_slot_type get_cancellation_slot() const noexcept { return to_->slot(); }
#endif

  explicit asio_wait_handler(asio_wait<Args...>& to) : to_(&to) {}
  asio_wait_handler(asio_wait_handler&& other) noexcept : to_(std::exchange(other.to_, nullptr)) {}
  asio_wait_handler& operator=(asio_wait_handler&&) = delete;
  ~asio_wait_handler() {
    if (to_ != nullptr) to_->abandoned();
  }

  void operator()(Args... args) { std::exchange(to_, nullptr)->came(std::move(args)...); }

 private:
  asio_wait<Args...>* to_;
};

/// What co_await makes of an initiating function's result.
template <class Initiation, class Inits, class... Args>
class [[nodiscard]] asio_awaiter : public asio_wait<Args...> {
 public:
  struct arguments {
    use_await_t token;
    Initiation initiation;
    Inits inits;
  };
  asio_awaiter(arguments&& of, duration limit)
      : asio_wait<Args...>(of.token),
        initiation_(std::move(of.initiation)),
        inits_(std::move(of.inits)) {
    this->set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <detail::weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return this->suspend(waiter, [this] {
      std::apply(
          [this](auto&... inits) {
            std::move(initiation_)(asio_wait_handler<Args...>(*this), std::move(inits)...);
          },
          inits_);
    });
  }
  auto await_resume() {
    if (const auto error = this->final_error()) throw io_error(error, "asio");
    return value();
  }

 protected:
  auto outcome() {
    const auto error = this->final_error();
    if constexpr (std::is_same_v<std::tuple<Args...>, std::tuple<asio_error>>) {
      return error;
    } else if constexpr (std::is_same_v<std::tuple<Args...>, std::tuple<asio_error, std::size_t>>) {
      return transfer{error, this->got_ ? std::get<1>(*this->got_) : 0};
    } else {
      using given = decltype(value());
      if constexpr (std::is_void_v<given>)
        return error ? error : (value(), error);
      else
        return error ? result<given>(error) : result<given>(value());
    }
  }

 private:
  auto value() {
    auto& got = *this->got_;
    if constexpr (sizeof...(Args) == 0) {
      (void)got;
      return;
    } else {
      using first = std::tuple_element_t<0, std::tuple<Args...>>;
      if constexpr (std::is_same_v<first, std::exception_ptr>)
        if (std::get<0>(got)) std::rethrow_exception(std::get<0>(got));
      constexpr std::size_t skipped =
          std::is_same_v<first, std::exception_ptr> || std::is_same_v<first, asio_error> ? 1 : 0;
      if constexpr (sizeof...(Args) == skipped)
        return;
      else if constexpr (sizeof...(Args) == skipped + 1)
        return std::get<skipped>(std::move(got));
      else
        return std::move(got);
    }
  }

  Initiation initiation_;
  Inits inits_;
};

}  // namespace WEIR_ASIO_FLAVOUR
}  // namespace weir

#if WEIR_ASIO_BOOST
namespace boost::asio {
#else
namespace asio {
#endif

template <class Result, class... Args>
class async_result<weir::use_await_t, Result(Args...)> {
 public:
  template <class Initiation, class... Inits>
  static auto initiate(Initiation&& initiation, const weir::use_await_t& token, Inits&&... inits) {
    using kept = std::tuple<std::decay_t<Inits>...>;
    using awaiter = weir::asio_awaiter<std::decay_t<Initiation>, kept, std::decay_t<Args>...>;
    return weir::detail::request<awaiter>(typename awaiter::arguments{
        token, std::forward<Initiation>(initiation), kept(std::forward<Inits>(inits)...)});
  }
};

#if WEIR_ASIO_BOOST
}  // namespace boost::asio
#else
}  // namespace asio
#endif

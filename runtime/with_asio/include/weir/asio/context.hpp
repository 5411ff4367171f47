// A shard as an Asio execution context: its executor runs handlers on the shard, so that Asio's own
// objects (timers, ssl::stream, what Beast has) live there beside weir's coroutines, on every back
// end.
#pragma once

#include <cassert>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include "weir/asio/flavour.hpp"
#include "weir/asio/handler_queue.hpp"
#include "weir/shard.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"

namespace weir {
inline namespace WEIR_ASIO_FLAVOUR {

template <class Allocator>
class basic_shard_executor;

/// Made and destroyed on the shard's thread, before the shard goes; outlives what was made with its
/// executor, and every operation of its streams (asserted; join() waits for them). Handlers that
/// wait when it goes are destroyed, not called, as with an io_context. Nothing of it keeps the
/// shard running: a program waits for what it has started.
///
/// Asio's timers and sockets have their reactor: the first such object on a context makes a thread
/// of Asio's, which waits for them and hands their handlers to the shard. ssl::stream and Beast
/// hold timers. weir's streams (asio_stream) need no such thread.
///
/// An exception out of a handler ends the program (std::terminate): there is no run() that it could
/// leave.
class shard_context : public asio_of::execution_context {
 public:
  using executor_type = basic_shard_executor<std::allocator<void>>;

  explicit shard_context(weir::shard& here)
      : here_(&here), queue_(&here.local<detail::handler_queue>()) {}
  ~shard_context() {
    assert(calls_ == 0 && "a shard_context goes after its streams' operations: join()");
    shutdown();  // Asio's thread has ended
    queue_->drop_of(this);
  }

  executor_type get_executor() noexcept;
  weir::shard& shard() const noexcept { return *here_; }

  /// Until no operation of its streams is under way: for the end of a program whose sessions are
  /// Asio's callbacks, which no scope knows. It cancels none.
  task<> join() {
    while (calls_ > 0) {
      idle_.reset();
      co_await idle_.wait();
    }
  }

  // For its streams and tasks.
  void stir() { queue_->stir(); }
  void call_started() noexcept { ++calls_; }
  void call_ended() noexcept {
    if (--calls_ == 0) idle_.set();
  }

 private:
  template <class>
  friend class basic_shard_executor;
  weir::shard* here_;
  detail::handler_queue* queue_;
  std::size_t calls_ = 0;
  event idle_;
};

/// A handler that waits, in memory of its allocator's.
template <class Function, class Allocator>
class posted_function final : public detail::queued_handler {
  using allocator =
      typename std::allocator_traits<Allocator>::template rebind_alloc<posted_function>;
  using traits = std::allocator_traits<allocator>;

 public:
  template <class F>
  posted_function(const void* context, F&& f, const Allocator& from)
      : queued_handler(context, &posted_function::end_of),
        function_(std::forward<F>(f)),
        from_(from) {}

  template <class F>
  static posted_function& make(const void* context, F&& f, const Allocator& from) {
    allocator memory(from);
    auto* at = traits::allocate(memory, 1);
    try {
      return *::new (static_cast<void*>(at)) posted_function(context, std::forward<F>(f), from);
    } catch (...) {
      traits::deallocate(memory, at, 1);
      throw;
    }
  }

 private:
  static void end_of(detail::queued_handler& one, bool call) {
    auto& self = static_cast<posted_function&>(one);
    Function function(std::move(self.function_));
    allocator memory(self.from_);
    self.~posted_function();
    traits::deallocate(memory, &self, 1);  // before the call, which may want as much
    if (call) function();
  }

  Function function_;
  Allocator from_;
};

/// What shard_context::get_executor() gives. Any thread may use it. Of Asio's properties it has
/// `context`, `mapping` (thread), `blocking` (possibly, never) and `allocator`.
template <class Allocator>
class basic_shard_executor {
 public:
  basic_shard_executor(shard_context& context, const Allocator& from, bool never)
      : context_(&context), allocator_(from), never_(never) {}

  shard_context& context() const noexcept { return *context_; }
  bool running_in_this_thread() const noexcept { return context_->shard().on_this_thread(); }

  shard_context& query(asio_of::execution::context_t) const noexcept { return *context_; }
  static constexpr asio_of::execution::mapping_t query(asio_of::execution::mapping_t) noexcept {
    return asio_of::execution::mapping.thread;
  }
  asio_of::execution::blocking_t query(asio_of::execution::blocking_t) const noexcept {
    if (never_) return asio_of::execution::blocking.never;
    return asio_of::execution::blocking.possibly;
  }
  template <class Other>
  Allocator query(asio_of::execution::allocator_t<Other>) const noexcept {
    return allocator_;
  }
  basic_shard_executor require(asio_of::execution::blocking_t::possibly_t) const {
    return {*context_, allocator_, false};
  }
  basic_shard_executor require(asio_of::execution::blocking_t::never_t) const {
    return {*context_, allocator_, true};
  }
  template <class Other>
  basic_shard_executor<Other> require(asio_of::execution::allocator_t<Other> wanted) const {
    return {*context_, wanted.value(), never_};
  }
  basic_shard_executor<std::allocator<void>> require(asio_of::execution::allocator_t<void>) const {
    return {*context_, {}, never_};
  }

  template <class Function>
  void execute(Function&& f) const {
    using function = std::decay_t<Function>;
    if (!never_ && running_in_this_thread()) {
      function now(std::forward<Function>(f));
      now();
      return;
    }
    context_->queue_->put(posted_function<function, Allocator>::make(
        context_, std::forward<Function>(f), allocator_));
  }

  // As the Networking TS names it: what Asio's strands want of an executor.
  void on_work_started() const noexcept {}
  void on_work_finished() const noexcept {}
  template <class Function, class From>
  void dispatch(Function&& f, const From& from) const {
    basic_shard_executor<From>(*context_, from, false).execute(std::forward<Function>(f));
  }
  template <class Function, class From>
  void post(Function&& f, const From& from) const {
    basic_shard_executor<From>(*context_, from, true).execute(std::forward<Function>(f));
  }
  template <class Function, class From>
  void defer(Function&& f, const From& from) const {
    post(std::forward<Function>(f), from);
  }

  friend bool operator==(const basic_shard_executor& a, const basic_shard_executor& b) noexcept {
    return a.context_ == b.context_ && a.never_ == b.never_ && a.allocator_ == b.allocator_;
  }
  friend bool operator!=(const basic_shard_executor& a, const basic_shard_executor& b) noexcept {
    return !(a == b);
  }

 private:
  shard_context* context_;
  Allocator allocator_;
  bool never_;
};

inline shard_context::executor_type shard_context::get_executor() noexcept {
  return {*this, {}, false};
}

}  // namespace WEIR_ASIO_FLAVOUR
}  // namespace weir

// Waiting for the shard's stop, and for signals of a program's own use.
//
//   auto first = co_await weir::when_any(stream.read_some(buffer), weir::stop_requested());
//   weir::signal_watch hangups(shard, {SIGHUP});
//   for (;;) { co_await hangups.next().until_stop(); reload(); }
#pragma once

#include <initializer_list>
#include <memory>
#include <string>

#include "weir/detail/call.hpp"
#include "weir/detail/operation.hpp"
#include "weir/stream.hpp"

namespace weir {

namespace detail {

class [[nodiscard]] stop_wait : public operation {
 public:
  struct arguments {};
  stop_wait(arguments, duration limit)
      : operation(&hook<&stop_wait::end, &stop_wait::tell>), on_stop_(*this) {
    set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    const bool parked = suspend(waiter, [this] {
      if (stopping(owner()).requested()) complete();
    });
    if (parked && pending()) stopping(owner()).add(on_stop_);
    return parked;
  }
  void await_resume() {
    if (auto error = final_error()) throw io_error(error, "stop_requested");
  }

 protected:
  std::error_code outcome() const noexcept { return final_error(); }

 private:
  struct stop_node : detail::cancel_node {
    explicit stop_node(stop_wait& w)
        : detail::cancel_node(kind_of_node<&stop_node::came>), wait(&w) {}
    static void came(detail::cancel_node& node) noexcept {
      auto& wait = *static_cast<stop_node&>(node).wait;
      if (wait.pending()) wait.complete();
    }
    stop_wait* wait;
  };
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept {
    told(node, out);
    out.operation = "stop_requested";
  }
  static void end(operation& op) noexcept { op.complete(canceled_error()); }

  stop_node on_stop_;
};

struct next_signal {
  using value = int;
  any_stream* from;
  task<result<int>> start(std::string& words) const;
  [[noreturn]] void fail(std::error_code error, const std::string& words) const;
};

}  // namespace detail

/// Waits until this coroutine's shard is asked to stop (shard::request_stop(), the first SIGINT or
/// SIGTERM); at once where it was already.
inline detail::request<detail::stop_wait> stop_requested() {
  return detail::request<detail::stop_wait>(detail::stop_wait::arguments{});
}

/// Takes signals for as long as it lives; then they are as before. Each watch gets every signal, on
/// whichever thread it arrives, also one that came while nobody waited; what comes faster than it
/// is taken may be counted as one. At most 16 watches in a process. A program that this one starts
/// gets the signals as they were.
class signal_watch {
 public:
  /// Throws io_error: invalid_argument (SIGINT and SIGTERM, which are run()'s; SIGPIPE; those that
  /// cannot be taken, and those of faults), operation_not_supported (in a simulation),
  /// too_many_files_open, resource_unavailable_try_again (more than 16).
  signal_watch(shard& here, std::initializer_list<int> numbers);
  ~signal_watch();
  signal_watch(const signal_watch&) = delete;
  signal_watch& operator=(const signal_watch&) = delete;

  /// The number of the next one. One coroutine at a time.
  detail::request<detail::call_awaiter<detail::next_signal>> next() {
    return detail::request<detail::call_awaiter<detail::next_signal>>({&stream_});
  }

 private:
  struct taken;
  std::unique_ptr<taken> taken_;
  any_stream stream_;
};

}  // namespace weir

// An operation of a layer that is a task: what gives it the forms of every other operation
// (.timeout(d), .nothrow(), .until_stop()) as detail::request<call_awaiter<Call>>. For what takes a
// few waits of its own (looking a name up, connecting by name), never for a read.
//
// A Call is a small value: `value`; `task<result<value>> start(std::string& words) const`, which
// writes into `words` what an error is to say; `void fail(std::error_code, words) const`, which
// throws it.
#pragma once

#include <algorithm>
#include <coroutine>
#include <string>
#include <system_error>
#include <utility>

#include "weir/detail/operation.hpp"
#include "weir/stack/result.hpp"
#include "weir/task.hpp"

namespace weir::detail {

template <class Call>
class [[nodiscard]] call_awaiter : public ready_node, private detail::timer_node {
 public:
  using arguments = Call;
  using value = typename Call::value;

  call_awaiter(const Call& call, duration limit)
      : timer_node(&call_awaiter::on_deadline), call_(call), limit_(std::max(limit, duration(0))) {}
  call_awaiter(const call_awaiter&) = delete;
  ~call_awaiter() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    promise_base& mine = parent.promise();
    owner_ = mine.owner;
    cancel_.attach(mine.cancel);
    if (!cancel_.requested()) {
      if (limit_ != no_limit) arm_timer(*owner_, *this, limit_);
      frame_ = call_.start(words_).release();
      frame_.promise().inherit(mine);
      frame_.promise().cancel = &cancel_;
      if (run_child(frame_, parent)) return true;
      timer_node::disarm();
    }
    if (spend_budget(*owner_)) return false;
    handle = parent;
    make_ready(*owner_, *this);  // done, but others want a turn
    return true;
  }
  value await_resume() {
    auto got = outcome();
    if (!got) call_.fail(got.error(), words_);
    return std::move(*got);
  }

  // What heeding_stop asks of an awaiter.
  weir::shard& owner() const { return *owner_; }
  bool pending() const { return frame_ && !frame_.done(); }
  void ask_to_end() noexcept { cancel_.request(); }

 protected:
  /// A result that came in time, or in spite of the cancellation, counts.
  result<value> outcome() {
    timer_node::disarm();
    cancel_.detach();
    if (!frame_) return canceled_error();
    auto got = frame_.promise().take();
    if (!got && late_ && got.error() == std::errc::operation_canceled) return timeout_error();
    return got;
  }

 private:
  static void on_deadline(detail::timer_node& node) noexcept {
    auto& self = static_cast<call_awaiter&>(node);
    self.late_ = !self.cancel_.requested();
    self.cancel_.request();
  }

  Call call_;
  duration limit_;
  cancel_state cancel_;
  std::string words_;
  weir::shard* owner_ = nullptr;
  std::coroutine_handle<task_promise<result<value>>> frame_;
  bool late_ = false;
};

}  // namespace weir::detail

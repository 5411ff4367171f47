// submit_to: runs a task on another shard and brings its result back. The one way between shards.
// It costs one message each way, and nothing on the heap. The target must be running (run() keeps
// every shard alive until all are done).
#pragma once

#include <atomic>
#include <utility>

#include "weir/shard.hpp"
#include "weir/task.hpp"

namespace weir {

namespace detail {

/// The call, in the caller's frame. Its parts are touched by one shard at a time; the mailboxes
/// hand them over.
template <class T>
class [[nodiscard]] remote_call : public ready_node,
                                  private detail::cancel_node,
                                  private completion {
 public:
  remote_call(shard& target, task<T> work)
      : cancel_node(kind_of_node<&remote_call::on_cancel, &remote_call::tell_wait>),
        completion{&kind_of_end<&remote_call::on_end, &remote_call::tell_end>},
        target_(&target),
        frame_(work.release()),
        call_(*this),
        stop_(*this) {}
  remote_call(const remote_call&) = delete;
  ~remote_call() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  void await_suspend(std::coroutine_handle<Promise> caller) {
    handle = caller;
    note_waiting(caller.promise());
    origin_ = caller.promise().owner;
    auto* governing = caller.promise().cancel;
    bool canceled = governing != nullptr && governing->requested();
    if (governing != nullptr && !canceled) governing->add(*this);
    call_.run = &remote_call::begin;
    target_->deliver(call_);
    if (canceled) on_cancel(*this);
  }
  /// What the task returned or threw, on the caller's shard.
  T await_resume() { return frame_.promise().take(); }

 private:
  struct note : message {
    explicit note(remote_call& c) : message(nullptr), call(&c) {}
    remote_call* call;
  };

  // On the target.
  static void begin(message& m) noexcept {
    auto& self = *static_cast<note&>(m).call;
    self.target_->root_started();
    self.remote_cancel_.attach(&self.target_->root_cancel());
    auto& promise = self.frame_.promise();
    promise.owner = self.target_;
    promise.cancel = &self.remote_cancel_;
    promise.on_done = &self;
    self.remote_start_.handle = self.frame_;
    self.target_->make_ready(self.remote_start_);
  }
  static void on_end(completion& c, promise_base&) noexcept {
    auto& self = static_cast<remote_call&>(c);
    auto& target = *self.target_;
    self.ended_ = true;
    self.remote_cancel_.detach();
    self.call_.run = &remote_call::back;
    self.origin_->deliver(self.call_);  // the call may be gone from here on
    target.root_ended();
  }
  static void stop_remote(message& m) noexcept {
    auto& self = *static_cast<note&>(m).call;
    if (!self.ended_) self.remote_cancel_.request();
    self.stop_.run = &remote_call::stop_returned;
    self.origin_->deliver(self.stop_);
  }

  // While the task runs there, its caller does not go on.
  static void tell_end(const completion& c, belonging_told& out) noexcept {
    const auto& self = static_cast<const remote_call&>(c);
    out.of = belonging_told::kind::remote;
    out.parent = self.handle;
    out.origin = self.origin_;
  }

  // On the caller's shard.
  static void tell_wait(const detail::cancel_node& node, wait_told& out) noexcept {
    const auto& self = static_cast<const remote_call&>(node);
    out.operation = "submit_to, shard";
    out.waiter = self.handle;
    out.have = self.target_->index();
  }
  static void on_cancel(detail::cancel_node& node) noexcept {
    auto& self = static_cast<remote_call&>(node);
    self.stop_out_ = true;
    self.stop_.run = &remote_call::stop_remote;
    self.target_->deliver(self.stop_);
  }
  static void back(message& m) noexcept {
    auto& self = *static_cast<note&>(m).call;
    self.returned_ = true;
    self.detail::cancel_node::unlink();
    self.resume_when_complete();
  }
  static void stop_returned(message& m) noexcept {
    auto& self = *static_cast<note&>(m).call;
    self.stop_out_ = false;
    self.resume_when_complete();
  }
  void resume_when_complete() {
    if (returned_ && !stop_out_) origin_->make_ready(*this);
  }

  shard* target_;
  shard* origin_ = nullptr;
  std::coroutine_handle<task_promise<T>> frame_;
  note call_;
  note stop_;
  ready_node remote_start_;
  cancel_state remote_cancel_;
  bool ended_ = false;     // target's
  bool returned_ = false;  // caller's
  bool stop_out_ = false;  // caller's
};

}  // namespace detail

/// Runs `work` on `target` and gives its result here. Cancelling the caller cancels the task, and
/// still waits for its end. References that `work` holds into the caller's frame stay valid: the
/// caller is suspended meanwhile.
template <class T>
detail::remote_call<T> submit_to(shard& target, task<T> work) {
  return {target, std::move(work)};
}

}  // namespace weir

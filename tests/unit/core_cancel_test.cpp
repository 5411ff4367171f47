// The cancellation tree by itself, and the rule that the completion decides.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core_world.hpp"

using namespace std::chrono_literals;
using core_test::world;
using weir::shard;
using weir::task;
using weir::detail::cancel_node;
using weir::detail::cancel_state;

namespace {

struct test_node : cancel_node {
  test_node() : cancel_node(weir::detail::kind_of_node<&test_node::on_request>) {}
  static void on_request(cancel_node& node) noexcept {
    auto& self = static_cast<test_node&>(node);
    ++self.requests;
    if (self.then) self.then();
  }
  int requests = 0;
  std::function<void()> then;
};

/// An operation whose end the test decides.
class [[nodiscard]] manual_operation : public weir::detail::operation {
 public:
  explicit manual_operation(manual_operation*& where, weir::duration limit = weir::no_limit)
      : operation(&hook<&manual_operation::asked>), handle_(&where) {
    set_timeout(limit);
  }
  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { *handle_ = this; });
  }
  std::error_code await_resume() const { return final_error(); }
  int asked_to_end = 0;

 private:
  static void asked(operation& op) noexcept { ++static_cast<manual_operation&>(op).asked_to_end; }
  manual_operation** handle_;
};

}  // namespace

TEST_CASE("a_request_reaches_every_node_below_once") {
  cancel_state top;
  cancel_state middle(&top), bottom(&middle);
  test_node at_top, at_bottom;
  top.add(at_top);
  bottom.add(at_bottom);
  top.request();
  top.request();
  CHECK(at_top.requests == 1);
  CHECK(at_bottom.requests == 1);
  CHECK(bottom.requested());
  CHECK(at_bottom.linked());  // until it ends: it is still waited for
}

TEST_CASE("a_request_does_not_climb") {
  cancel_state top;
  cancel_state below(&top);
  below.request();
  CHECK(!top.requested());
}

TEST_CASE("a_state_under_a_cancelled_one_is_cancelled_from_the_start") {
  cancel_state top;
  top.request();
  cancel_state late(&top);
  CHECK(late.requested());
}

TEST_CASE("nodes_that_left_and_states_that_were_detached_hear_nothing") {
  cancel_state top;
  cancel_state apart(&top);
  test_node gone;
  top.add(gone);
  gone.unlink();
  apart.detach();
  top.request();
  CHECK(gone.requests == 0);
  CHECK(!apart.requested());
}

TEST_CASE("a_callback_may_take_other_nodes_away") {
  cancel_state top;
  test_node first, second;
  top.add(first);
  top.add(second);
  first.then = [&] { second.unlink(); };
  top.request();
  CHECK(first.requests == 1);
  CHECK(second.requests == 0);
}

TEST_CASE("an_operation_that_succeeded_in_spite_of_the_request_has_succeeded") {
  world w;
  w.run([](shard& s) -> task<> {
    manual_operation* op = nullptr;
    std::error_code seen = std::make_error_code(std::errc::interrupted);
    auto waiter = [](manual_operation*& handle, std::error_code& ec) -> task<> {
      ec = co_await manual_operation(handle);
    };
    weir::scope scope(s);
    scope.spawn(waiter(op, seen));
    co_await weir::yield();
    REQUIRE(op != nullptr);
    scope.cancel();
    CHECK(op->asked_to_end == 1);
    CHECK(op->pending());  // asked, not ended: its memory is in use until it says so
    co_await weir::yield();
    op->complete();
    co_await scope.join();
    CHECK(!seen);
  });
}

TEST_CASE("a_timeout_that_lost_to_the_result_is_no_timeout") {
  world w;
  w.run([](shard& s) -> task<> {
    manual_operation* op = nullptr;
    std::error_code seen = std::make_error_code(std::errc::interrupted);
    auto waiter = [](manual_operation*& handle, std::error_code& ec) -> task<> {
      ec = co_await manual_operation(handle, 1ms);
    };
    weir::scope scope(s);
    scope.spawn(waiter(op, seen));
    co_await weir::sleep_for(10ms);
    REQUIRE(op != nullptr);
    CHECK(op->asked_to_end == 1);
    op->complete();
    co_await scope.join();
    CHECK(!seen);
  });
}

TEST_CASE("a_cancellation_that_a_timeout_asked_for_is_a_timeout") {
  world w;
  w.run([](shard& s) -> task<> {
    for (bool by_timeout : {true, false}) {
      manual_operation* op = nullptr;
      std::error_code seen;
      auto waiter = [](manual_operation*& handle, std::error_code& ec) -> task<> {
        ec = co_await manual_operation(handle, 1ms);
      };
      weir::scope scope(s);
      scope.spawn(waiter(op, seen));
      co_await weir::yield();
      if (!by_timeout) scope.cancel();
      co_await weir::sleep_for(10ms);
      CHECK(op->asked_to_end == 1);  // once, whoever was first
      op->complete(weir::canceled_error());
      co_await scope.join();
      CHECK(seen == (by_timeout ? std::errc::timed_out : std::errc::operation_canceled));
    }
  });
}

TEST_CASE("a_result_that_came_in_the_same_turn_beats_the_cancellation") {
  world w;
  w.run([](shard& s) -> task<> {
    manual_operation* op = nullptr;
    std::error_code seen = std::make_error_code(std::errc::interrupted);
    auto waiter = [](manual_operation*& handle, std::error_code& ec) -> task<> {
      ec = co_await manual_operation(handle);
    };
    weir::scope scope(s);
    scope.spawn(waiter(op, seen));
    co_await weir::yield();
    op->complete();
    scope.cancel();
    CHECK(op->asked_to_end == 0);
    co_await scope.join();
    CHECK(!seen);
  });
}

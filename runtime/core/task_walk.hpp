// Going through a shard's cancellation tree, in which every coroutine that waits hangs: there is no
// list of tasks beside it. A cursor stands in the tree by nodes of its own, so that it can stop at
// any node and go on in a later turn, whatever has come and gone meanwhile.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <vector>

#include "weir/detail/cancel.hpp"
#include "weir/detail/waiting.hpp"
#include "weir/task.hpp"

namespace weir::detail {

/// Shows each wait that is there when the cursor comes to it, and that had begun when it began. A
/// coroutine that goes on meanwhile and waits again may be missing; none is shown twice. On the
/// shard's thread; the tree outlives the cursor, or the cursor ends early.
class task_cursor {
 public:
  explicit task_cursor(cancel_state& top) { enter(top); }
  task_cursor(const task_cursor&) = delete;
  task_cursor& operator=(const task_cursor&) = delete;

  /// Looks at one node. False: there is none left.
  bool step(const std::function<void(const wait_told&)>& seen);

 private:
  struct level {
    cancel_node here{cancel_node::marker};
    cancel_node end{cancel_node::marker};
  };
  void enter(cancel_state& state);

  std::list<level> levels_;
};

/// The coroutines from the one that waits up to the one that none awaits: which place each has come
/// to, and an address that tells one frame from another.
struct frame_told {
  source_at where = nullptr;
  const void* frame = nullptr;
};
struct chain_told {
  std::vector<frame_told> frames;
  belonging_told belongs;
};
/// Of a coroutine that is suspended.
chain_told chain_of(std::coroutine_handle<> waiter);
source_at place_of(const promise_base& promise) noexcept;
/// Since when it waits; the shard's clock.
instant waits_since(std::coroutine_handle<> waiter) noexcept;

}  // namespace weir::detail

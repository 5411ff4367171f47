// A task owns its frame, and a frame has one owner.
// expect: deleted|implicitly-deleted
#include <utility>

#include <weir/task.hpp>

weir::task<> child();
weir::task<> parent() {
  auto first = child();
  auto second = std::move(first);
#ifdef MUST_NOT_COMPILE
  auto third = second;
#endif
  co_await std::move(second);
}

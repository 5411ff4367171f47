// Awaiting uses a task up, so it takes a temporary or a std::move that says so.
// expect: (discards qualifiers|await_ready)
#include <utility>

#include <weir/task.hpp>

weir::task<int> child();
weir::task<int> parent() {
  auto kept = child();
#ifdef MUST_NOT_COMPILE
  const int first = co_await kept;
#else
  const int first = 0;
#endif
  const int second = co_await std::move(kept);
  co_return first + second;
}

// A task that is made and dropped has done nothing: forgetting the co_await is an error.
// expect: a task runs only when it is awaited or spawned
#include <weir/task.hpp>

weir::task<> child();
weir::task<> parent() {
  co_await child();
#ifdef MUST_NOT_COMPILE
  child();
#endif
}

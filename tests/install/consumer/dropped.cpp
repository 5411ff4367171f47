// A coroutine that g++ 12.2 compiles into nothing: what the checker is there to find. Not built.
#include <weir/weir.hpp>

weir::task<bool> ready();

weir::task<> dropped() {
  if (co_await ready()) co_await weir::yield();  // lint: allow, the checker's own test
}

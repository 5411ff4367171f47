// A coroutine of another library has no shard and no cancellation to hand on: it cannot await
// weir's tasks.
// expect: (weir_promise|constraint)
#include <coroutine>

#include <weir/task.hpp>

struct stranger {
  struct promise_type {
    stranger get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

weir::task<> child();
weir::task<> ours() { co_await child(); }
#ifdef MUST_NOT_COMPILE
stranger theirs() { co_await child(); }
#endif

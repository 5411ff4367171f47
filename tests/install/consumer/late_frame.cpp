// Uses a coroutine's frame that has gone. Built with an address sanitizer, though weir is not, the
// program must be told so, and not be handed the frame of another coroutine.
#include <cstdio>

#include <weir/weir.hpp>

namespace {

weir::task<> write_late(int& where) {
  co_await weir::sleep_for(std::chrono::milliseconds(5));
  where = 1;
}

weir::task<> own_and_go(weir::scope& tasks) {
  int mine = 0;
  tasks.spawn(write_late(mine));
  co_await weir::yield();
}

weir::task<> serve(weir::shard& shard) {
  weir::scope tasks(shard);
  co_await own_and_go(tasks);
  co_await tasks.join();
  std::puts("nobody noticed");
}

}  // namespace

int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }

// The life of the stack's own thread.
#include "runtime/run/dedicated_thread.hpp"

#include <pthread.h>

#include <exception>
#include <future>
#include <utility>

#include "runtime/backend/factories.hpp"
#include "runtime/run/ending.hpp"
#include "runtime/run/pinning.hpp"
#include "runtime/run/signals.hpp"
#include "runtime/transport/stack/stack_transport.hpp"

namespace weir::detail {
namespace {

// One shard, and so one queue, whatever the number of those that are served.
config alone(config settings) {
  settings.stack.placement = placement::inline_;
  settings.stack.queues = 1;
  settings.shards = 1;
  return settings;
}

}  // namespace

dedicated_thread::dedicated_thread(const config& settings, driver_factory make_driver,
                                   std::optional<int> core)
    : settings_(alone(settings)),
      make_driver_(make_driver),
      core_(core),
      index_(settings.shard_count()) {
  std::promise<void> made;
  auto ready = made.get_future();
  thread_ = std::thread([this, p = std::move(made)]() mutable { main(std::move(p)); });
  try {
    ready.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

dedicated_thread::~dedicated_thread() {
  shard_->post([this] { asked_to_end_ = true; });
  thread_.join();
}

void dedicated_thread::main(std::promise<void> made) {
  pthread_setname_np(pthread_self(), "weir-stack");
  broken_pipes_are_errors tolerated;
  std::unique_ptr<stack_service> side;
  std::unique_ptr<weir::shard> mine;
  try {
    if (core_) pin_this_thread(*core_);
    auto driver = make_driver_(settings_);
    auto transport = make_stack_transport(*driver, settings_, 0);
    auto& stack = static_cast<stack_transport&>(*transport);
    side = std::make_unique<stack_service>(stack);
    mine =
        std::make_unique<weir::shard>(index_, settings_, std::move(driver), std::move(transport));
    service_ = side.get();
    shard_ = mine.get();
  } catch (...) {
    made.set_exception(std::current_exception());
    return;
  }
  made.set_value();
  ending end(*mine);
  mine->run_until([&] { return asked_to_end_ && end.reached(); });
}

}  // namespace weir::detail

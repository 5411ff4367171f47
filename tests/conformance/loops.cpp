// Loops that know nothing of weir but what weir/loop.hpp says.
#include "conformance/loops.hpp"

#include <poll.h>

#include <cstdlib>
#include <future>
#include <thread>
#if CONFORMANCE_ASIO
#include <asio/executor_work_guard.hpp>

#include "weir/asio.hpp"
#endif

namespace conformance {

bool in_somebodys_loop() { return std::getenv("WEIR_CONFORMANCE_LOOP") != nullptr; }

struct loop_thread::impl {
  explicit impl(weir::config s) : settings(std::move(s)) {}

  void main(std::promise<weir::shard*> promise) try {
#if CONFORMANCE_ASIO
    if (settings.backend == "asio") return io_context_loop(promise);
#endif
    poll_loop(promise);
  } catch (...) {
    promise.set_exception(std::current_exception());
  }

  void poll_loop(std::promise<weir::shard*>& promise) {
    weir::embedded_shard here(settings);
    promise.set_value(&here.shard());
    while (!asked_to_end || !here.ended()) {
      pollfd watched{here.descriptor(), POLLIN, 0};
      ::poll(&watched, 1, here.poll_timeout());
      here.turn();
    }
  }
#if CONFORMANCE_ASIO
  void io_context_loop(std::promise<weir::shard*>& promise) {
    asio::io_context context(1);
    auto more = asio::make_work_guard(context);
    weir::embedded_shard here(weir::on(context), settings);
    promise.set_value(&here.shard());
    while (!asked_to_end || !here.ended()) context.run_one();
  }
#endif

  weir::config settings;
  weir::shard* made = nullptr;
  bool asked_to_end = false;  // the loop's thread only
  std::thread thread;
};

loop_thread::loop_thread(const weir::config& settings) : impl_(std::make_unique<impl>(settings)) {
  std::promise<weir::shard*> promise;
  auto made = promise.get_future();
  impl_->thread =
      std::thread([this, p = std::move(promise)]() mutable { impl_->main(std::move(p)); });
  try {
    impl_->made = made.get();
  } catch (...) {
    impl_->thread.join();
    throw;
  }
}

loop_thread::~loop_thread() {
  impl_->made->request_cancel();
  impl_->made->post([inside = impl_.get()] { inside->asked_to_end = true; });
  impl_->thread.join();
}

weir::shard& loop_thread::shard() { return *impl_->made; }

}  // namespace conformance

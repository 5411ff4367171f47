// shard_thread: one shard on a thread of its own, for tests and tools.
#include <pthread.h>

#include <exception>
#include <future>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "runtime/run/ending.hpp"
#include "weir/runtime.hpp"

namespace weir {

struct shard_thread::impl {
  impl(config s, unsigned i, std::shared_ptr<shard_family> f)
      : settings(std::move(s)), index(i), family(std::move(f)) {}

  void main(std::promise<weir::shard*> promise) {
    pthread_setname_np(pthread_self(), fmt::format("weir-{}", index).c_str());
    std::unique_ptr<weir::shard> mine;
    try {
      mine = make_shard(index, settings, family);
    } catch (...) {
      promise.set_exception(std::current_exception());
      return;
    }
    promise.set_value(mine.get());
    detail::ending end(*mine);
    mine->run_until([&] { return asked_to_end && end.reached(); });
  }

  config settings;
  unsigned index;
  std::shared_ptr<shard_family> family;
  weir::shard* made = nullptr;
  bool asked_to_end = false;  // the shard's thread only
  std::thread thread;
};

shard_thread::shard_thread(config settings, unsigned index, std::shared_ptr<shard_family> family)
    : impl_(
          std::make_unique<impl>(resolve_backend(std::move(settings)), index, std::move(family))) {
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

shard_thread::~shard_thread() {
  impl_->made->request_cancel();
  impl_->made->post([inside = impl_.get()] { inside->asked_to_end = true; });
  impl_->thread.join();
}

weir::shard& shard_thread::shard() { return *impl_->made; }

}  // namespace weir

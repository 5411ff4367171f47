// A shard whose turns somebody else's loop asks for.
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <climits>
#include <optional>
#include <string>
#include <utility>

#include "runtime/backend/driver.hpp"
#include "runtime/core/log.hpp"
#include "runtime/run/backends.hpp"
#include "runtime/run/ending.hpp"
#include "weir/loop.hpp"
#include "weir/runtime.hpp"

namespace weir {
namespace {

/// Of one turn, so that the loop's other work has its share too.
constexpr int rounds_per_turn = 4;

task<> begin(std::function<task<>(shard&)> serve, shard& here) { co_await serve(here); }

void log_failure(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    detail::log_line(error.what());
  } catch (...) {
    detail::log_line("an exception that is no std::exception");
  }
}

}  // namespace

struct embedded_shard::impl {
  explicit impl(config s) : settings(std::move(s)) {}

  void own(std::unique_ptr<weir::shard> made) {
    mine = std::move(made);
    mine->pulse().thread.store(::gettid(), std::memory_order_relaxed);
    end.emplace(*mine);
  }
  /// Between turns: whoever sends a message has to wake the driver.
  void sleep() {
    over = end->reached();
    mine->pulse().sleeping.store(true, std::memory_order_seq_cst);
  }
  void awake() { mine->pulse().sleeping.store(false, std::memory_order_seq_cst); }

  void turn() {
    auto& driver = mine->driver();
    awake();
    driver.descriptor_rests();
    int left = rounds_per_turn;
    do {
      driver.turn(instant{});
      mine->poll();
    } while (--left > 0 && (driver.behind() || mine->next_deadline() <= mine->now()));
    sleep();
    at_once = driver.descriptor_tells();
  }
  instant turn_of_context() {
    awake();
    mine->poll();
    sleep();
    mine->driver().has_work(!over);
    const auto next = mine->next_deadline();
    return next <= mine->now() ? instant{} : next;
  }
  /// The loop learns that there is something to do, from itself.
  void begin_soon() {
    over = false;
    mine->driver().has_work(true);
    mine->driver().wake();
  }

  config settings;
  std::unique_ptr<weir::shard> mine;
  std::optional<detail::ending> end;
  int descriptor = -1;
  bool at_once = true;  // left over by the last turn
  bool over = true;
  bool failed = false;
};

embedded_shard::embedded_shard(config settings)
    : impl_(std::make_unique<impl>(resolve_backend(std::move(settings)))) {
  impl_->own(make_shard(0, impl_->settings));
  const auto descriptor = impl_->mine->driver().loop_descriptor();
  if (!descriptor)
    throw io_error(descriptor.error(),
                   "backend " + std::string(impl_->mine->backend()) +
                       " through Asio has no descriptor that a loop could watch: give it an "
                       "io_context (weir/asio.hpp), or use uring");
  impl_->descriptor = *descriptor;
}

embedded_shard::embedded_shard(asio_context where, config settings)
    : impl_(std::make_unique<impl>(std::move(settings))) {
  if (impl_->settings.backend == "auto") impl_->settings.backend = "asio";
  impl_->own(detail::make_shard_on(where.io_context, impl_->settings));
  auto& inside = *impl_;
  inside.mine->driver().let_loop_call([&inside] { return inside.turn_of_context(); });
  inside.sleep();
}

embedded_shard::~embedded_shard() {
  auto& inside = *impl_;
  inside.awake();
  inside.mine->driver().leave_loop();
  inside.mine->request_cancel();
  inside.mine->run_until([&] { return inside.end->reached(); });
}

shard& embedded_shard::shard() { return *impl_->mine; }

void embedded_shard::serve(std::function<task<>(weir::shard&)> serve,
                           std::function<void(std::exception_ptr)> on_end) {
  auto& here = *impl_->mine;
  assert(here.on_this_thread());
  if (!on_end)
    on_end = [inside = impl_.get()](std::exception_ptr failure) {
      if (!failure) return;
      inside->failed = true;
      log_failure(failure);
      inside->mine->request_cancel();
    };
  here.start(begin(std::move(serve), here), std::move(on_end));
  impl_->begin_soon();
}

bool embedded_shard::ended() const { return impl_->over && impl_->mine->roots() == 0; }

bool embedded_shard::failed() const { return impl_->failed; }

int embedded_shard::descriptor() const { return impl_->descriptor; }

void embedded_shard::turn() {
  if (impl_->descriptor >= 0) impl_->turn();
}

instant embedded_shard::next_deadline() const {
  auto& inside = *impl_;
  if (inside.descriptor < 0) return instant::never();
  if (inside.at_once) return instant{};
  const auto next = inside.mine->next_deadline();
  return next <= inside.mine->now() ? instant{} : next;
}

int embedded_shard::poll_timeout() const {
  const auto next = next_deadline();
  if (next.is_never()) return -1;
  if (next == instant{}) return 0;
  const auto left = next - impl_->mine->driver().now();
  const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::clamp<std::int64_t>(rounded, 0, INT_MAX));
}

}  // namespace weir

// One shard on the io_uring back end, made by hand, for tests that look at the driver and the
// transport from close by.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

#include "runtime/backend/factories.hpp"
#include "runtime/driver/uring/uring_driver.hpp"
#include "runtime/transport/uring/uring_transport.hpp"
#include "weir/weir.hpp"

namespace uring_test {

inline weir::config uring_config() {
  weir::config settings;
  settings.backend = "uring";
  return settings;
}

/// Whether this machine allows io_uring; says so in the words that ctest counts as skipped when it
/// does not.
inline bool allowed() {
  auto found = weir::detail::probe_uring(uring_config());
  if (!found.usable) std::printf("SKIPPED: %s\n", found.reason.c_str());
  return found.usable;
}

struct shape {
  weir::detail::uring_driver::options driver;
  weir::detail::uring_transport::limits transport;
};

class world {
 public:
  explicit world(const shape& form = {}, weir::config settings = uring_config())
      : settings_(std::move(settings)) {
    auto driver = std::make_unique<weir::detail::uring_driver>(form.driver);
    auto transport =
        std::make_unique<weir::detail::uring_transport>(*driver, settings_, form.transport);
    driver_ = driver.get();
    transport_ = transport.get();
    shard_ = std::make_unique<weir::shard>(0, settings_, std::move(driver), std::move(transport));
  }

  weir::shard& shard() { return *shard_; }
  weir::detail::uring_driver& driver() { return *driver_; }
  weir::detail::uring_transport& transport() { return *transport_; }

  /// Runs `body(shard)` to its end, and until closed sockets are gone. Throws what it threw.
  void run(std::function<weir::task<>(weir::shard&)> body) {
    bool ended = false;
    std::exception_ptr failure;
    shard_->start(body(*shard_), [&](std::exception_ptr f) {
      failure = std::move(f);
      ended = true;
    });
    shard_->run_until([&] { return ended && shard_->roots() == 0 && transport_->closing() == 0; });
    if (failure) std::rethrow_exception(failure);
  }

 private:
  weir::config settings_;
  weir::detail::uring_driver* driver_ = nullptr;
  weir::detail::uring_transport* transport_ = nullptr;
  std::unique_ptr<weir::shard> shard_;
};

}  // namespace uring_test

// One shard on the Asio back end, made by hand, for tests that look at the driver and the transport
// from close by.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <utility>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/factories.hpp"
#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/transport/asio/asio_transport.hpp"
#include "weir/weir.hpp"

namespace asio_test {

inline weir::config asio_config() {
  weir::config settings;
  settings.backend = "asio";
  return settings;
}

class world {
 public:
  explicit world(weir::config settings = asio_config()) : settings_(std::move(settings)) {
    auto driver = weir::detail::make_asio_driver(settings_);
    auto transport = weir::detail::make_asio_transport(*driver, settings_);
    shard_ = std::make_unique<weir::shard>(0, settings_, std::move(driver), std::move(transport));
  }

  weir::shard& shard() { return *shard_; }
  weir::detail::asio_transport& transport() {
    return dynamic_cast<weir::detail::asio_transport&>(shard_->transport());
  }

  /// Runs `body(shard)` to its end, and until closed sockets are gone. Throws what it threw.
  void run(std::function<weir::task<>(weir::shard&)> body) {
    bool ended = false;
    std::exception_ptr failure;
    shard_->start(body(*shard_), [&](std::exception_ptr f) {
      failure = std::move(f);
      ended = true;
    });
    shard_->run_until([&] { return ended && shard_->roots() == 0 && transport().closing() == 0; });
    if (failure) std::rethrow_exception(failure);
  }

 private:
  weir::config settings_;
  std::unique_ptr<weir::shard> shard_;
};

}  // namespace asio_test

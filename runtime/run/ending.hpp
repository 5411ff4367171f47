// When a shard's loop may stop: nothing runs on it any more, and the sockets that it gave up are
// gone, or have had their time (stop.linger_ms). Those that are left are the transport's to
// abandon.
#pragma once

#include <chrono>

#include "runtime/backend/transport.hpp"
#include "weir/config.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

class ending : private timer_node {
 public:
  explicit ending(shard& owner) : timer_node(&ending::expired), owner_(owner) {}

  /// Asked after each turn, once the shard is to end. The first question starts the clock, and one
  /// after more has run here starts it again: what that closed has its time too.
  bool reached() {
    if (owner_.roots() != 0) {
      disarm();
      late_ = false;
      return false;
    }
    if (owner_.closing() == 0 || late_) return true;
    if (!armed())
      owner_.arm(*this, owner_.now() + std::chrono::milliseconds(owner_.settings().stop.linger_ms));
    return false;
  }

 private:
  static void expired(timer_node& node) noexcept { static_cast<ending&>(node).late_ = true; }

  shard& owner_;
  bool late_ = false;
};

}  // namespace weir::detail

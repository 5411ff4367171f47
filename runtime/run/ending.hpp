// When a shard's loop may stop: nothing runs on it any more, and the sockets that it gave up are
// gone, or have had their time.
#pragma once

#include <chrono>

#include "weir/shard.hpp"

namespace weir::detail {

class ending : private timer_node {
 public:
  /// How long closed connections may take to deliver what was written before they are aborted.
  static constexpr duration linger = std::chrono::seconds(2);

  explicit ending(shard& owner) : timer_node(&ending::expired), owner_(owner) {}

  /// Asked after each turn, once the shard is to end. The first question starts the clock.
  bool reached() {
    if (owner_.roots() != 0) return false;
    if (owner_.transport().closing() == 0 || late_) return true;
    if (!armed()) owner_.arm(*this, owner_.now() + linger);
    return false;
  }

 private:
  static void expired(timer_node& node) noexcept { static_cast<ending&>(node).late_ = true; }

  shard& owner_;
  bool late_ = false;
};

}  // namespace weir::detail

// A request goes through a state's list. It stands there by a node of its own, as callbacks may
// take out any other.
#include "weir/detail/cancel.hpp"

namespace weir::detail {

// Out of line: g++ 12 takes the node, which leaves the list by itself, for one that is left there.
[[gnu::noinline]] void cancel_state::stand_behind(cancel_node& here, cancel_node& other) noexcept {
  here.unlink();
  here.put_behind(other);
}

void cancel_state::request() noexcept {
  if (requested_) return;
  requested_ = true;
  cancel_node here(marker);
  stand_behind(here, list_);
  while (here.next_ != &list_) {
    auto* node = here.next_;
    stand_behind(here, *node);
    node->kind_->on_cancel(*node);
  }
}

}  // namespace weir::detail

// The list of waiters behind event, semaphore, mutex and channel.
#include "weir/sync.hpp"

namespace weir::detail {

void wait_operation::leave(operation& op) noexcept {
  auto& self = static_cast<wait_operation&>(op);
  self.list_->remove(self);
  self.complete(canceled_error());
}

void wait_list::add(wait_operation& waiter) {
  waiter.list_ = this;
  waiter.previous_ = last_;
  waiter.following_ = nullptr;
  (last_ != nullptr ? last_->following_ : first_) = &waiter;
  last_ = &waiter;
}

void wait_list::remove(wait_operation& waiter) {
  (waiter.previous_ != nullptr ? waiter.previous_->following_ : first_) = waiter.following_;
  (waiter.following_ != nullptr ? waiter.following_->previous_ : last_) = waiter.previous_;
  waiter.list_ = nullptr;
}

}  // namespace weir::detail

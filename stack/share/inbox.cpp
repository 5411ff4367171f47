// See handover.hpp.
#include "stack/share/handover.hpp"

namespace weir::stack::share {

moved_connection::~moved_connection() {
  if (taken) return;
  // It got lost between two hosts that both went: its chunks go back to the allocator.
  buffer::chunk_pool scratch(UINT64_MAX);
  (void)scratch.account().adopt(connection.charged());
  connection.release(scratch);
}

posted inbox::post(handover&& item, std::span<const std::byte> payload) {
  std::lock_guard lock(mutex_);
  if (!open_) return posted::closed;
  const bool bounded = item.what == handover::kind::segment ||
                       item.what == handover::kind::datagram || item.what == handover::kind::icmp;
  if (bounded &&
      (waiting_.items.size() >= max_segments || waiting_.bytes.size() + payload.size() > max_bytes))
    return posted::full;
  item.payload_at = waiting_.bytes.size();
  item.payload_size = payload.size();
  waiting_.bytes.insert(waiting_.bytes.end(), payload.begin(), payload.end());
  waiting_.items.push_back(std::move(item));
  pending_.store(static_cast<std::uint32_t>(waiting_.items.size()), std::memory_order_relaxed);
  if (waiting_.items.size() == 1 && waker_ != nullptr) waker_->wake();
  return posted::yes;
}

// Whoever was woken has taken the wake-up back by a read-modify-write before it looks here. What
// was posted with a wake-up that this one swallowed is then seen: a plain store instead could
// become visible after this load (store before load, which aarch64 reorders and x86 does not), and
// the poster would see a wake-up under way that has looked already: hand-overs would stop for good.
void inbox::take(batch& into) {
  if (pending() == 0) return;
  std::lock_guard lock(mutex_);
  std::swap(waiting_, into);
  pending_.store(0, std::memory_order_relaxed);
}

void inbox::open(bool accepting) {
  std::lock_guard lock(mutex_);
  open_ = accepting;
}

void inbox::set_waker(shard_waker* waker) {
  std::lock_guard lock(mutex_);
  waker_ = waker;
  if (waker_ != nullptr && !waiting_.items.empty()) waker_->wake();
}

}  // namespace weir::stack::share

// The slots of calls that are under way, their requests, and what a completion means for each.
#include "runtime/driver/uring/uring_file_calls.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

namespace weir::detail {

uring_file_calls::uring_file_calls(uring_driver& driver, unsigned workers) : driver_(driver) {
  for (auto& s : slots_) {
    s.owner = this;
    s.next = free_;
    free_ = &s;
  }
  // The first number is of those that wait for files; 0 leaves the other as it is. A kernel that
  // does not know this keeps to its own bound.
  std::array<std::uint32_t, 2> bounds = {workers, 0};
  if (driver_.features().bounded_workers)
    (void)driver_.register_with_ring(IORING_REGISTER_IOWQ_MAX_WORKERS, bounds.data(), 2);
}

bool uring_file_calls::start(offload_operation& op, const file_call& call) noexcept {
  auto* const s = free_;
  if (s == nullptr) {
    ++counters_.refused;
    return false;
  }
  free_ = s->next;
  s->op = &op;
  s->call = call;
  s->begun = false;
  op.place = static_cast<std::uint32_t>(s - slots_.data());
  counters_.peak = std::max(counters_.peak, ++counters_.under_way);
  submit(*s);
  return true;
}

void uring_file_calls::submit(slot& s) noexcept {
  // One request carries no more than a read(2) or write(2) would.
  constexpr std::size_t longest = 0x7ffff000;
  const auto& call = s.call;
  auto& entry = driver_.sqe();
  entry.fd = call.fd;
  entry.user_data = s.user_data(0);
  if (call.what == file_call::kind::sync) {
    entry.opcode = IORING_OP_FSYNC;
    return;
  }
  entry.opcode = call.what == file_call::kind::read ? IORING_OP_READ : IORING_OP_WRITE;
  entry.addr = reinterpret_cast<std::uint64_t>(call.bytes);
  entry.len = static_cast<std::uint32_t>(std::min(call.size, longest));
  entry.off = call.what == file_call::kind::append ? 0 : call.offset;
  if (call.what == file_call::kind::append) entry.rw_flags = RWF_APPEND;
}

void uring_file_calls::cancel(offload_operation& op) noexcept {
  driver_.cancel(slots_[op.place].user_data(0));
}

void uring_file_calls::on_completed(ring_client& client, unsigned, std::int32_t result,
                                    std::uint32_t) noexcept {
  auto& s = static_cast<slot&>(client);
  s.owner->over(s, result);
}

void uring_file_calls::over(slot& s, std::int32_t result) noexcept {
  auto& op = *s.op;
  const bool canceled = result == -ECANCELED;
  // A file that is open without waiting, on a file system that cannot tell when it would have to.
  const bool refused = result == -EAGAIN && !s.begun;
  if (!canceled && !refused && s.call.came(op, result, s.call)) {
    s.begun = true;
    return submit(s);
  }
  s.op = nullptr;
  s.next = free_;
  free_ = &s;
  --counters_.under_way;
  if (refused) {
    ++counters_.refused;
    return offload_operation::hand_to_pool(op);
  }
  ++counters_.done;
  if (canceled)
    op.complete(std::make_error_code(std::errc::operation_canceled));
  else
    op.complete();
}

}  // namespace weir::detail

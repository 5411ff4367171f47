// The slots of calls that are under way, their requests, and what a completion means for each.
#include "runtime/driver/uring/uring_file_calls.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <variant>

namespace weir::detail {

namespace {

std::uint64_t address(const void* of) { return reinterpret_cast<std::uint64_t>(of); }
/// One request carries no more than a read(2) or write(2) would.
std::uint32_t length(std::size_t size) {
  return static_cast<std::uint32_t>(std::min<std::size_t>(size, 0x7ffff000));
}

/// Fills an entry in, as the kernel wants it for each kind of call.
struct fill {
  io_uring_sqe& entry;

  void operator()(const file_call::read& c) const {
    on(IORING_OP_READ, c.fd);
    entry.addr = address(c.into.data());
    entry.len = length(c.into.size());
    entry.off = c.offset;
  }
  void operator()(const file_call::write& c) const {
    on(IORING_OP_WRITE, c.fd);
    entry.addr = address(c.bytes.data());
    entry.len = length(c.bytes.size());
    entry.off = c.offset;
  }
  void operator()(const file_call::append& c) const {
    on(IORING_OP_WRITE, c.fd);
    entry.addr = address(c.bytes.data());
    entry.len = length(c.bytes.size());
    entry.rw_flags = RWF_APPEND;
  }
  void operator()(const file_call::sync& c) const { on(IORING_OP_FSYNC, c.fd); }
  void operator()(const file_call::resize& c) const {
    on(uring::op_ftruncate, c.fd);
    entry.off = c.size;
  }
  void operator()(const file_call::status& c) const {
    tell(c.fd, "", c.into);
    entry.statx_flags = AT_EMPTY_PATH;
  }
  void operator()(const file_call::status_of& c) const { tell(AT_FDCWD, c.path, c.into); }
  void operator()(const file_call::open& c) const {
    at(IORING_OP_OPENAT, c.path);
    entry.open_flags = static_cast<std::uint32_t>(c.flags);
    entry.len = c.mode;
  }
  void operator()(const file_call::rename& c) const {
    at(IORING_OP_RENAMEAT, c.from);
    entry.len = static_cast<std::uint32_t>(AT_FDCWD);
    entry.addr2 = address(c.to);
  }
  void operator()(const file_call::remove& c) const {
    at(IORING_OP_UNLINKAT, c.path);
    entry.unlink_flags = c.directory ? AT_REMOVEDIR : 0;
  }
  void operator()(const file_call::make_directory& c) const {
    at(IORING_OP_MKDIRAT, c.path);
    entry.len = c.mode;
  }

 private:
  void on(unsigned opcode, int fd) const {
    entry.opcode = static_cast<std::uint8_t>(opcode);
    entry.fd = fd;
  }
  void at(unsigned opcode, const char* path) const {
    on(opcode, AT_FDCWD);
    entry.addr = address(path);
  }
  void tell(int from, const char* path, status_memory* into) const {
    on(IORING_OP_STATX, from);
    entry.addr = address(path);
    entry.len = STATX_BASIC_STATS;
    entry.addr2 = address(into);
  }
};

}  // namespace

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
  if (s == nullptr || !has_operation_for(call)) {
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

bool uring_file_calls::has_operation_for(const file_call& call) const noexcept {
  const auto& has = driver_.features();
  if (std::holds_alternative<file_call::make_directory>(call.what)) return has.make_directory;
  if (std::holds_alternative<file_call::resize>(call.what)) return has.resize_file;
  return true;
}

void uring_file_calls::submit(slot& s) noexcept {
  auto& entry = driver_.sqe();
  std::visit(fill{entry}, s.call.what);
  entry.user_data = s.user_data(0);
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
  const bool canceled =
      result == -ECANCELED || (result == -EINTR && op.asked_to_end());  // waiting, or begun
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

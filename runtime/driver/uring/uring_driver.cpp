// See uring_driver.hpp.
//
// Waking: a message into the ring from whichever thread, without a ring of its own where the kernel
// offers that, else an eventfd that the ring reads. Both are sticky and async-signal-safe: what
// arrives while nobody waits ends the next wait.
#include "runtime/driver/uring/uring_driver.hpp"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/backend/factories.hpp"
#include "runtime/driver/uring/uring_file_calls.hpp"
#include "runtime/driver/uring/uring_packet_port.hpp"
#include "weir/error.hpp"

namespace weir::detail {

namespace {

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void write_event(int eventfd) noexcept {
  const int saved = errno;
  const std::uint64_t one = 1;
  (void)!::write(eventfd, &one, sizeof one);
  errno = saved;
}

[[noreturn]] void fail_setup(int error) {
  throw io_error(std::error_code(error, std::generic_category()), explain_setup_error(error));
}

}  // namespace

uring_driver::uring_driver(const options& wanted)
    : rules_(wanted.rules), spin_(spin_policy::from(wanted.busy_poll_us)) {
  if (int error = open_ring(ring_, wanted.sq_entries, wanted.cq_entries, rules_, features_);
      error < 0)
    fail_setup(-error);
  enter_flags_ = IORING_ENTER_EXT_ARG;
  if (features_.registered_ring) enter_flags_ |= IORING_ENTER_REGISTERED_RING;
  if (features_.no_iowait) enter_flags_ |= IORING_ENTER_NO_IOWAIT;
  event_ = ::eventfd(0, EFD_CLOEXEC);
  if (event_ < 0) {
    int error = errno;
    io_uring_queue_exit(&ring_);
    throw io_error(std::error_code(error, std::generic_category()), "eventfd");
  }
  now();
  arm_event();
  files_ = std::make_unique<uring_file_calls>(*this, wanted.file_workers);
}

file_caller* uring_driver::file_calls() noexcept { return files_.get(); }

uring_driver::~uring_driver() {
  // The pending read targets this object's memory: it must be over before that goes. It may have
  // ended with a late wake() before it could be cancelled, and is not begun again then.
  closing_ = true;
  if (event_armed_) cancel(event);
  wait_for_kernel([this] { return !event_armed_; });
  io_uring_queue_exit(&ring_);
  ::close(event_);
  if (told_ >= 0) ::close(told_);
}

instant uring_driver::now() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return last_now_ = instant::from_ns(std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec);
}

int uring_driver::enter(unsigned wait_for, unsigned flags, const __kernel_timespec* timeout) {
  auto& sq = ring_.sq;
  __atomic_store_n(sq.ktail, sq.sqe_tail, __ATOMIC_RELEASE);
  sq.sqe_head = sq.sqe_tail;
  unsigned count = queued();
  if (rules_.limited()) check_queued(flags | enter_flags_);
  io_uring_getevents_arg extra{};
  extra.ts = reinterpret_cast<std::uint64_t>(timeout);
  ++counters_.enters;
  auto done =
      ::syscall(__NR_io_uring_enter,  // lint: allow, the one call of its kind
                ring_.enter_ring_fd, count, wait_for, flags | enter_flags_, &extra, sizeof extra);
  if (done >= 0) {
    counters_.submitted += static_cast<std::uint64_t>(done);
    return 0;
  }
  if (errno == EAGAIN || errno == EBUSY) ++counters_.submission_refused;
  return errno;
}

/// Looked at as late as this because only now nobody writes to them any more.
void uring_driver::check_queued(unsigned flags) const {
  const auto& sq = ring_.sq;
  rules_.check_enter(flags);
  for (unsigned i = sq.sqe_tail - queued(); i != sq.sqe_tail; ++i)
    rules_.check_entry(sq.sqes[i & sq.ring_mask]);
}

void uring_driver::turn(instant deadline) {
  constexpr unsigned put_off = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
  if (kernel_flags() & IORING_SQ_CQ_OVERFLOW) ++counters_.overflows;
  bool wait = deadline > last_now_ && ready() == 0 && kept_.empty();
  if (!wait) {
    if (queued() != 0 || (kernel_flags() & put_off) != 0) enter(0, IORING_ENTER_GETEVENTS, nullptr);
    return deliver();
  }
  const auto began = spin_.adapts() ? now() : last_now_;
  bool due = false;
  if (const auto spin_for = spin_.limit(); spin_for.count() > 0) {
    if (queued() != 0 || (kernel_flags() & put_off) != 0) enter(0, IORING_ENTER_GETEVENTS, nullptr);
    if (ready() != 0) return deliver();
    if (spin(std::min(deadline, now() + spin_for))) {
      spin_.found_while_spinning();
      return deliver();
    }
    due = now() >= deadline;  // the kernel's shortest sleep takes longer than many a spin
  }
  if (!due) ++counters_.sleeps;
  if (deadline.is_never()) {
    enter(1, IORING_ENTER_GETEVENTS, nullptr);
  } else if (!due) {
    auto left = std::max<std::int64_t>((deadline - now()).count(), 0);
    __kernel_timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    enter(1, IORING_ENTER_GETEVENTS, &timeout);
  }
  if (spin_.adapts()) spin_.slept(now() - began);
  deliver();
}

bool uring_driver::spin(instant until) {
  constexpr int looks_per_clock = 8;  // some of a microsecond
  do {
    for (int i = 0; i < looks_per_clock; ++i) {
      if (kernel_flags() & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
        enter(0, IORING_ENTER_GETEVENTS, nullptr);
      if (ready() != 0) {
        ++counters_.spins;
        return true;
      }
      relax();
    }
  } while (now() < until);
  return false;
}

void uring_driver::deliver() {
  if (!kept_.empty()) {
    std::vector<io_uring_cqe> kept;
    kept.swap(kept_);
    for (auto& cqe : kept) dispatch(cqe);
    if (!kept_.empty()) return;  // as below: these came before what is in the queue
  }
  // What comes while these are handled is for the next turn: others want to run too.
  for (unsigned left = ready(); left > 0; --left) {
    unsigned head = *ring_.cq.khead;
    io_uring_cqe cqe = ring_.cq.cqes[head & ring_.cq.ring_mask];
    following_ = left > 1 ? ring_.cq.cqes[(head + 1) & ring_.cq.ring_mask].user_data : 0;
    __atomic_store_n(ring_.cq.khead, head + 1, __ATOMIC_RELEASE);
    dispatch(cqe);
    if (!kept_.empty()) break;  // a handler had to make room: the rest was taken out of the queue
  }
  following_ = 0;
}

void uring_driver::dispatch(const io_uring_cqe& cqe) {
  ++counters_.completions;
  if (cqe.user_data > ring_client::tag_mask) {
    auto* client = reinterpret_cast<ring_client*>(cqe.user_data & ~ring_client::tag_mask);
    client->completed(*client, static_cast<unsigned>(cqe.user_data & ring_client::tag_mask),
                      cqe.res, cqe.flags);
    return;
  }
  if (cqe.user_data == nobody) return;
  if (cqe.user_data == event) {
    event_armed_ = false;
    if (cqe.res == -ECANCELED || closing_) return;
    arm_event();
  }
  ++counters_.wakes;
  // After this, a new wake-up is a new message; whatever was posted before it is seen by this
  // turn's reader.
  wake_pending_.exchange(false, std::memory_order_seq_cst);
}

io_uring_sqe& uring_driver::sqe() {
  auto& sq = ring_.sq;
  if (sq.sqe_tail - __atomic_load_n(sq.khead, __ATOMIC_ACQUIRE) >= sq.ring_entries) make_room();
  auto& entry = sq.sqes[sq.sqe_tail++ & sq.ring_mask];
  std::memset(&entry, 0, sizeof entry);
  return entry;
}

void uring_driver::make_room() {
  ++counters_.submission_full;
  unsigned flags = 0;
  for (;;) {
    enter(0, flags, nullptr);
    if (queued() < ring_.sq.ring_entries) return;
    // Refused because completions must be collected first. Their handlers must not run here, in the
    // middle of somebody's request: keep them for the next turn.
    while (ready() != 0) {
      unsigned head = *ring_.cq.khead;
      kept_.push_back(ring_.cq.cqes[head & ring_.cq.ring_mask]);
      __atomic_store_n(ring_.cq.khead, head + 1, __ATOMIC_RELEASE);
    }
    flags = IORING_ENTER_GETEVENTS;
  }
}

void uring_driver::flush() { enter(0, IORING_ENTER_GETEVENTS, nullptr); }

void uring_driver::cancel(std::uint64_t target, std::uint64_t report) {
  auto& entry = sqe();
  entry.opcode = IORING_OP_ASYNC_CANCEL;
  entry.fd = -1;
  entry.addr = target;
  entry.flags = silent_flag();
  entry.user_data = report;
}

bool uring_driver::keep_file(int descriptor) noexcept {
  if (keeps_file_ || register_with_ring(IORING_REGISTER_FILES, &descriptor, 1) < 0) return false;
  return keeps_file_ = true;
}

void uring_driver::forget_file() noexcept {
  if (std::exchange(keeps_file_, false)) register_with_ring(IORING_UNREGISTER_FILES, nullptr, 0);
}

void uring_driver::arm_event() {
  auto& entry = sqe();
  entry.opcode = IORING_OP_READ;
  entry.fd = event_;
  entry.addr = reinterpret_cast<std::uint64_t>(&event_value_);
  entry.len = sizeof event_value_;
  entry.user_data = event;
  event_armed_ = true;
}

void uring_driver::wake() noexcept {
  // Not by way of the ring: a completion that the write to one eventfd brings about is not told
  // through another one (seen on Linux 6.18, from the second on).
  if (in_loop_.load(std::memory_order_seq_cst)) {
    if (!told_pending_.exchange(true, std::memory_order_seq_cst)) write_event(told_);
    return;
  }
  if (wake_pending_.exchange(true, std::memory_order_seq_cst)) return;
  int saved = errno;
  if (features_.send_msg_ring) {
    io_uring_sqe entry{};
    entry.opcode = uring::op_msg_ring;
    entry.fd = ring_.ring_fd;
    entry.addr = uring::msg_data;
    entry.off = message;
    if (register_with_ring(uring::register_send_msg_ring, &entry, 1) >= 0) {
      errno = saved;
      return;
    }
  }
  write_event(event_);
}

/// The ring's own descriptor would not do: under DEFER_TASKRUN it is not readable before somebody
/// asks the kernel for the completions.
result<int> uring_driver::loop_descriptor() {
  if (told_ >= 0) return told_;
  int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0) return std::error_code(errno, std::generic_category());
  __atomic_fetch_or(ring_.cq.kflags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_RELAXED);
  if (int error = register_with_ring(IORING_REGISTER_EVENTFD, &made, 1); error < 0) {
    ::close(made);
    return std::error_code(-error, std::generic_category());
  }
  told_ = made;
  in_loop_.store(true, std::memory_order_seq_cst);
  return told_;
}

/// The kernel first says that there is something, then looks whether it should write to the
/// eventfd; here it is the other way round, so that one of the two sees the other.
bool uring_driver::descriptor_tells() {
  __atomic_fetch_and(ring_.cq.kflags, ~unsigned{IORING_CQ_EVENTFD_DISABLED}, __ATOMIC_SEQ_CST);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return behind();
}

void uring_driver::descriptor_rests() {
  __atomic_fetch_or(ring_.cq.kflags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_SEQ_CST);
  std::uint64_t times = 0;
  ++system_calls_;
  (void)!::read(told_, &times, sizeof times);
  // As below: whatever was posted before it is seen by this turn's reader.
  told_pending_.exchange(false, std::memory_order_seq_cst);
}

void uring_driver::leave_loop() { in_loop_.store(false, std::memory_order_seq_cst); }

result<std::unique_ptr<packet_port>> uring_driver::open_packet_port(int device,
                                                                    std::size_t frame_limit,
                                                                    packet_receiver& receiver) {
  return std::unique_ptr<packet_port>(
      std::make_unique<uring_packet_port>(*this, device, frame_limit, receiver));
}

std::unique_ptr<driver> make_uring_driver(const config& settings) {
  uring_driver::options wanted;
  wanted.busy_poll_us = settings.busy_poll_us;
  wanted.file_workers = settings.offload.threads;
  wanted.rules = ring_rules(settings.uring);
  return std::make_unique<uring_driver>(wanted);
}

}  // namespace weir::detail

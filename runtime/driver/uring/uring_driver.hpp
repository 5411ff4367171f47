// The io_uring driver: one ring per shard, owned by the thread that made it. Every turn of the
// shard's loop makes at most one io_uring_enter(2), which submits what was queued, waits, and
// collects; completions go to their clients by a pointer in user_data, so a request costs no lookup
// and no allocation. Timers are the shard's: only the nearest deadline gets in.
//
// It resumes no coroutine and knows no socket; transports and packet ports are its clients.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "runtime/core/log.hpp"
#include "runtime/core/spin_policy.hpp"
#include "runtime/driver/uring/uring_probe.hpp"

namespace weir::detail {

/// Gets completions. The low four bits of user_data are the client's own (which of its requests).
struct alignas(16) ring_client {
  using handler = void (*)(ring_client&, unsigned tag, std::int32_t result,
                           std::uint32_t flags) noexcept;
  static constexpr std::uint64_t tag_mask = 15;

  explicit ring_client(handler h) : completed(h) {}
  std::uint64_t user_data(unsigned tag) const {
    return reinterpret_cast<std::uint64_t>(this) | tag;
  }
  handler completed;
};

class uring_file_calls;

struct uring_counters {
  std::uint64_t enters = 0;     ///< io_uring_enter(2)
  std::uint64_t submitted = 0;  ///< requests
  std::uint64_t completions = 0;
  std::uint64_t submission_full =
      0;  ///< the submission queue had to be flushed in the middle of a turn
  std::uint64_t submission_refused =
      0;                        ///< EAGAIN or EBUSY: retried after completions were collected
  std::uint64_t overflows = 0;  ///< the completion queue was too short; the kernel kept the rest
  std::uint64_t wakes = 0;      ///< from other threads
  std::uint64_t spins = 0;      ///< waits that ended while spinning
  std::uint64_t sleeps = 0;     ///< waits in the kernel
};

class uring_driver final : public driver {
 public:
  struct options {
    unsigned sq_entries = 1024;
    unsigned cq_entries = 8192;
    std::uint32_t busy_poll_us = 0;
    unsigned file_workers = 4;  ///< threads of the kernel's that may wait for files
    ring_rules rules;           ///< what may be used of what the kernel has
  };

  /// Throws io_error with the reason and the remedy.
  explicit uring_driver(const options& wanted);
  ~uring_driver() override;
  uring_driver(const uring_driver&) = delete;
  uring_driver& operator=(const uring_driver&) = delete;

  std::string_view name() const override { return "uring"; }
  instant now() override;
  void turn(instant deadline) override;
  bool behind() override {
    constexpr unsigned put_off = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
    return ready() != 0 || queued() != 0 || !kept_.empty() || (kernel_flags() & put_off) != 0;
  }
  void wake() noexcept override;
  result<std::unique_ptr<packet_port>> open_packet_port(int device, std::size_t frame_limit,
                                                        packet_receiver& receiver) override;
  result<std::unique_ptr<watch>> watch_descriptor(int fd, watch_client& client) override;
  std::uint64_t system_calls() const override { return system_calls_ + counters_.enters; }
  result<int> loop_descriptor() override;
  bool descriptor_tells() override;
  void descriptor_rests() override;
  void leave_loop() override;
  file_caller* file_calls() noexcept override;

  // --- For its clients.

  /// The next submission entry, zeroed. Never fails: a full queue is flushed first.
  io_uring_sqe& sqe();
  /// Asks for the end of the request with this user_data. Its own completion is silent, except that
  /// `report` (or 0) gets the error when there was nothing to cancel.
  void cancel(std::uint64_t target, std::uint64_t report = 0);
  /// Turns until the kernel has let go of somebody's memory, which `over` knows. However long it
  /// takes: given up before, that memory would be written to when it is somebody else's.
  template <class Over>
  void wait_for_kernel(Over over) {
    const auto patience = now() + std::chrono::seconds(2);
    for (bool said = false; !over(); turn(now() + std::chrono::milliseconds(10)))
      if (!said && now() > patience) {
        said = true;
        log_line("io_uring: the kernel holds on to a request that was cancelled: waiting for it");
      }
  }
  /// Submits what is queued now and runs what the kernel has put off; completions wait for the next
  /// turn.
  void flush();
  /// Of requests that are silent on success: flags for the entry.
  std::uint8_t silent_flag() const { return features_.cqe_skip ? IOSQE_CQE_SKIP_SUCCESS : 0; }

  /// The user_data of the completion that this turn hands out next; 0 when this is the last.
  std::uint64_t following() const { return following_; }

  /// Requests for the kept file name it by `kept_file` and IOSQE_FIXED_FILE, which spares each the
  /// lookup of its descriptor (docs/performance.md). One at a time for a ring; false: another is
  /// kept, or the kernel refused, and the descriptor itself must do.
  bool keep_file(int descriptor) noexcept;
  /// No request for the kept file may be under way.
  void forget_file() noexcept;
  static constexpr int kept_file = 0;

  const uring_features& features() const { return features_; }
  io_uring& ring() { return ring_; }
  /// io_uring_register(2) for this ring; a negative errno for a failure.
  int register_with_ring(unsigned opcode, void* argument, unsigned count) noexcept {
    return rules_.register_with(ring_, opcode, argument, count);
  }
  unsigned new_buffer_group() { return next_group_++; }
  void count_system_calls(unsigned n = 1) { system_calls_ += n; }
  const uring_counters& counters() const { return counters_; }

 private:
  // user_data below 16 is the driver's own: no client lives there.
  static constexpr std::uint64_t nobody = 0, message = 1, event = 2;

  int enter(unsigned wait_for, unsigned flags, const __kernel_timespec* timeout);
  void check_queued(unsigned flags) const;
  bool spin(instant until);
  void deliver();
  void dispatch(const io_uring_cqe& cqe);
  void make_room();
  void arm_event();
  unsigned queued() const {
    return ring_.sq.sqe_tail - __atomic_load_n(ring_.sq.khead, __ATOMIC_ACQUIRE);
  }
  unsigned ready() const {
    return __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE) - *ring_.cq.khead;
  }
  unsigned kernel_flags() const { return __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED); }

  ring_rules rules_;
  io_uring ring_{};
  uring_features features_;
  uring_counters counters_;
  std::uint64_t system_calls_ = 0;
  unsigned enter_flags_ = 0;
  unsigned next_group_ = 1;
  std::unique_ptr<uring_file_calls> files_;
  spin_policy spin_;
  instant last_now_;
  std::uint64_t following_ = 0;
  std::vector<io_uring_cqe>
      kept_;  // completions that had to be taken out of the queue before their turn
  bool keeps_file_ = false;
  int told_ = -1;  // an eventfd that the kernel writes to, and wake(), for loop_descriptor()
  std::atomic<bool> in_loop_{false};
  std::atomic<bool> told_pending_{false};  // wake() has written to it
  int event_ = -1;
  bool event_armed_ = false;
  bool closing_ = false;
  std::uint64_t event_value_ = 0;
  std::atomic<bool> wake_pending_{false};
};

}  // namespace weir::detail

// See uring_probe.hpp. The ladder of setup flags goes from what is best to what every kernel
// since 5.11 takes.
#include "driver/uring/uring_probe.hpp"

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "backend/factories.hpp"
#include "backend/limits.hpp"

namespace weir::detail {

namespace {

struct probe_deleter {
  void operator()(io_uring_probe* p) const { std::free(p); }
};

void detect_operations(io_uring& ring, uring_features& features) {
  std::unique_ptr<io_uring_probe, probe_deleter> probe(io_uring_get_probe_ring(&ring));
  if (probe == nullptr) return;
  auto knows = [&](unsigned op) {
    return op <= probe->last_op && op < probe->ops_len &&
           (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
  };
  features.multishot_accept = knows(uring::op_socket);    // the same release
  features.multishot_receive = knows(uring::op_send_zc);  // the same release
  features.multishot_read = knows(uring::op_read_multishot);
}

/// Registers and unregisters a small ring of buffers.
bool takes_buffer_ring(io_uring& ring) {
  constexpr std::size_t size = 4096;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(memory);
  registration.ring_entries = 4;
  registration.bgid = 0;
  bool taken = with_patience_for_memory(
                   [&] { return io_uring_register_buf_ring(&ring, &registration, 0); }) == 0;
  if (taken) io_uring_unregister_buf_ring(&ring, registration.bgid);
  ::munmap(memory, size);
  return taken;
}

/// A signal may be handled on this thread meanwhile.
int wait_for_completion(io_uring& ring, io_uring_cqe*& arrived) {
  int error;
  do error = io_uring_wait_cqe(&ring, &arrived);
  while (error == -EINTR);
  return error;
}

/// A message to the ring itself, sent without going through it.
bool takes_message_by_call(io_uring& ring) {
  io_uring_sqe message{};
  message.opcode = uring::op_msg_ring;
  message.fd = ring.ring_fd;
  message.addr = uring::msg_data;
  if (io_uring_register(static_cast<unsigned>(-1), uring::register_send_msg_ring, &message, 1) < 0)
    return false;
  io_uring_cqe* arrived = nullptr;
  if (wait_for_completion(ring, arrived) < 0) return false;
  io_uring_cqe_seen(&ring, arrived);
  return true;
}

}  // namespace

int open_ring(io_uring& ring, unsigned sq_entries, unsigned cq_entries, uring_features& features) {
  constexpr unsigned always = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
  constexpr std::array ladder = {
      always | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
          IORING_SETUP_TASKRUN_FLAG,
      always | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      always,
  };
  int error = -EINVAL;
  for (unsigned flags : ladder) {
    io_uring_params parameters{};
    error = with_patience_for_memory([&] {
      parameters = {};
      parameters.flags = flags;
      parameters.cq_entries = cq_entries < sq_entries ? sq_entries : cq_entries;
      return io_uring_queue_init_params(sq_entries, &ring, &parameters);
    });
    if (error == -EINVAL) continue;
    if (error < 0) return error;
    constexpr unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG;
    if ((parameters.features & needed) != needed) {
      io_uring_queue_exit(&ring);
      return -EOPNOTSUPP;
    }
    features = {};
    features.defer_taskrun = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    features.task_run_flag = (flags & IORING_SETUP_TASKRUN_FLAG) != 0;
    features.no_iowait = (parameters.features & IORING_FEAT_NO_IOWAIT) != 0;
    features.skip_success = (parameters.features & IORING_FEAT_CQE_SKIP) != 0;
    detect_operations(ring, features);
    features.buffer_ring = takes_buffer_ring(ring);
    features.multishot_receive &= features.buffer_ring;
    features.multishot_read &= features.buffer_ring;
    features.message_by_call = takes_message_by_call(ring);
    features.registered_ring = io_uring_register_ring_fd(&ring) == 1;
    return 0;
  }
  return error;
}

int check_ring(io_uring& ring) {
  auto* sqe = io_uring_get_sqe(&ring);
  if (sqe == nullptr) return -EBUSY;
  io_uring_prep_nop(sqe);
  if (int submitted = io_uring_submit(&ring); submitted < 0) return submitted;
  io_uring_cqe* cqe = nullptr;
  if (int found = wait_for_completion(ring, cqe); found < 0) return found;
  int outcome = cqe->res;
  io_uring_cqe_seen(&ring, cqe);
  return outcome;
}

std::string explain_setup_error(int error_number) {
  std::string text = "io_uring_setup: ";
  text += std::strerror(error_number);
  switch (error_number) {
    case ENOSYS:
      return text +
             " (the kernel lacks io_uring, or a seccomp filter, as container runtimes install, "
             "hides it); "
             "allow io_uring in the container's seccomp profile, or use --backend asio";
    case EPERM:
    case EACCES: {
      int disabled = 0;
      if (auto* file = std::fopen("/proc/sys/kernel/io_uring_disabled", "re")) {
        if (std::fscanf(file, "%d", &disabled) != 1) disabled = 0;
        std::fclose(file);
      }
      if (disabled != 0)
        text += " (sysctl kernel.io_uring_disabled is " + std::to_string(disabled) +
                "); set it to 0, or use --backend asio";
      else
        text +=
            " (a seccomp filter or a security module forbids io_uring); allow it there, or use "
            "--backend asio";
      return text;
    }
    case ENOMEM: return text + " (" + limit_on_locked_memory() + "), or use --backend asio";
    case EMFILE: return text + " (" + limit_on_open_files() + ")";
    case EINVAL:
    case EOPNOTSUPP:
      return text +
             " (this kernel's io_uring is too old, Linux 5.11 is the least); use --backend asio";
    default: return text + "; use --backend asio";
  }
}

availability probe_uring(const config&) {
  io_uring ring;
  uring_features features;
  if (int error = open_ring(ring, 8, 16, features); error < 0)
    return {false, explain_setup_error(-error)};
  int error = check_ring(ring);
  io_uring_queue_exit(&ring);
  if (error < 0)
    return {false, std::string("io_uring: a no-op failed: ") + std::strerror(-error) +
                       "; use --backend asio"};
  return {true, features.defer_taskrun ? "io_uring, deferred completions"
                                       : "io_uring, an older kernel's"};
}

}  // namespace weir::detail

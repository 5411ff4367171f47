// Tries out each feature that the rules permit, in the order in which the kernel offers them, and
// turns what stands in the way of a ring into words.
#include "runtime/driver/uring/uring_probe.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

#include "runtime/backend/factories.hpp"
#include "runtime/backend/limits.hpp"

namespace weir::detail {

namespace {

/// Operations that came with a feature, by which that is found.
void detect_operations(io_uring& ring, const ring_rules& rules, uring_features& features) {
  constexpr unsigned most = 256;
  std::vector<std::byte> memory(sizeof(io_uring_probe) + most * sizeof(io_uring_probe_op));
  auto* probe = reinterpret_cast<io_uring_probe*>(memory.data());
  if (rules.register_with(ring, IORING_REGISTER_PROBE, probe, most) < 0) return;
  const auto knows = [&](bool uring_features::* feature, unsigned op) {
    return rules.allow(feature) && op <= probe->last_op && op < probe->ops_len &&
           (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
  };
  using f = uring_features;
  features.multishot_accept = knows(&f::multishot_accept, uring::op_socket);
  features.multishot_receive = knows(&f::multishot_receive, uring::op_send_zc);
  features.multishot_read = knows(&f::multishot_read, uring::op_read_multishot);
  features.make_directory = knows(&f::make_directory, IORING_OP_MKDIRAT);
  features.resize_file = knows(&f::resize_file, uring::op_ftruncate);
}

/// Registers and unregisters a small ring of buffers.
bool takes_buffer_ring(io_uring& ring, const ring_rules& rules) {
  if (!rules.allow(&uring_features::buffer_rings)) return false;
  constexpr std::size_t size = 4096;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(memory);
  registration.ring_entries = 4;
  bool taken = rules.register_with(ring, IORING_REGISTER_PBUF_RING, &registration, 1) == 0;
  if (taken) rules.register_with(ring, IORING_UNREGISTER_PBUF_RING, &registration, 1);
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
bool takes_message_by_call(io_uring& ring, const ring_rules& rules) {
  if (!rules.allow(&uring_features::send_msg_ring)) return false;
  io_uring_sqe message{};
  message.opcode = uring::op_msg_ring;
  message.fd = ring.ring_fd;
  message.addr = uring::msg_data;
  if (rules.register_with(ring, uring::register_send_msg_ring, &message, 1) < 0) return false;
  io_uring_cqe* arrived = nullptr;
  if (wait_for_completion(ring, arrived) < 0) return false;
  io_uring_cqe_seen(&ring, arrived);
  return true;
}

/// Setup flags by the features that they are, and the sets of them that go together: from what is
/// best to what every kernel since 5.11 takes. DEFER_TASKRUN and COOP_TASKRUN only with
/// TASKRUN_FLAG: without it a busy shard would not know when to ask for completions.
struct setup_feature {
  unsigned flag;
  bool uring_features::* feature;
};
constexpr std::array setup_features = {
    setup_feature{IORING_SETUP_SINGLE_ISSUER, &uring_features::single_issuer},
    setup_feature{IORING_SETUP_DEFER_TASKRUN, &uring_features::defer_taskrun},
    setup_feature{IORING_SETUP_COOP_TASKRUN, &uring_features::coop_taskrun},
    setup_feature{IORING_SETUP_TASKRUN_FLAG, &uring_features::taskrun_flag},
    setup_feature{IORING_SETUP_SUBMIT_ALL, &uring_features::submit_all},
};
constexpr std::array setups = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL,
    0u,
};

bool allowed(unsigned setup, const ring_rules& rules) {
  return std::ranges::all_of(setup_features, [&](const setup_feature& each) {
    return (setup & each.flag) == 0 || rules.allow(each.feature);
  });
}

}  // namespace

int open_ring(io_uring& ring, unsigned sq_entries, unsigned cq_entries, const ring_rules& rules,
              uring_features& features) {
  constexpr unsigned always = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
  int error = -EINVAL;
  for (unsigned setup : setups) {
    if (!allowed(setup, rules)) continue;
    io_uring_params parameters{};
    parameters.flags = always | setup;
    parameters.cq_entries = cq_entries < sq_entries ? sq_entries : cq_entries;
    error = rules.set_up(ring, sq_entries, parameters);
    if (error == -EINVAL) continue;
    if (error < 0) return error;
    constexpr unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG;
    if ((parameters.features & needed) != needed) {
      io_uring_queue_exit(&ring);
      return -EOPNOTSUPP;
    }
    features = {};
    for (const auto& each : setup_features) features.*each.feature = (setup & each.flag) != 0;
    using f = uring_features;
    // Deferred completions interrupt nobody either.
    features.coop_taskrun |= features.defer_taskrun && rules.allow(&f::coop_taskrun);
    features.no_iowait =
        rules.allow(&f::no_iowait) && (parameters.features & IORING_FEAT_NO_IOWAIT) != 0;
    features.cqe_skip =
        rules.allow(&f::cqe_skip) && (parameters.features & IORING_FEAT_CQE_SKIP) != 0;
    detect_operations(ring, rules, features);
    features.buffer_rings = takes_buffer_ring(ring, rules);
    std::array<std::uint32_t, 2> as_they_are = {0, 0};
    features.bounded_workers =
        rules.allow(&f::bounded_workers) &&
        rules.register_with(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, as_they_are.data(), 2) == 0;
    features.multishot_receive &= features.buffer_rings;
    features.multishot_read &= features.buffer_rings;
    features.send_msg_ring = takes_message_by_call(ring, rules);
    features.registered_ring = rules.allow(&f::registered_ring) &&
                               rules.register_with(ring, IORING_REGISTER_RING_FDS, nullptr, 1) == 1;
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

availability probe_uring(const config& settings) {
  io_uring ring;
  uring_features features;
  const ring_rules rules(settings.uring);
  if (int error = open_ring(ring, 8, 16, rules, features); error < 0)
    return {false, explain_setup_error(-error)};
  int error = check_ring(ring);
  io_uring_queue_exit(&ring);
  if (error < 0)
    return {false, std::string("io_uring: a no-op failed: ") + std::strerror(-error) +
                       "; use --backend asio"};
  std::string what =
      features.defer_taskrun ? "io_uring, deferred completions" : "io_uring, an older kernel's";
  return {true, rules.limited() ? what + " (" + rules.words() + ")" : what};
}

}  // namespace weir::detail

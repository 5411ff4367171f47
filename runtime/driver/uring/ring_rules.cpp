// The tables of what io_uring knows since when are the kernel's include/uapi/linux/io_uring.h and
// its history. They hold what weir uses and what it might: an operation, a flag or a registration
// that is in none of them is refused too, and belongs into one.
#include "runtime/driver/uring/ring_rules.hpp"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <span>

namespace weir::detail {

namespace {

using use = ring_rules::use;
using f = uring_features;

constexpr unsigned always = linux_release(5, 11);  // older kernels will not do

constexpr use setup_flags[] = {
    {IORING_SETUP_CQSIZE, always},
    {IORING_SETUP_CLAMP, always},
    {IORING_SETUP_SUBMIT_ALL, linux_release(5, 18), &f::submit_all},
    {IORING_SETUP_COOP_TASKRUN, linux_release(5, 19), &f::coop_taskrun},
    {IORING_SETUP_TASKRUN_FLAG, linux_release(5, 19), &f::taskrun_flag},
    {IORING_SETUP_SINGLE_ISSUER, linux_release(6, 0), &f::single_issuer},
    {IORING_SETUP_DEFER_TASKRUN, linux_release(6, 1), &f::defer_taskrun},
};

constexpr use enter_flags[] = {
    {IORING_ENTER_GETEVENTS, always},
    {IORING_ENTER_EXT_ARG, always},
    {IORING_ENTER_REGISTERED_RING, linux_release(5, 18), &f::registered_ring},
    {IORING_ENTER_NO_IOWAIT, linux_release(6, 15), &f::no_iowait},
};

constexpr use registrations[] = {
    {IORING_REGISTER_FILES, always},
    {IORING_UNREGISTER_FILES, always},
    {IORING_REGISTER_EVENTFD, always},
    {IORING_REGISTER_PROBE, always},
    {IORING_REGISTER_RING_FDS, linux_release(5, 18), &f::registered_ring},
    {IORING_REGISTER_PBUF_RING, linux_release(5, 19), &f::buffer_rings},
    {IORING_UNREGISTER_PBUF_RING, linux_release(5, 19), &f::buffer_rings},
    {IORING_REGISTER_SYNC_CANCEL, linux_release(6, 0)},
    {IORING_REGISTER_IOWQ_MAX_WORKERS, linux_release(5, 15), &f::bounded_workers},
    {uring::register_send_msg_ring, linux_release(6, 13), &f::send_msg_ring},
};

constexpr use operations[] = {
    {IORING_OP_NOP, always},
    {IORING_OP_READV, always},
    {IORING_OP_WRITEV, always},
    {IORING_OP_POLL_ADD, always},
    {IORING_OP_POLL_REMOVE, always},
    {IORING_OP_SENDMSG, always},
    {IORING_OP_RECVMSG, always},
    {IORING_OP_TIMEOUT, always},
    {IORING_OP_ACCEPT, always},
    {IORING_OP_ASYNC_CANCEL, always},
    {IORING_OP_LINK_TIMEOUT, always},
    {IORING_OP_CONNECT, always},
    {IORING_OP_CLOSE, always},
    {IORING_OP_READ, always},
    {IORING_OP_WRITE, always},
    {IORING_OP_SEND, always},
    {IORING_OP_RECV, always},
    {IORING_OP_SHUTDOWN, always},
    {IORING_OP_FSYNC, always},
    {IORING_OP_OPENAT, always},
    {IORING_OP_STATX, always},
    {IORING_OP_RENAMEAT, always},
    {IORING_OP_UNLINKAT, always},
    {IORING_OP_MKDIRAT, linux_release(5, 15), &f::make_directory},
    {uring::op_msg_ring, linux_release(5, 18)},
    {uring::op_socket, linux_release(5, 19)},
    {uring::op_send_zc, linux_release(6, 0)},
    {uring::op_read_multishot, linux_release(6, 7), &f::multishot_read},
    {uring::op_ftruncate, linux_release(6, 9), &f::resize_file},
};

constexpr use entry_flags[] = {
    {IOSQE_FIXED_FILE, always},
    {IOSQE_IO_DRAIN, always},
    {IOSQE_IO_LINK, always},
    {IOSQE_IO_HARDLINK, always},
    {IOSQE_ASYNC, always},
    {IOSQE_BUFFER_SELECT, linux_release(5, 19), &f::buffer_rings},  // known before, for other ones
    {IOSQE_CQE_SKIP_SUCCESS, linux_release(5, 17), &f::cqe_skip},
};

// The priority bits mean something else for each operation, and nothing for most.
constexpr use accept_bits[] = {
    {IORING_ACCEPT_MULTISHOT, linux_release(5, 19), &f::multishot_accept},
};
constexpr use receive_bits[] = {
    {IORING_RECVSEND_POLL_FIRST, linux_release(5, 19)},
    {IORING_RECV_MULTISHOT, linux_release(6, 0), &f::multishot_receive},
};
constexpr use send_bits[] = {
    {IORING_RECVSEND_POLL_FIRST, linux_release(5, 19)},
};
constexpr use cancel_bits[] = {
    {IORING_ASYNC_CANCEL_ALL, linux_release(5, 19)},
    {IORING_ASYNC_CANCEL_FD, linux_release(5, 19)},
    {IORING_ASYNC_CANCEL_ANY, linux_release(5, 19)},
};

std::span<const use> priority_bits(unsigned opcode) {
  switch (opcode) {
    case IORING_OP_ACCEPT: return accept_bits;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG: return receive_bits;
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG: return send_bits;
    default: return {};
  }
}

/// The kernel gives back what a closed ring had locked some tens of milliseconds later. A ring of
/// the probe's, or of a server that was just restarted, is no reason to do without one: calls again
/// while the answer is -ENOMEM, for half a second.
template <class Call>
int with_patience_for_memory(Call call) {
  constexpr timespec pause{0, 5'000'000};
  int error = call();
  for (int tries = 100; error == -ENOMEM && tries > 0; --tries) {
    ::nanosleep(&pause, nullptr);
    error = call();
  }
  return error;
}

}  // namespace

ring_rules::ring_rules(const config::uring_section& wanted) {
  for (const auto& profile : uring_profiles) {
    if (profile.name != wanted.profile) continue;
    release_ = profile.release;
    words_ = "uring.profile " + wanted.profile;
  }
  for (const auto& feature : uring_feature_table) {
    const bool named = std::ranges::find(wanted.hide, feature.name) != wanted.hide.end();
    hidden_.*feature.member = named || feature.since > release_;
    if (named)
      words_ += (words_.empty() ? "uring.hide " : ", uring.hide ") + std::string(feature.name);
  }
  limited_ = !words_.empty();
}

ring_rules ring_rules::oldest() {
  ring_rules rules;
  rules.release_ = always;
  for (const auto& feature : uring_feature_table) rules.hidden_.*feature.member = true;
  rules.limited_ = true;
  rules.words_ = "io_uring of Linux 5.11";
  return rules;
}

int ring_rules::set_up(io_uring& ring, unsigned entries, io_uring_params& parameters) const {
  check_bits("setup flag", parameters.flags, std::begin(setup_flags), std::end(setup_flags));
  return with_patience_for_memory([&, asked = parameters] {
    parameters = asked;
    return io_uring_queue_init_params(entries, &ring, &parameters);
  });
}

int ring_rules::register_with(io_uring& ring, unsigned opcode, void* argument,
                              unsigned count) const {
  if (limited_) {
    const auto* known = std::ranges::find(registrations, opcode, &use::value);
    if (known == std::end(registrations) || !permits(*known)) offence("registration", opcode);
  }
  // liburing keeps what this one gives.
  if (opcode == IORING_REGISTER_RING_FDS) return io_uring_register_ring_fd(&ring);
  const auto descriptor =
      opcode == uring::register_send_msg_ring ? ~0u : static_cast<unsigned>(ring.ring_fd);
  const auto call = [&] { return io_uring_register(descriptor, opcode, argument, count); };
  return opcode == IORING_REGISTER_PBUF_RING ? with_patience_for_memory(call) : call();
}

void ring_rules::check_entry(const io_uring_sqe& entry) const {
  const unsigned opcode = entry.opcode;
  const auto* known = std::ranges::find(operations, opcode, &use::value);
  if (known == std::end(operations) || !permits(*known)) offence("operation", opcode);
  check_bits("entry flag", entry.flags, std::begin(entry_flags), std::end(entry_flags));
  const auto priority = priority_bits(opcode);
  check_bits("priority bit", entry.ioprio, priority.data(), priority.data() + priority.size());
  if (opcode == IORING_OP_ASYNC_CANCEL)
    check_bits("flag of a cancellation", entry.cancel_flags, std::begin(cancel_bits),
               std::end(cancel_bits));
  // An address for the datagram came to SEND with Linux 6.1 or later.
  if ((opcode == IORING_OP_SEND || opcode == IORING_OP_RECV) && entry.addr2 != 0)
    offence("address of operation", opcode);
}

void ring_rules::check_enter(unsigned flags) const {
  check_bits("flag of a call", flags, std::begin(enter_flags), std::end(enter_flags));
}

bool ring_rules::permits(const use& u) const {
  return u.since <= release_ && (u.feature == nullptr || allow(u.feature));
}

void ring_rules::check_bits(const char* what, unsigned bits, const use* begin,
                            const use* end) const {
  if (!limited_) return;
  for (; bits != 0; bits &= bits - 1) {
    const unsigned bit = bits & ~(bits - 1);
    const auto* known = std::find_if(begin, end, [bit](const use& u) { return u.value == bit; });
    if (known == end || !permits(*known)) offence(what, bit);
  }
}

void ring_rules::offence(const char* what, unsigned value) const {
  std::fprintf(stderr, "weir: %s: %s %u is used all the same\n", words_.c_str(), what, value);
  std::abort();
}

}  // namespace weir::detail

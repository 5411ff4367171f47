// Sending. Two sends of one socket in the kernel's hands would interleave their bytes, so there is
// one at a time; the writes that come meanwhile queue, and leave together in one gathered send. A
// short send goes on where it stopped. The kernel's answer decides what a cancelled write reports:
// what went, went.
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "transport/uring/uring_transport.hpp"

namespace weir::detail {

namespace {

struct write_scratch {
  std::size_t total;
  bool canceled;
};

/// MSG_WAITALL spares a completion for each part that a full socket took. But the kernel hands a
/// request that it had to poll 128 times to a worker thread: what is longer than this goes on from
/// its completions.
constexpr std::size_t longest_waited_for = 65536;

std::uint32_t send_flags(bool all, std::size_t size) {
  return static_cast<std::uint32_t>(MSG_NOSIGNAL |
                                    (all && size <= longest_waited_for ? MSG_WAITALL : 0));
}

write_scratch& scratch_of(write_operation& op) { return op.scratch.as<write_scratch>(); }

}  // namespace

void uring_transport::start_write(write_operation& op) {
  auto& s = static_cast<uring_stream&>(*op.socket);
  std::size_t total = 0;
  for (auto part : op.parts()) total += part.size();
  scratch_of(op) = {total, false};
  op.next_writer = nullptr;
  (s.last_writer != nullptr ? s.last_writer->next_writer : s.first_writer) = &op;
  s.last_writer = &op;
  if (s.in_send == 0) submit_send(s);
}

void uring_transport::submit_send(uring_stream& s) noexcept {
  auto& op = *s.first_writer;
  ++counters_.sends;
  // A write_some reports what the first send took, so nothing may follow it in the same send.
  bool alone = op.next_writer == nullptr || !op.all || !op.next_writer->all;
  if (op.gathered || !alone) return submit_gathered(s);
  constexpr std::size_t most = std::size_t{1} << 30;
  auto left = op.single.subspan(op.written);
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_SEND;
  entry.fd = s.fd;
  entry.addr = reinterpret_cast<std::uint64_t>(left.data());
  entry.len = static_cast<std::uint32_t>(std::min(left.size(), most));
  entry.msg_flags = send_flags(op.all, left.size());
  entry.user_data = s.user_data(send_tag);
  s.in_send = 1;
  ++s.in_flight;
}

void uring_transport::submit_gathered(uring_stream& s) noexcept {
  if (free_batches_ == nullptr)
    free_batches_ = batches_.emplace_back(std::make_unique<send_batch>()).get();
  auto& batch = *std::exchange(free_batches_, free_batches_->next);
  s.batch = &batch;
  std::size_t n = 0, total = 0;
  bool all = s.first_writer->all;
  for (auto* op = s.first_writer; op != nullptr && n < send_batch::most_parts;
       op = op->next_writer) {
    if (op != s.first_writer && (!all || !op->all)) break;
    auto skip = op->written;
    for (auto part : op->parts()) {
      auto over = std::min(skip, part.size());
      skip -= over;
      part = part.subspan(over);
      if (part.empty()) continue;
      if (n == send_batch::most_parts) break;  // the rest goes with the next send
      batch.parts[n++] = {const_cast<std::byte*>(part.data()), part.size()};
      total += part.size();
    }
    ++s.in_send;
  }
  if (s.in_send > 1) ++counters_.coalesced_sends;
  batch.header = {};
  batch.header.msg_iov = batch.parts.data();
  batch.header.msg_iovlen = n;
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_SENDMSG;
  entry.fd = s.fd;
  entry.addr = reinterpret_cast<std::uint64_t>(&batch.header);
  entry.len = 1;
  entry.msg_flags = send_flags(all, total);
  entry.user_data = s.user_data(send_tag);
  ++s.in_flight;
}

void uring_transport::on_send(uring_stream& s, std::int32_t result) noexcept {
  auto carried = std::exchange(s.in_send, 0u);
  s.send_canceled = false;
  if (s.batch != nullptr) {
    s.batch->next = free_batches_;
    free_batches_ = std::exchange(s.batch, nullptr);
  }
  if (result > 0)
    credit(s, static_cast<std::size_t>(result));
  else if (result == 0)
    fail_writers(s, carried, std::make_error_code(std::errc::broken_pipe));
  else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN)
    fail_writers(s, carried, kernel::error_from(-result));
  end_canceled_writers(s);
  if (s.first_writer != nullptr) {
    submit_send(s);
  } else if (std::exchange(s.shutdown_wanted, false) && !s.closing) {
    driver_.count_system_calls();
    ::shutdown(s.fd, SHUT_WR);
  }
  request_ended(s);
}

/// Spreads what was sent over the writes that it carried.
void uring_transport::credit(uring_stream& s, std::size_t sent) noexcept {
  while (s.first_writer != nullptr && sent != 0) {
    auto& op = *s.first_writer;
    auto n = std::min(sent, scratch_of(op).total - op.written);
    op.written += n;
    sent -= n;
    if (op.all && op.written < scratch_of(op).total) return;
    pop_writer(s, {});
  }
}

void uring_transport::pop_writer(uring_stream& s, std::error_code error) noexcept {
  auto& op = *s.first_writer;
  s.first_writer = op.next_writer;
  if (s.first_writer == nullptr) s.last_writer = nullptr;
  op.complete(error);
}

void uring_transport::fail_writers(uring_stream& s, std::uint32_t count,
                                   std::error_code error) noexcept {
  while (count-- > 0 && s.first_writer != nullptr) pop_writer(s, error);
}

void uring_transport::end_canceled_writers(uring_stream& s) noexcept {
  write_operation* before = nullptr;
  for (auto* op = s.first_writer; op != nullptr;) {
    auto* next = op->next_writer;
    if (scratch_of(*op).canceled) {
      (before != nullptr ? before->next_writer : s.first_writer) = next;
      if (s.last_writer == op) s.last_writer = before;
      op->complete(canceled_error());
    } else {
      before = op;
    }
    op = next;
  }
}

void uring_transport::cancel_write(write_operation& op) noexcept {
  auto& s = static_cast<uring_stream&>(*op.socket);
  scratch_of(op).canceled = true;
  write_operation* before = nullptr;
  std::uint32_t place = 0;
  for (auto* each = s.first_writer; each != &op; each = each->next_writer, ++place) before = each;
  if (place < s.in_send) {
    if (!std::exchange(s.send_canceled, true)) driver_.cancel(s.user_data(send_tag));
    return;
  }
  // Not in the kernel's hands, so not written in part either: only the first can be.
  before->next_writer = op.next_writer;
  if (s.last_writer == &op) s.last_writer = before;
  op.complete(canceled_error());
}

}  // namespace weir::detail

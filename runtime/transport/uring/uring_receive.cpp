// Receiving. Three ways in: the multishot receive, whose chunks queue per socket up to a cap and
// are then withdrawn until the reader has caught up; a direct receive into the memory of the reader
// that waits, when the pool is dry or the reads are large; a direct receive into a buffer of the
// pool, for lending readers that the ring could not serve.
//
// A read that is cancelled leaves a multishot receive running: what it brings is for the next read,
// nothing is lost.
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/uring/uring_transport.hpp"

namespace weir::detail {

namespace {

std::error_code end_error(const uring_stream& s) {
  return s.receive_error != 0 ? kernel::error_from(s.receive_error) : std::error_code{};
}

}  // namespace

void uring_transport::start_read(read_operation& op) {
  auto& s = static_cast<uring_stream&>(*op.socket);
  if (take(s, op)) return op.complete();
  if (ended(s)) return op.complete(end_error(s));
  s.reader = &op;
  s.reads_large = !op.lend && op.into.size() >= 2 * buffers_.size();
  s.reader_canceled = false;
  if (s.receive == uring_stream::receiving::nothing) arm_receive(s, false);
}

/// Moves queued bytes into the read; true when it has what it asked for.
bool uring_transport::take(uring_stream& s, read_operation& op) noexcept {
  while (s.rx_size != 0 || next_chunk(s)) {
    if (op.lend) {
      op.lent = {s.rx_data, s.rx_size, s.head, nullptr};
      op.filled = s.rx_size;
      auto next = chunks_[s.head].next;
      s.head = next;
      if (next == uring_stream::none) s.tail = next;
      --s.chunks;
      s.rx_data = s.head == uring_stream::none ? nullptr : buffers_.data(s.head);
      s.rx_size = s.head == uring_stream::none ? 0 : chunks_[s.head].size;
      return true;
    }
    auto n = std::min<std::size_t>(s.rx_size, op.into.size() - op.filled);
    std::memcpy(op.into.data() + op.filled, s.rx_data, n);
    s.rx_data += n;
    s.rx_size -= static_cast<std::uint32_t>(n);
    op.filled += n;
    if (op.filled == op.into.size()) break;
  }
  if (s.rx_size == 0) next_chunk(s);  // gives the buffer that was emptied back while it is hot
  return op.filled != 0 && op.filled >= op.minimum;
}

/// True when no more bytes will come.
bool uring_transport::ended(const uring_stream& s) noexcept {
  return s.rx_size == 0 && (s.end_of_stream || s.receive_error != 0);
}

// --- The queue of chunks.

void uring_transport::append_chunk(uring_stream& s, unsigned id, std::uint32_t size) noexcept {
  auto i = static_cast<std::uint16_t>(id);
  chunks_[i] = {size, uring_stream::none};
  ++s.chunks;
  if (s.head == uring_stream::none) {
    s.head = s.tail = i;
    s.rx_data = buffers_.data(i);
    s.rx_size = size;
  } else {
    chunks_[std::exchange(s.tail, i)].next = i;
  }
}

/// The head was read to its end: gives it back and presents the next. False when there is none.
bool uring_transport::next_chunk(uring_stream& s) noexcept {
  if (s.head == uring_stream::none) return false;
  assert(s.rx_size == 0);
  auto next = chunks_[s.head].next;
  buffers_.give_back(s.head);
  --s.chunks;
  s.head = next;
  if (next == uring_stream::none) {
    s.tail = next;
    s.rx_data = nullptr;
    return false;
  }
  s.rx_data = buffers_.data(next);
  s.rx_size = chunks_[next].size;
  return true;
}

void uring_transport::drop_chunks(uring_stream& s) noexcept {
  do s.rx_size = 0;
  while (next_chunk(s));
}

void uring_transport::settle(socket_base* spent) noexcept {
  while (spent != nullptr) {
    auto& s = static_cast<uring_stream&>(*spent);
    spent = std::exchange(spent->next_spent, nullptr);
    if (s.rx_size == 0) next_chunk(s);
  }
}

void uring_transport::release(lent_bytes& lent) noexcept {
  buffers_.give_back(lent.token);
  lent = {};
}

// --- Requests.

void uring_transport::arm_receive(uring_stream& s, bool starved) noexcept {
  bool lends = s.reader != nullptr && s.reader->lend;
  if (wants_direct(s, starved)) return arm_direct(s);
  // A buffer of its own only for bytes that are there: a connection that waits for its peer must
  // not hold one.
  bool nothing_offered = starved && buffers_.offered() == 0;
  if (lends && (!driver_.features().multishot_receive || nothing_offered)) return arm_lent(s);
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_RECV;
  entry.fd = s.fd;
  entry.ioprio = IORING_RECV_MULTISHOT;
  entry.flags = IOSQE_BUFFER_SELECT;
  entry.buf_group = static_cast<std::uint16_t>(buffers_.group());
  entry.user_data = s.user_data(multishot_tag);
  s.receive = uring_stream::receiving::multishot;
  ++s.in_flight;
}

/// A waiting reader's own memory is better than a buffer when there is no buffer, and when the
/// bytes would only be copied on: reads that are large and keep being filled.
bool uring_transport::wants_direct(const uring_stream& s, bool starved) const noexcept {
  if (s.reader == nullptr || s.reader->lend) return false;
  if (starved || !driver_.features().multishot_receive) return true;
  return s.reads_large && s.large_reads >= large_reads_in_row;
}

void uring_transport::arm_direct(uring_stream& s) noexcept {
  constexpr std::size_t most = std::size_t{1} << 30;
  auto& op = *s.reader;
  auto room = op.into.subspan(op.filled);
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_RECV;
  entry.fd = s.fd;
  entry.addr = reinterpret_cast<std::uint64_t>(room.data());
  entry.len = static_cast<std::uint32_t>(std::min(room.size(), most));
  // Without MSG_WAITALL: a request that was woken 128 times in vain, by a peer that sends in small
  // pieces say, is handed to a worker thread, which then waits for that peer.
  entry.user_data = s.user_data(direct_tag);
  s.receive = uring_stream::receiving::direct;
  ++s.in_flight;
  ++counters_.direct_receives;
}

void uring_transport::arm_lent(uring_stream& s) noexcept {
  auto buffer = buffers_.take();
  if (!buffer) return wait_for_buffer(s);
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_RECV;
  entry.fd = s.fd;
  entry.addr = reinterpret_cast<std::uint64_t>(buffers_.data(*buffer));
  entry.len = static_cast<std::uint32_t>(buffers_.size());
  entry.user_data = s.user_data(direct_tag);
  s.direct_buffer = static_cast<std::uint16_t>(*buffer);
  s.receive = uring_stream::receiving::direct;
  ++s.in_flight;
}

void uring_transport::withdraw(uring_stream& s) noexcept {
  if (s.withdrawing || s.receive != uring_stream::receiving::multishot) return;
  s.withdrawing = true;
  ++counters_.withdrawn;
  driver_.cancel(s.user_data(multishot_tag));
}

void uring_transport::cancel_read(read_operation& op) noexcept {
  auto& s = static_cast<uring_stream&>(*op.socket);
  if (s.receive ==
      uring_stream::receiving::direct) {  // the kernel may write into the reader's memory
    s.reader_canceled = true;
    return driver_.cancel(s.user_data(direct_tag));
  }
  leave_buffer_queue(s);
  s.reader = nullptr;
  op.complete(canceled_error());
}

// --- Completions.

void uring_transport::note_receive_error(uring_stream& s, std::int32_t result) noexcept {
  switch (-result) {
    case 0: s.end_of_stream = true; return;
    case ENOBUFS: ++counters_.no_buffers; return;
    case ECANCELED:
    case EAGAIN:
    case EINTR: return;
    default: s.receive_error = -result; return;
  }
}

void uring_transport::on_multishot(uring_stream& s, std::int32_t result,
                                   std::uint32_t flags) noexcept {
  bool ended = (flags & IORING_CQE_F_MORE) == 0;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
    buffers_.taken(id);
    if (result > 0)
      append_chunk(s, id, static_cast<std::uint32_t>(result));
    else
      buffers_.give_back(id);
  }
  if (result <= 0) note_receive_error(s, result);
  if (ended) {
    s.receive = uring_stream::receiving::nothing;
    s.withdrawing = false;
    request_ended(s);  // may free the socket, when it is closing
    if (s.fd < 0 || s.closing) return;
  } else if (s.closing) {
    return cancel_all(s);  // it went on after the cancellation
  }
  if (result > 0) {
    if (!s.reads_large || result < static_cast<std::int32_t>(buffers_.size())) {
      s.large_reads = 0;
    } else if (s.large_reads < large_reads_in_row) {
      if (++s.large_reads == large_reads_in_row) withdraw(s);
    }
  }
  serve_reader(s, result == -ENOBUFS);
  if (s.chunks >= limits_.chunks_per_stream) withdraw(s);
}

void uring_transport::on_direct(uring_stream& s, std::int32_t result) noexcept {
  s.receive = uring_stream::receiving::nothing;
  if (s.direct_buffer != uring_stream::none) {
    auto id = std::exchange(s.direct_buffer, uring_stream::none);
    if (result > 0)
      append_chunk(s, id, static_cast<std::uint32_t>(result));
    else
      buffers_.give_back(id);
  } else if (result > 0) {
    auto n = static_cast<std::size_t>(result);
    s.reader->filled += n;
    if (n < buffers_.size() && s.large_reads > 0) --s.large_reads;
  }
  if (result <= 0) note_receive_error(s, result);
  request_ended(s);
  if (s.fd < 0 || s.closing) return;
  serve_reader(s, false);
}

/// After something came, or nothing more will: ends the read that waits, or sees to it that more
/// comes.
void uring_transport::serve_reader(uring_stream& s, bool starved) noexcept {
  if (s.reader == nullptr) return;
  auto& op = *s.reader;
  std::error_code error;
  bool done = (op.filled != 0 && op.filled >= op.minimum) || take(s, op);
  if (!done && ended(s)) {
    error = end_error(s);
    done = true;
  } else if (!done && s.reader_canceled && s.receive == uring_stream::receiving::nothing) {
    error = canceled_error();
    done = true;
  }
  if (done) {
    s.reader = nullptr;
    s.reader_canceled = false;
    return op.complete(error);
  }
  if (s.receive == uring_stream::receiving::nothing) arm_receive(s, starved);
}

// --- Lending readers without a buffer.

void uring_transport::wait_for_buffer(uring_stream& s) noexcept {
  if (s.waits_for_buffer) return;
  s.waits_for_buffer = true;
  s.next_waiting = nullptr;
  (last_waiting_ != nullptr ? last_waiting_->next_waiting : first_waiting_) = &s;
  last_waiting_ = &s;
}

void uring_transport::leave_buffer_queue(uring_stream& s) noexcept {
  if (!s.waits_for_buffer) return;
  uring_stream* before = nullptr;
  for (auto* w = first_waiting_; w != &s; w = w->next_waiting) before = w;
  (before != nullptr ? before->next_waiting : first_waiting_) = s.next_waiting;
  if (last_waiting_ == &s) last_waiting_ = before;
  s.waits_for_buffer = false;
}

void uring_transport::serve_buffer_queue() noexcept {
  while (first_waiting_ != nullptr && buffers_.spares() + buffers_.offered() != 0) {
    auto& s = *first_waiting_;
    first_waiting_ = s.next_waiting;
    if (first_waiting_ == nullptr) last_waiting_ = nullptr;
    s.waits_for_buffer = false;
    arm_receive(s, true);
    if (s.waits_for_buffer) return;
  }
}

}  // namespace weir::detail

// Receiving. Three ways in: the multishot receive, whose chunks queue per socket up to a cap and
// are then withdrawn until the reader has caught up; a direct receive into the memory of the reader
// that waits, when the pool is dry or the reads are large; a direct receive into a buffer of the
// pool, for lending readers that the ring could not serve.
//
// A read that is cancelled leaves a multishot receive running: what it brings is for the next read,
// nothing is lost. Unread bytes that would pin buffers when few are left are copied out, into a
// stash of the socket's, so that the last buffers are for readers that wait.
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/transport/uring/uring_transport.hpp"

namespace weir::detail {

namespace {

uring_stream& stream_of(socket_base& s) { return static_cast<uring_stream&>(s); }

/// Of the pool's buffers, the share that unread bytes may not hold.
constexpr unsigned kept_for_readers(unsigned count) { return count / 4; }

}  // namespace

// --- The queue of chunks.

void uring_transport::append_chunk(uring_stream& s, unsigned id, std::uint32_t size) noexcept {
  auto i = static_cast<std::uint16_t>(id);
  chunks_[i] = {size, uring_stream::none};
  ++s.chunks;
  if (s.head != uring_stream::none) {
    chunks_[std::exchange(s.tail, i)].next = i;
    return;
  }
  s.head = s.tail = i;
  if (s.stash != nullptr) return;
  s.rx_data = buffers_.data(i);
  s.rx_size = size;
}

/// The head was read to its end: gives it back and presents the next.
void uring_transport::next_chunk(uring_stream& s) noexcept {
  assert(s.rx_size == 0);
  if (s.stash != nullptr) {
    s.stash.reset();
  } else if (s.head != uring_stream::none) {
    const auto emptied = s.head;
    s.head = chunks_[emptied].next;
    if (s.head == uring_stream::none) s.tail = uring_stream::none;
    --s.chunks;
    buffers_.give_back(emptied);
  }
  const bool more = s.head != uring_stream::none;
  s.rx_data = more ? buffers_.data(s.head) : nullptr;
  s.rx_size = more ? chunks_[s.head].size : 0;
}

void uring_transport::drop_chunks(uring_stream& s) noexcept {
  s.rx_size = 0;
  while (s.stash != nullptr || s.head != uring_stream::none) {
    next_chunk(s);
    s.rx_size = 0;
  }
}

/// All that is unread, copied out of its buffers, which go back. Null where there is no memory:
/// then nothing has changed.
std::unique_ptr<std::byte[]> uring_transport::copy_unread(uring_stream& s,
                                                          std::uint32_t& size) noexcept {
  size = s.rx_size;
  const auto first = s.stash != nullptr ? s.head : chunks_[s.head].next;
  for (auto i = first; i != uring_stream::none; i = chunks_[i].next) size += chunks_[i].size;
  std::unique_ptr<std::byte[]> all(new (std::nothrow) std::byte[size]);
  if (all == nullptr) return all;
  std::size_t filled = 0;
  while (s.rx_size != 0) {
    std::memcpy(all.get() + filled, s.rx_data, s.rx_size);
    filled += std::exchange(s.rx_size, 0);
    next_chunk(s);
  }
  return all;
}

/// Moves all that is unread into memory of the socket's own. Bounded: the receive was withdrawn, or
/// is now.
void uring_transport::stash_unread(uring_stream& s) noexcept {
  std::uint32_t size;
  auto all = copy_unread(s, size);
  if (all == nullptr) return;
  s.stash = std::move(all);
  s.rx_data = s.stash.get();
  s.rx_size = size;
  ++counters_.stashed;
}

void uring_transport::settle(socket_base& socket) noexcept {
  auto& s = stream_of(socket);
  s.wrote_in = 0;  // who reads between two writes answers; see take_out()
  if (s.rx_size == 0) next_chunk(s);
}

bool uring_transport::lend(socket_base& socket, lent_bytes& lent) {
  auto& s = stream_of(socket);
  if (s.stash != nullptr) {
    const auto buffer = buffers_.take();
    if (!buffer) return wait_for_buffer(s), false;
    const auto n = std::min(s.rx_size, static_cast<std::uint32_t>(buffers_.size()));
    std::memcpy(buffers_.data(*buffer), s.rx_data, n);
    lent = {buffers_.data(*buffer), n, *buffer, nullptr};
    s.rx_data += n;
    s.rx_size -= n;
    settle(s);
    return true;
  }
  lent = {s.rx_data, s.rx_size, s.head, nullptr};
  const auto next = chunks_[s.head].next;
  s.head = next;
  if (next == uring_stream::none) s.tail = next;
  --s.chunks;
  s.rx_data = next == uring_stream::none ? nullptr : buffers_.data(next);
  s.rx_size = next == uring_stream::none ? 0 : chunks_[next].size;
  return true;
}

// --- Requests.

void uring_transport::bring_in(socket_base& socket) {
  auto& s = stream_of(socket);
  s.wrote_in = 0;
  auto& op = *s.reader;
  s.reads_large = !op.lend && op.into().size() >= 2 * buffers_.size();
  if (s.receive != uring_stream::receiving::nothing || s.waits_for_buffer) return;
  if (wants_direct(s)) {
    ++counters_.direct_receives;
    return arm_direct(s, op.into().subspan(op.filled));
  }
  // A buffer of its own only for bytes that are there: a connection that waits for its peer must
  // not hold one.
  const bool bytes_wait = s.starved && s.polls_first;
  if (op.lend && (!driver_.features().multishot_receive || (bytes_wait && buffers_.offered() == 0)))
    return arm_lent(s);
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_RECV;
  entry.fd = s.fd;
  // The kernel looks for a buffer before it looks for bytes: that it found none says nothing of
  // them. Asked again, it waits for bytes first.
  s.polls_first = s.starved;
  entry.ioprio = IORING_RECV_MULTISHOT;
  if (s.polls_first) entry.ioprio |= IORING_RECVSEND_POLL_FIRST;
  entry.flags = IOSQE_BUFFER_SELECT;
  entry.buf_group = static_cast<std::uint16_t>(buffers_.group());
  entry.user_data = s.user_data(multishot_tag);
  s.receive = uring_stream::receiving::multishot;
  s.starved = false;
  ++s.in_flight;
}

/// A waiting reader's own memory is better than a buffer when there is no buffer, and when the
/// bytes would only be copied on: reads that are large and keep being filled.
bool uring_transport::wants_direct(const uring_stream& s) const noexcept {
  if (s.reader->lend) return false;
  if (s.starved || !driver_.features().multishot_receive) return true;
  return s.reads_large && s.large_reads >= large_reads_in_row;
}

void uring_transport::arm_direct(uring_stream& s, std::span<std::byte> into) noexcept {
  constexpr std::size_t most = std::size_t{1} << 30;
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_RECV;
  entry.fd = s.fd;
  entry.addr = reinterpret_cast<std::uint64_t>(into.data());
  entry.len = static_cast<std::uint32_t>(std::min(into.size(), most));
  // Without MSG_WAITALL: a request that was woken 128 times in vain, by a peer that sends in small
  // pieces say, is handed to a worker thread, which then waits for that peer.
  entry.user_data = s.user_data(direct_tag);
  s.receive = uring_stream::receiving::direct;
  s.starved = false;
  ++s.in_flight;
}

void uring_transport::arm_lent(uring_stream& s) noexcept {
  const auto buffer = buffers_.take();
  if (!buffer) return wait_for_buffer(s);
  s.direct_buffer = static_cast<std::uint16_t>(*buffer);
  arm_direct(s, {buffers_.data(*buffer), buffers_.size()});
}

void uring_transport::withdraw(uring_stream& s) noexcept {
  if (s.withdrawing || s.receive != uring_stream::receiving::multishot) return;
  s.withdrawing = true;
  ++counters_.withdrawn;
  driver_.cancel(s.user_data(multishot_tag));
}

bool uring_transport::reading_elsewhere(socket_base& socket, bool end_early) noexcept {
  auto& s = stream_of(socket);
  if (s.receive != uring_stream::receiving::direct) return false;
  if (end_early) driver_.cancel(s.user_data(direct_tag));
  return true;
}

// --- Completions.

/// A receive brought nothing: the end, or a reason to ask again.
void uring_transport::receive_ended(uring_stream& s, std::int32_t result) noexcept {
  switch (-result) {
    case 0: return receiving_over(s);
    case ENOBUFS:
      s.starved = true;
      ++counters_.no_buffers;
      return bytes_came(s);
    case ECANCELED:
    case EAGAIN:
    case EINTR: return bytes_came(s);
    default: return receiving_over(s, kernel::error_from(-result));
  }
}

void uring_transport::on_multishot(uring_stream& s, std::int32_t result,
                                   std::uint32_t flags) noexcept {
  const bool ended = (flags & IORING_CQE_F_MORE) == 0;
  if (result > 0) counters_.bytes_received += static_cast<std::size_t>(result);
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    const unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
    buffers_.taken(id);
    if (result > 0)
      append_chunk(s, id, static_cast<std::uint32_t>(result));
    else
      buffers_.give_back(id);
  }
  if (ended) {
    s.receive = uring_stream::receiving::nothing;
    s.withdrawing = false;
    const bool gone = s.closing && s.in_flight == 1;
    request_ended(s);  // frees the socket, when it was closing and this was the last
    if (gone || s.closing) return;
  } else if (s.closing || s.detaching != nullptr) {
    return cancel_all(s);  // it went on after the cancellation
  }
  if (s.detaching != nullptr) {
    result <= 0 ? receive_ended(s, result) : bytes_came(s);
    return finish_detach(s);
  }
  if (result <= 0) return receive_ended(s, result);
  if (!s.reads_large || result < static_cast<std::int32_t>(buffers_.size())) {
    s.large_reads = 0;
  } else if (s.large_reads < large_reads_in_row) {
    if (++s.large_reads == large_reads_in_row) withdraw(s);
  }
  bytes_came(s);
  if (s.rx_size == 0) return;
  if (s.chunks >= limits_.chunks_per_stream) withdraw(s);
  if (s.reader == nullptr &&
      buffers_.spares() + buffers_.offered() < kept_for_readers(buffers_.count())) {
    stash_unread(s);
    withdraw(s);
  }
}

void uring_transport::on_direct(uring_stream& s, std::int32_t result) noexcept {
  s.receive = uring_stream::receiving::nothing;
  if (result > 0) counters_.bytes_received += static_cast<std::size_t>(result);
  if (s.direct_buffer != uring_stream::none) {
    const auto id = std::exchange(s.direct_buffer, uring_stream::none);
    if (result > 0)
      append_chunk(s, id, static_cast<std::uint32_t>(result));
    else
      buffers_.give_back(id);
  } else if (result > 0) {
    const auto n = static_cast<std::size_t>(result);
    s.reader->filled += n;
    if (n < buffers_.size() && s.large_reads > 0) --s.large_reads;
  }
  const bool gone = s.closing && s.in_flight == 1;
  request_ended(s);
  if (gone || s.closing) return;
  if (result <= 0) return receive_ended(s, result);
  bytes_came(s);
}

// --- Lending readers without a buffer.

void uring_transport::wait_for_buffer(uring_stream& s) noexcept {
  if (std::exchange(s.waits_for_buffer, true)) return;
  buffer_queue_.push_back(s);
}

void uring_transport::forget_lending(socket_base& socket) noexcept {
  auto& s = stream_of(socket);
  if (std::exchange(s.waits_for_buffer, false)) buffer_queue_.remove(s);
}

void uring_transport::serve_buffer_queue() noexcept {
  while (!buffer_queue_.empty() && buffers_.spares() + buffers_.offered() != 0) {
    auto& s = *buffer_queue_.pop_front();
    s.waits_for_buffer = false;
    s.starved = true;
    bytes_came(s);
    if (s.waits_for_buffer) return;
  }
}

}  // namespace weir::detail

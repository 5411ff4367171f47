// Reading and writing on a dedicated stack. What the stack has shown is in rx_data and is read
// here; that it was read is told with the shard's next notes. A write is the stack's until it says
// that it is over; one of a socket is with it at a time.
#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "transport/stack/dedicated/dedicated_transport.hpp"
#include "weir/error.hpp"

namespace weir::detail {

// What readers took from rx_data since it was looked at last.
void dedicated_transport::account(socket& s) noexcept {
  const auto taken = s.presented - s.rx_size;
  if (taken == 0) return;
  s.presented = s.rx_size;
  s.consumed += taken;
  request(s, ask::consume);
}

void dedicated_transport::settle(socket_base* spent) noexcept {
  for (auto* s = spent; s != nullptr;) {
    auto* next = s->next_spent;
    account(static_cast<socket&>(*s));
    s = next;
  }
}

// The stack shows more only when all that it had shown before was consumed.
void dedicated_transport::shown(socket& s, const down_note& note) {
  if ((note.bits & tell::data) != 0) {
    assert(s.rx_size == 0);
    s.rx_data = note.bytes;
    s.rx_size = s.presented = note.count;
  }
  if ((note.bits & tell::end) != 0) s.ended = true;
  if ((note.bits & tell::failed) != 0) s.failed = true;
  if (s.reader != nullptr && (note.bits & (tell::data | tell::end | tell::failed)) != 0)
    continue_read(s);
}

// --- Reading.

void dedicated_transport::start_read(read_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  const bool over = op.lend ? try_lend(s, op) : try_read(s, op);
  account(s);
  if (!over) s.reader = &op;
}

void dedicated_transport::continue_read(socket& s) {
  if (s.starved) return;
  auto& op = *std::exchange(s.reader, nullptr);  // before the completion: it waits no longer
  const bool over = op.lend ? try_lend(s, op) : try_read(s, op);
  account(s);
  if (!over) s.reader = &op;
}

/// There is nothing to read now; true when there never will be.
bool dedicated_transport::finish_dry(socket& s, read_operation& op) {
  if (!s.ended && !s.failed) return false;
  op.complete(s.ended ? std::error_code() : s.failure);
  return true;
}

// True when the operation is over.
bool dedicated_transport::try_read(socket& s, read_operation& op) {
  const auto n = std::min<std::size_t>(s.rx_size, op.into.size() - op.filled);
  if (n != 0) {
    std::memcpy(op.into.data() + op.filled, s.rx_data, n);
    s.rx_data += n;
    s.rx_size -= static_cast<std::uint32_t>(n);
    op.filled += n;
  }
  if (op.filled < op.minimum) return finish_dry(s, op);
  op.complete();
  return true;
}

bool dedicated_transport::try_lend(socket& s, read_operation& op) {
  if (s.rx_size == 0) return finish_dry(s, op);
  auto* buffer = lend_.take();
  if (buffer == nullptr) {
    s.starved = true;
    s.next_starved = nullptr;
    (first_starved_ == nullptr ? first_starved_ : last_starved_->next_starved) = &s;
    last_starved_ = &s;
    return false;
  }
  const auto n = std::min<std::size_t>(s.rx_size, lend_pool::buffer_size);
  std::memcpy(buffer, s.rx_data, n);
  s.rx_data += n;
  s.rx_size -= static_cast<std::uint32_t>(n);
  op.lent.data = buffer;
  op.lent.size = static_cast<std::uint32_t>(n);
  op.lent.chunk = buffer;
  op.complete();
  return true;
}

void dedicated_transport::release(lent_bytes& lent) noexcept {
  lend_.give_back(static_cast<std::byte*>(lent.chunk));
  wake_starved();
}

void dedicated_transport::wake_starved() {
  while (first_starved_ != nullptr && lend_.available()) {
    auto* s = first_starved_;
    first_starved_ = s->next_starved;
    if (first_starved_ == nullptr) last_starved_ = nullptr;
    s->starved = false;
    continue_read(*s);
  }
}

void dedicated_transport::cancel_read(read_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  assert(s.reader == &op);
  if (s.starved) {
    socket* before = nullptr;
    for (auto* at = first_starved_; at != &s; at = at->next_starved) before = at;
    (before == nullptr ? first_starved_ : before->next_starved) = s.next_starved;
    if (last_starved_ == &s) last_starved_ = before;
    s.starved = false;
  }
  s.reader = nullptr;
  op.complete(canceled_error());
}

// --- Writing.

void dedicated_transport::start_write(write_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (s.shutdown_wanted) return op.complete(std::make_error_code(std::errc::broken_pipe));
  op.next_writer = nullptr;
  (s.first_writer == nullptr ? s.first_writer : s.last_writer->next_writer) = &op;
  s.last_writer = &op;
  if (s.first_writer == &op) send_next_write(s);
}

/// Gives the first write to the stack, or what comes behind the last one.
void dedicated_transport::send_next_write(socket& s) noexcept {
  if (s.first_writer != nullptr) {
    s.writer = s.first_writer;
    s.asked = true;
    return request(s, ask::write);
  }
  if (!s.fin_waits) return;
  s.fin_waits = false;
  request(s, ask::shutdown);
}

void dedicated_transport::request_over(socket& s, std::error_code outcome) {
  assert(s.asked && s.first_writer != nullptr);
  s.asked = false;
  s.asks &= static_cast<std::uint16_t>(~ask::cancel);
  auto* op = s.first_writer;
  s.first_writer = op->next_writer;
  if (s.first_writer == nullptr) s.last_writer = nullptr;
  send_next_write(s);
  op->complete(outcome);
}

void dedicated_transport::cancel_write(write_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  if (s.first_writer == &op && (s.asks & ask::write) == 0) return request(s, ask::cancel);
  // The stack has not heard of it.
  write_operation* before = nullptr;
  for (auto* at = s.first_writer; at != &op; at = at->next_writer) before = at;
  (before == nullptr ? s.first_writer : before->next_writer) = op.next_writer;
  if (s.last_writer == &op) s.last_writer = before;
  if (before == nullptr) {
    s.asked = false;
    s.asks &= static_cast<std::uint16_t>(~ask::write);
    send_next_write(s);
  }
  op.complete(canceled_error());
}

// The FIN goes after what is written already, also where that is still with the stack.
std::error_code dedicated_transport::shutdown_send(socket_base& socket_of_stream) noexcept {
  auto& s = static_cast<socket&>(socket_of_stream);
  if (s.shutdown_wanted) return {};
  if (s.failed) return s.failure;
  s.shutdown_wanted = true;
  s.fin_waits = s.first_writer != nullptr;
  if (!s.fin_waits) request(s, ask::shutdown);
  return {};
}

}  // namespace weir::detail

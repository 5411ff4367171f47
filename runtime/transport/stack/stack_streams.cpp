// Reading and writing on the stack transport. What is queued and nobody waits for is presented in
// rx_data, so that the next read takes it without a call; what was taken that way is told to the
// stack when the shard settles.
#include <algorithm>
#include <cassert>

#include "transport/stack/stack_socket.hpp"
#include "transport/stack/stack_write.hpp"
#include "weir/error.hpp"

namespace weir::detail {

// Tells the stack what readers took from rx_data, and hides the rest: the bytes stay in the stack's
// queue.
void stack_transport::forget_presented(socket& s) {
  auto taken = s.presented - s.rx_size;
  s.rx_data = nullptr;
  s.rx_size = s.presented = 0;
  if (taken != 0) host_.consume(now_, s.id, taken);
}

// Shows the head of the receive queue to the next reader.
void stack_transport::present(socket& s) {
  forget_presented(s);
  auto chunk = host_.peek(s.id);
  s.rx_data = chunk.data();
  s.rx_size = s.presented =
      static_cast<std::uint32_t>(std::min<std::size_t>(chunk.size(), UINT32_MAX));
}

void stack_transport::settle(socket_base* spent) noexcept {
  clock();
  for (auto* s = spent; s != nullptr;) {
    auto* next = s->next_spent;
    present(static_cast<socket&>(*s));
    s = next;
  }
}

// --- Reading.

void stack_transport::start_read(read_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  clock();
  forget_presented(s);
  if (op.lend ? try_lend(s, op) : try_read(s, op)) return present(s);
  if (device_error_) return op.complete(device_error_);
  s.reader = &op;
}

void stack_transport::continue_read(socket& s) {
  auto& op = *s.reader;
  if (s.starved) return;
  s.reader = nullptr;  // before the completion: who completes is no longer waiting
  if (op.lend ? try_lend(s, op) : try_read(s, op)) return present(s);
  s.reader = &op;
}

// True when the operation is over.
bool stack_transport::try_read(socket& s, read_operation& op) {
  while (op.filled < op.minimum) {
    auto n = host_.receive(now_, s.id, op.into.subspan(op.filled));
    if (!n) {
      if (n.error() == std::errc::operation_would_block) return false;
      op.complete(n.error());
      return true;
    }
    if (*n == 0) break;  // end of stream
    op.filled += *n;
  }
  op.complete();
  return true;
}

bool stack_transport::try_lend(socket& s, read_operation& op) {
  auto* buffer = lend_.take();
  if (buffer == nullptr) {
    s.starved = true;
    s.next_starved = nullptr;
    (first_starved_ == nullptr ? first_starved_ : last_starved_->next_starved) = &s;
    last_starved_ = &s;
    return false;
  }
  auto n = host_.receive(now_, s.id, {buffer, lend_pool::buffer_size});
  if (n && *n != 0) {
    op.lent.data = buffer;
    op.lent.size = static_cast<std::uint32_t>(*n);
    op.lent.chunk = buffer;
    op.complete();
    return true;
  }
  lend_.give_back(buffer);
  if (!n && n.error() == std::errc::operation_would_block) return false;
  op.complete(n ? std::error_code() : n.error());
  return true;
}

void stack_transport::release(lent_bytes& lent) noexcept {
  lend_.give_back(static_cast<std::byte*>(lent.chunk));
  wake_starved();
}

// One buffer came back. Who is woken may find that it needs none (the connection ended): then the
// next one has it.
void stack_transport::wake_starved() {
  clock();
  while (first_starved_ != nullptr && lend_.available()) {
    auto* s = first_starved_;
    first_starved_ = s->next_starved;
    if (first_starved_ == nullptr) last_starved_ = nullptr;
    s->starved = false;
    continue_read(*s);
  }
}

void stack_transport::cancel_read(read_operation& op) noexcept {
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
  present(s);
}

// --- Writing.

void stack_transport::start_write(write_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  clock();
  begin_write(op);
  if (device_error_) return op.complete(device_error_);
  if (s.shutdown_wanted) return op.complete(std::make_error_code(std::errc::broken_pipe));
  if (s.first_writer == nullptr && try_write(s, op)) return;
  op.next_writer = nullptr;
  (s.first_writer == nullptr ? s.first_writer : s.last_writer->next_writer) = &op;
  s.last_writer = &op;
}

void stack_transport::pump_writers(socket& s) {
  while (auto* op = s.first_writer) {
    auto* next = op->next_writer;  // before it completes: its frame may not outlive that for long
    if (!try_write(s, *op)) return;
    s.first_writer = next;
    if (next == nullptr) s.last_writer = nullptr;
  }
  send_late_fin(s);
}

void stack_transport::send_late_fin(socket& s) {
  if (!s.fin_waits || s.first_writer != nullptr) return;
  s.fin_waits = false;
  // An error means that the connection is over, which its reader hears of.
  [[maybe_unused]] auto over = host_.shutdown_send(now_, s.id);
}

// True when the operation is over.
bool stack_transport::try_write(socket& s, write_operation& op) {
  const auto outcome = write_more(host_, now_, s.id, op);
  if (outcome == std::errc::operation_would_block) return false;
  op.complete(outcome);
  return true;
}

void stack_transport::cancel_write(write_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  write_operation* before = nullptr;
  for (auto* at = s.first_writer; at != &op; at = at->next_writer) before = at;
  (before == nullptr ? s.first_writer : before->next_writer) = op.next_writer;
  if (s.last_writer == &op) s.last_writer = before;
  op.complete(canceled_error());
  // What waits behind it needs no help: there is no room, and the stack will say when there is.
  clock();
  send_late_fin(s);
}

std::error_code stack_transport::shutdown_send(socket_base& socket_of_stream) noexcept {
  auto& s = static_cast<socket&>(socket_of_stream);
  if (s.shutdown_wanted) return {};
  // The FIN goes after what is written already, also where that still waits for room.
  s.fin_waits = s.first_writer != nullptr;
  if (!s.fin_waits) {
    if (auto error = host_.shutdown_send(clock(), s.id)) return error;
  }
  s.shutdown_wanted = true;
  return {};
}

}  // namespace weir::detail

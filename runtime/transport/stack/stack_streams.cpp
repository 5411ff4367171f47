// Reading and writing on the stack transport. What is queued and nobody waits for is presented in
// rx_data, so that the next read takes it without a call; what was taken that way is told to the
// stack when the shard settles.
#include <algorithm>
#include <cassert>

#include "transport/stack/stack_socket.hpp"
#include "transport/stack/stack_write.hpp"
#include "weir/detail/net_awaiters.hpp"
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

// Lends the receive queue's own chunk; the window opens when it is released.
bool stack_transport::try_lend(socket& s, read_operation& op) {
  auto lent = host_.lend(now_, s.id);
  if (!lent && lent.error() == std::errc::operation_would_block) return false;
  if (lent) {
    op.lent = {lent->data, lent->size, lent->token, lent->chunk};
    op.filled = lent->size;
  }
  op.complete(lent ? std::error_code() : lent.error());
  return true;
}

void stack_transport::release(lent_bytes& lent) noexcept {
  host_.release(clock(), {lent.data, lent.size, lent.token, lent.chunk});
}

void stack_transport::cancel_read(read_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  assert(s.reader == &op);
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
  if (op.owned) return try_write_owned(s, static_cast<owned_write_operation&>(op));
  const auto outcome = write_more(host_, now_, s.id, op);
  if (outcome == std::errc::operation_would_block) return false;
  op.complete(outcome);
  return true;
}

// The same without a copy. Where the host has no memory to note it, it is copied like any other.
bool stack_transport::try_write_owned(socket& s, owned_write_operation& op) {
  auto& buffer = op.buffer;
  if (buffer.lent().data == nullptr && buffer.release_with() != nullptr) {
    auto kept = host_.keep(buffer.bytes(), buffer.release_with(), buffer.context());
    if (kept) buffer.entrust(*shard_, {kept->data, kept->size, kept->token, kept->chunk});
  }
  const auto& lent = buffer.lent();
  assert(lent.data == nullptr || buffer.owner() == shard_);
  while (op.written < op.single.size()) {
    const auto rest = op.single.subspan(op.written);
    auto n =
        lent.data == nullptr
            ? host_.send(now_, s.id, std::span(&rest, 1))
            : host_.send_lent(now_, s.id, {lent.data, lent.size, lent.token, lent.chunk}, rest);
    if (!n && n.error() == std::errc::operation_would_block) return false;
    if (!n) {
      op.complete(n.error());
      return true;
    }
    op.written += *n;
  }
  op.complete();
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

// Reading and writing on the stack transport. What is queued is presented in rx_data, so that a
// read takes it without a call; what was taken that way is told to the stack when the socket is
// settled.
#include <algorithm>
#include <cassert>

#include "runtime/transport/stack/stack_calls.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "weir/detail/net_awaiters.hpp"
#include "weir/error.hpp"

namespace weir::detail {

// Tells the stack what readers took from rx_data, and hides the rest: the bytes stay in the stack's
// queue.
void stack_transport::forget_presented(stream& s) noexcept {
  const auto taken = s.presented - s.rx_size;
  s.rx_data = nullptr;
  s.rx_size = s.presented = 0;
  if (taken != 0) host_.consume(now_, s.id, taken);
}

// Shows the head of the receive queue to the next reader, and behind the last byte the end.
void stack_transport::settle(socket_base& socket) noexcept {
  auto& s = static_cast<stream&>(socket);
  clock();
  forget_presented(s);
  // A read that waits is served out of the packet that has just come: handle() sees to what it
  // leaves.
  const bool waits = s.reader != nullptr && !s.reader->lend;
  const auto chunk = waits ? host_.peek_held(s.id) : host_.peek(s.id);
  s.rx_data = chunk.data();
  s.rx_size = s.presented =
      static_cast<std::uint32_t>(std::min<std::size_t>(chunk.size(), UINT32_MAX));
  if (s.rx_size != 0 || s.received_all) return;
  if (host_.at_end(s.id))
    note_end(s);
  else if (const auto why = device_error_ ? device_error_ : host_.error(s.id))
    note_end(s, why);
}

// --- Reading.

void stack_transport::bring_in(socket_base&) {}  // events tell what came

// The receive queue's own chunk; the window opens when it is released.
bool stack_transport::lend(socket_base& socket, lent_bytes& lent) {
  auto& s = static_cast<stream&>(socket);
  clock();
  forget_presented(s);
  auto chunk = host_.lend(now_, s.id);
  if (chunk) {
    lent = {chunk->data, chunk->size, chunk->token, chunk->chunk};
    lent_marks_.lent(*chunk);
  }
  if (!chunk && chunk.error() != std::errc::operation_would_block)
    receiving_over(s, chunk.error());
  else
    settle(s);
  return chunk.has_value();
}

void stack_transport::release(lent_bytes& lent) noexcept {
  lent_marks_.released(lent.data);
  host_.release(clock(), {lent.data, lent.size, lent.token, lent.chunk});
}

// --- Writing.

void stack_transport::take_out(socket_base& socket) {
  auto& s = static_cast<stream&>(socket);
  clock();
  while (auto* op = s.writers.front()) {
    const auto outcome =
        op->owned ? write_owned(s, static_cast<owned_write_operation&>(*op)) : write_plain(s, *op);
    if (outcome == std::errc::operation_would_block) return;
    if (outcome) return sending_failed(s, outcome);
    sent(s, 0);
  }
}

std::error_code stack_transport::write_plain(stream& s, write_operation& op) {
  const auto* lent = op.all && !op.gathered ? lent_marks_.find(op.single) : nullptr;
  return lent != nullptr ? write_lent(s, *lent, op) : write_more(host_, now_, s.id, op);
}

std::error_code stack_transport::write_lent(stream& s, const stack::lent_chunk& from,
                                            write_operation& op) {
  while (!op.carried_out()) {
    auto n = host_.send_lent(now_, s.id, from, op.single.subspan(op.written), op.more);
    if (!n) return n.error();
    op.advance(*n);
  }
  return {};
}

// The same without a copy. Where the host has no memory to note it, and where the buffer was lent
// by somebody else, it is copied like any other.
std::error_code stack_transport::write_owned(stream& s, owned_write_operation& op) {
  auto& buffer = op.buffer;
  if (buffer.lent().data == nullptr && buffer.release_with() != nullptr) {
    auto kept = host_.keep(buffer.bytes(), buffer.release_with(), buffer.context());
    if (kept) buffer.entrust(*this, {kept->data, kept->size, kept->token, kept->chunk});
  }
  const auto& lent = buffer.lent();
  if (lent.data == nullptr || buffer.home() != this) return write_more(host_, now_, s.id, op);
  return write_lent(s, {lent.data, lent.size, lent.token, lent.chunk}, op);
}

std::error_code stack_transport::stop_receiving(socket_base& socket) noexcept {
  auto& s = static_cast<stream&>(socket);
  clock();
  forget_presented(s);  // the stack drops it itself
  return host_.shutdown_receive(now_, s.id);
}

std::error_code stack_transport::send_fin(socket_base& socket) noexcept {
  return host_.shutdown_send(clock(), static_cast<stream&>(socket).id);
}

}  // namespace weir::detail

// Reading and writing on a dedicated stack. What the stack has shown is in rx_data and is read
// here; that it was read is told with the shard's next notes. A write is the stack's until it says
// that it is over; one of a socket is with it at a time.
#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "runtime/transport/stack/dedicated/dedicated_transport.hpp"
#include "weir/error.hpp"

namespace weir::detail {

// --- Reading.

// What readers took from rx_data since it was looked at last.
void dedicated_transport::account(socket& s) noexcept {
  const auto taken = s.presented - s.rx_size;
  if (taken == 0) return;
  s.presented = s.rx_size;
  s.consumed += taken;
  request(s, ask::consume);
}

void dedicated_transport::settle(socket_base& s) noexcept { account(static_cast<socket&>(s)); }

// The stack shows more only when all that it had shown before was consumed.
void dedicated_transport::shown(socket& s, const down_note& note) {
  if ((note.bits & tell::data) != 0) {
    assert(s.rx_size == 0);
    s.rx_data = note.bytes;
    s.rx_size = s.presented = note.count;
  }
  if ((note.bits & tell::peer_over) != 0) s.peer_over = true;
  if ((note.bits & tell::end) != 0) note_end(s);
  if ((note.bits & tell::failed) != 0) note_end(s, s.ended_by);
  if ((note.bits & (tell::peer_over | tell::end | tell::failed)) != 0) look_for_end(s);
  if ((note.bits & (tell::data | tell::end | tell::failed)) != 0) bytes_came(s);
}

bool dedicated_transport::lend(socket_base& socket_of_stream, lent_bytes& lent) {
  auto& s = static_cast<socket&>(socket_of_stream);
  const auto buffer = lending_.take(s);
  if (buffer.empty()) return false;
  const auto n = std::min<std::size_t>(s.rx_size, buffer.size());
  std::memcpy(buffer.data(), s.rx_data, n);
  s.rx_data += n;
  s.rx_size -= static_cast<std::uint32_t>(n);
  account(s);
  lent = {buffer.data(), static_cast<std::uint32_t>(n), 0, buffer.data()};
  return true;
}

void dedicated_transport::forget_lending(socket_base& s) noexcept {
  lending_.forget(static_cast<socket&>(s));
}

void dedicated_transport::release(lent_bytes& lent) noexcept {
  lending_.give_back(lent.chunk);
  while (auto* s = lending_.next_waiting()) bytes_came(*s);
}

// --- Writing.

/// Gives the first write to the stack.
void dedicated_transport::take_out(socket_base& socket_of_stream) {
  auto& s = static_cast<socket&>(socket_of_stream);
  s.writer = s.writers.front();
  s.asked = true;
  request(s, ask::write);
}

bool dedicated_transport::writing_elsewhere(socket_base& socket_of_stream,
                                            const write_operation& op) noexcept {
  auto& s = static_cast<socket&>(socket_of_stream);
  if (&op != s.writers.front() || !s.asked) return false;
  if ((s.asks & ask::write) == 0) {
    request(s, ask::cancel);
    return true;
  }
  // The stack has not heard of it.
  s.asked = false;
  s.asks &= static_cast<std::uint16_t>(~ask::write);
  return false;
}

void dedicated_transport::write_over(socket& s, std::error_code outcome) {
  assert(s.asked && !s.writers.empty());
  s.asked = false;
  s.asks &= static_cast<std::uint16_t>(~ask::cancel);
  if (outcome && outcome != std::errc::operation_canceled) return sending_failed(s, outcome);
  sent(s, 0);
  writes_released(s);
}

std::error_code dedicated_transport::stop_receiving(socket_base& s) noexcept {
  request(static_cast<socket&>(s), ask::drop);
  return {};
}

// Behind the writes, which are over: the stack carries notes out in the order of asking.
std::error_code dedicated_transport::send_fin(socket_base& s) noexcept {
  request(static_cast<socket&>(s), ask::shutdown);
  return {};
}

}  // namespace weir::detail

// Reads, writes and ends of streams, as on every back end.
#include "runtime/core/sockets/stream_core.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "runtime/core/flight_recorder.hpp"
#include "stack/base/probes.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

namespace {
/// Marks a failure that is not an errno value but a weir::error.
constexpr std::uint16_t own_failure = 0x8000;

// Of each echo: a call would cost more than the probe.
[[gnu::always_inline]] inline void end_read(read_operation& op, std::error_code outcome) noexcept {
  probe::read(op.owner().index(), op.socket, op.filled, outcome.value());
  op.complete(outcome);
}
[[gnu::always_inline]] inline void end_write(write_operation& op,
                                             std::error_code outcome) noexcept {
  probe::write(op.owner().index(), op.socket, op.written, outcome.value());
  op.complete(outcome);
}
}  // namespace

std::error_code stream_core::failure_of(const socket_base& s) {
  if ((s.failure & own_failure) != 0) return {s.failure & ~own_failure, error_category()};
  return {s.failure, std::generic_category()};
}

void stream_core::pass_on(socket_base& from, socket_base& to) noexcept {
  to.rx_data = from.rx_data;
  to.rx_size = std::exchange(from.rx_size, 0u);
  to.failure = from.failure;
  to.received_all = from.received_all;
  to.clean_end = from.clean_end;
  to.send_closed = from.send_closed;
  to.receive_shut = from.receive_shut;
}

/// The first reason stays.
void stream_core::note_failure(socket_base& s, std::error_code why) noexcept {
  if (s.failure != 0 || !why) return;
  const auto mark = why.category() == error_category() ? own_failure : std::uint16_t{0};
  s.failure = static_cast<std::uint16_t>(why.value() | mark);
  const auto& on = s.at->owner();
  if (!on.recorder()) return;
  flight_event event{.at = on.now(), .about = &s, .peer = s.at->remote_endpoint(s)};
  event.what = flight_event::kind::broke;
  event.set_error(why);
  on.recorder()->add(event);
}

// --- Reading.

void stream_core::start_read(read_operation& op) {
  auto& s = *op.socket;
  s.reader = &op;
  if (s.rx_size == 0) settle(s);  // read to its end in this turn: what comes next is shown
  if (!finish_read(s)) bring_in(s);
}

/// Gives the waiting read what there is; true when that ends it.
bool stream_core::finish_read(socket_base& s) {
  auto& op = *s.reader;
  bool done = op.filled != 0 && op.filled >= op.minimum();  // straight into its memory
  if (op.lend) {
    if (s.rx_size != 0) {
      if (!lend(s, op.lent)) return s.reader == nullptr;
      op.filled = op.lent.size;
      done = true;
    }
  } else {
    while (s.rx_size != 0 && op.filled < op.into().size()) {
      const auto n = std::min<std::size_t>(s.rx_size, op.into().size() - op.filled);
      std::memcpy(op.into().data() + op.filled, s.rx_data, n);
      s.rx_data += n;
      s.rx_size -= static_cast<std::uint32_t>(n);
      op.filled += n;
      settle(s);  // gives back what was emptied while it is hot, and shows what comes next
    }
    done = op.filled != 0 && op.filled >= op.minimum();
  }
  std::error_code error;
  if (!done && s.rx_size == 0 && s.received_all) {
    done = true;
    if (!s.clean_end) error = failure_of(s);
  }
  if (!done) return false;
  assert(!reading_elsewhere(s, false));
  s.reader = nullptr;
  end_read(op, error);
  return true;
}

void stream_core::bytes_came(socket_base& s) {
  if (s.receive_shut) drop_received(s);
  if (s.reader == nullptr || reading_elsewhere(s, false) || finish_read(s)) return;
  if (!s.reader->asked_to_end()) return bring_in(s);
  end_read(*std::exchange(s.reader, nullptr), canceled_error());
}

void stream_core::note_end(socket_base& s, std::error_code why) noexcept {
  note_failure(s, why);
  if (!s.received_all) {
    s.received_all = true;
    // After a failure that a write reported, what looks like the end is the failure's.
    s.clean_end = s.failure == 0;
  }
}

void stream_core::cancel_read(read_operation& op) noexcept {
  auto& s = *op.socket;
  assert(s.reader == &op);
  if (reading_elsewhere(s, true)) return;
  forget_lending(s);
  s.reader = nullptr;
  end_read(op, canceled_error());
}

/// Also what waits behind a chunk that was read to its end in this turn.
void stream_core::drop_received(socket_base& s) {
  do {
    s.rx_data += std::exchange(s.rx_size, 0u);
    settle(s);
  } while (s.rx_size != 0);
}

std::error_code stream_core::shutdown_receive(socket_base& s) noexcept {
  const auto ended = std::make_error_code(std::errc::not_connected);
  if (s.failure != 0) return ended;
  if (s.receive_shut) return {};
  if (const auto error = stop_receiving(s))
    return error == std::errc::operation_not_supported ? error : ended;
  s.receive_shut = true;
  note_end(s);
  bytes_came(s);
  return {};
}

// --- The peer's end.

std::optional<std::error_code> stream_core::known_end(const socket_base& s) const noexcept {
  if (s.failure != 0) return failure_of(s);
  if (s.received_all) return std::error_code();
  return peer_end(s);
}

void stream_core::start_peer_end(peer_end_operation& op) {
  auto& s = *op.socket;
  auto known = known_end(s);
  if (!known) {
    if (const auto error = watch_end(s)) return op.complete(error);
    known = peer_end(s);  // it came while this was asked
  }
  if (known) {
    if (!s.end_awaited) unwatch_end(s);
    op.why = *known;
    return op.complete();
  }
  s.end_awaited = true;
  end_waiters_.push_back(op);
}

void stream_core::tell_end(socket_base& s) {
  const auto known = known_end(s);
  const auto failed = known ? std::error_code() : watch_end(s);
  if (!known && !failed) return;
  s.end_awaited = false;
  unwatch_end(s);
  for (auto left = end_waiters_.size(); left > 0; --left) {
    auto& op = *end_waiters_.pop_front();
    if (op.socket != &s) {
      end_waiters_.push_back(op);
      continue;
    }
    op.why = known.value_or(std::error_code());
    op.complete(failed);
  }
}

void stream_core::cancel_peer_end(peer_end_operation& op) noexcept {
  auto& s = *op.socket;
  end_waiters_.remove(op);
  bool others = false;
  for (const auto* one = end_waiters_.front(); one != nullptr; one = end_waiters_.after(*one))
    others = others || one->socket == &s;
  if (!others) {
    s.end_awaited = false;
    unwatch_end(s);
  }
  op.complete(canceled_error());
}

// --- Writing.

void stream_core::start_write(write_operation& op) {
  auto& s = *op.socket;
  if (s.send_closed) return op.complete(std::make_error_code(std::errc::broken_pipe));
  if (s.failure != 0) return op.complete(failure_of(s));
  op.advance(0);
  const bool first = s.writers.empty();
  s.writers.push_back(op);
  if (first) take_out(s);
}

stream_core::gathered stream_core::gather(const socket_base& s,
                                          std::span<std::span<const std::byte>> into) {
  gathered out;
  for (auto* op = s.writers.front(); op != nullptr; op = s.writers.after(*op)) {
    if (out.writes != 0 && (!op->all || op->passes_descriptors)) break;
    const auto parts = op->parts();
    std::size_t i = op->part;
    for (auto offset = op->part_offset; i < parts.size() && out.parts < into.size(); ++i) {
      const auto part = parts[i].subspan(std::exchange(offset, 0u));
      if (part.empty()) continue;
      into[out.parts++] = part;
      out.bytes += part.size();
    }
    ++out.writes;
    out.more = op->more;
    if (i < parts.size() || !op->all || op->passes_descriptors) break;
  }
  return out;
}

void stream_core::pop_writer(socket_base& s, std::error_code outcome) noexcept {
  end_write(*s.writers.pop_front(), outcome);
}

void stream_core::sent(socket_base& s, std::size_t n) {
  while (auto* op = s.writers.front()) {
    n = op->advance(n);
    if (!op->carried_out() && (op->all || op->written == 0)) return;
    pop_writer(s, {});
    if (n == 0) break;
  }
  after_writes(s);
}

/// The half-close that waited for the writes.
void stream_core::after_writes(socket_base& s) noexcept {
  if (!s.writers.empty() || !s.fin_waits) return;
  s.fin_waits = false;
  // An error means that the connection is over, which its reader hears of.
  (void)send_fin(s);
}

void stream_core::writes_released(socket_base& s) {
  for (auto* op = s.writers.front(); op != nullptr;) {
    auto* next = s.writers.after(*op);
    if (op->asked_to_end()) {
      s.writers.remove(*op);
      end_write(*op, canceled_error());
    }
    op = next;
  }
  if (s.writers.empty()) return after_writes(s);
  take_out(s);
}

void stream_core::sending_failed(socket_base& s, std::error_code why) {
  // The kernel says EPIPE for a reset that came after the peer's end, and where another operation
  // was told the reason already.
  if (why == std::errc::broken_pipe && !s.send_closed)
    why = std::make_error_code(std::errc::connection_reset);
  if (why != std::errc::broken_pipe) note_failure(s, why);
  if (s.failure != 0) why = failure_of(s);
  s.fin_waits = false;
  while (!s.writers.empty()) pop_writer(s, why);
}

void stream_core::fail(socket_base& s, std::error_code why) {
  receiving_over(s, why);
  sending_failed(s, why);
}

/// What was written before goes before, and what may not be written is for a write to say.
std::size_t stream_core::send_from_file(socket_base& s, const file_range& range) noexcept {
  if (!s.writers.empty() || s.send_closed || s.failure != 0) return 0;
  const auto n = take_from_file(s, range);
  owner().spend_budget_on(n);
  return n;
}

void stream_core::cancel_write(write_operation& op) noexcept {
  auto& s = *op.socket;
  if (writing_elsewhere(s, op)) return;
  const bool was_first = s.writers.front() == &op;
  s.writers.remove(op);
  end_write(op, canceled_error());
  if (s.writers.empty())
    after_writes(s);
  else if (was_first)
    take_out(s);  // what waits behind it may have been waiting for no more than its turn
}

std::error_code stream_core::shutdown_send(socket_base& s) noexcept {
  if (s.failure != 0) return std::make_error_code(std::errc::not_connected);
  if (s.send_closed) return {};
  if (!s.writers.empty()) {
    s.send_closed = s.fin_waits = true;
    return {};
  }
  if (send_fin(s)) return std::make_error_code(std::errc::not_connected);
  s.send_closed = true;
  return {};
}

}  // namespace weir::detail

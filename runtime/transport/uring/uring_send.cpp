// Sending. Two sends of one socket in the kernel's hands would interleave their bytes, so there is
// one at a time; the writes that come meanwhile queue, and leave together in one gathered send. A
// short send goes on where it stopped. The kernel's answer decides what a cancelled write reports:
// what went, went.
//
// Without MSG_WAITALL: where the socket takes a part and then fails, the kernel would report the
// part and keep the reason to itself.
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "runtime/transport/uring/uring_transport.hpp"
#include "stack/base/parts.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

namespace {

uring_stream& stream_of(socket_base& s) { return static_cast<uring_stream&>(s); }

}  // namespace

/// A request costs less than a call, but its answer comes a turn later, and a turn reads a great
/// deal: who writes again and again without reading between, as a fan-out does, would fall behind
/// its readers. So a write that begins in the turn in which the last one was over, and what a
/// request had no room for, is tried at once.
void uring_transport::take_out(socket_base& socket) {
  auto& s = stream_of(socket);
  if (s.in_send != 0) return;
  if (s.wrote_in == owner().counters().turns && !s.spent_noted && send_at_once(s)) return;
  submit_send(s);
}

/// By send(2), as much as the socket takes. True: that was all.
bool uring_transport::send_at_once(uring_stream& s) noexcept {
  stack::part_room<send_batch::most_parts> parts;
  send_batch batch;
  while (!s.writers.empty()) {
    const auto some = gather(s, parts.from(0));
    batch.fill(parts.first(some.parts));
    driver_.count_system_calls();
    ++counters_.prompt_sends;
    if (some.writes > 1) ++counters_.coalesced_sends;
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (some.more ? MSG_MORE : 0);
    const auto n = ::sendmsg(s.fd, &batch.header, flags);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0) {
      sending_failed(s, kernel::last_error());
      break;
    }
    counters_.bytes_sent += static_cast<std::size_t>(n);
    owner().spend_budget_on(static_cast<std::size_t>(n));
    sent(s, static_cast<std::size_t>(n));
    if (static_cast<std::size_t>(n) < some.bytes) return s.writers.empty();
  }
  s.wrote_in = owner().counters().turns;
  return true;
}

void uring_transport::submit_send(uring_stream& s) noexcept {
  constexpr std::size_t most = std::size_t{1} << 30;
  stack::part_room<send_batch::most_parts> parts;
  const auto some = gather(s, parts.from(0));
  s.in_send = some.writes;
  s.asked_to_send = some.bytes;
  ++counters_.sends;
  if (some.writes > 1) ++counters_.coalesced_sends;
  auto& entry = driver_.sqe();
  entry.fd = s.fd;
  entry.msg_flags = MSG_NOSIGNAL | (some.more ? MSG_MORE : 0);
  entry.user_data = s.user_data(send_tag);
  ++s.in_flight;
  if (some.parts == 1) {
    entry.opcode = IORING_OP_SEND;
    entry.addr = reinterpret_cast<std::uint64_t>(parts[0].data());
    entry.len = static_cast<std::uint32_t>(std::min(parts[0].size(), most));
    return;
  }
  if (free_batches_.empty())
    free_batches_.push_back(*batches_.emplace_back(std::make_unique<send_batch>()));
  s.batch = free_batches_.pop_front();
  s.batch->fill(parts.first(some.parts));
  entry.opcode = IORING_OP_SENDMSG;
  entry.addr = reinterpret_cast<std::uint64_t>(&s.batch->header);
  entry.len = 1;
}

std::size_t uring_transport::take_from_file(socket_base& socket, const file_range& range) noexcept {
  const auto done = kernel::send_resident(stream_of(socket).fd, kernel::mode::blocking, range);
  driver_.count_system_calls(done.calls);
  counters_.count_from_file(done.bytes);
  return done.bytes;
}

void uring_transport::on_send(uring_stream& s, std::int32_t result) noexcept {
  const bool took_all = result > 0 && static_cast<std::size_t>(result) == s.asked_to_send;
  s.in_send = 0;
  s.send_canceled = false;
  if (s.batch != nullptr) free_batches_.push_front(*std::exchange(s.batch, nullptr));
  if (result > 0) counters_.bytes_sent += static_cast<std::size_t>(result);
  if (result > 0)
    sent(s, static_cast<std::size_t>(result));
  else if (result == 0)
    sending_failed(s, std::make_error_code(std::errc::broken_pipe));
  else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN)
    sending_failed(s, kernel::error_from(-result));
  // The answer is seen in the coming turn: who writes again then is tried at once, and so is what
  // had no room in this request.
  const auto now = owner().counters().turns;
  s.wrote_in = took_all && !s.writers.empty() ? now : now + 1;
  if (!s.closing) writes_released(s);
  if (s.writers.empty()) s.wrote_in = now + 1;
  request_ended(s);
}

bool uring_transport::writing_elsewhere(socket_base& socket, const write_operation& op) noexcept {
  auto& s = stream_of(socket);
  std::uint32_t place = 0;
  for (auto* each = s.writers.front(); each != &op; each = s.writers.after(*each)) ++place;
  if (place >= s.in_send) return false;
  if (!std::exchange(s.send_canceled, true)) driver_.cancel(s.user_data(send_tag));
  return true;
}

}  // namespace weir::detail

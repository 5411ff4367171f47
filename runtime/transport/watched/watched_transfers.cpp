// Reading and writing, and the descriptors that travel with bytes.
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "runtime/transport/watched/passed_descriptors.hpp"
#include "runtime/transport/watched/watched_transport.hpp"
#include "stack/base/parts.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

namespace {
watched_stream& stream_of(socket_base& s) { return static_cast<watched_stream&>(s); }

bool is_ready(int fd, short events) {
  pollfd asked{fd, events, 0};
  return ::poll(&asked, 1, 0) == 1;
}
}  // namespace

// --- Reading.

void watched_transport::bring_in(socket_base& base) {
  auto& s = stream_of(base);
  auto& op = *s.reader;
  if (s.waits_for_buffer) return;
  do {
    if (!s.maybe_readable) return s.waits->want_readable();
    const auto room = op.lend ? lending_.take(s) : op.into().subspan(op.filled);
    if (room.empty()) return;  // no buffer is left to lend
    const auto n = receive_from(s, room);
    const int error = n < 0 ? errno : 0;
    if (n > 0) {
      op.filled += static_cast<std::size_t>(n);
      owner().spend_budget_on(static_cast<std::size_t>(n));
    }
    if (op.lend && n > 0)
      op.lent = {room.data(), static_cast<std::uint32_t>(n), 0, room.data()};
    else if (op.lend)
      lending_.give_back(room.data());
    if (error == EINTR) continue;
    // Bytes with descriptors end a read, full or not; more may be behind them.
    s.maybe_readable = n == static_cast<ssize_t>(room.size()) || s.passed.expected() != 0;
    if (error == EAGAIN) s.maybe_readable = false;
    if (n <= 0 && error != EAGAIN)
      return receiving_over(s, error == 0 ? std::error_code() : kernel::error_from(error));
  } while (op.filled < op.minimum());
  bytes_came(s);
}

ssize_t watched_transport::receive_from(watched_stream& s, std::span<std::byte> room) {
  if (s.of == watched_stream::kind::polled && !is_ready(s.fd.get(), POLLIN)) {
    errno = EAGAIN;
    return -1;
  }
  if (s.of != watched_stream::kind::socket) return ::read(s.fd.get(), room.data(), room.size());
  if (s.passed.expected() == 0) return ::recv(s.fd.get(), room.data(), room.size(), MSG_DONTWAIT);
  control_room control;
  iovec part{room.data(), room.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof control.bytes;
  const auto n = ::recvmsg(s.fd.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n >= 0) s.passed.keep(header);
  return n;
}

void watched_transport::expect_descriptors(socket_base& base, std::size_t most) {
  stream_of(base).passed.expect(most);
}

std::vector<unique_fd> watched_transport::take_descriptors(socket_base& base) {
  return stream_of(base).passed.take();
}

void watched_transport::stream_readable(watched_stream& s) {
  s.maybe_readable = true;
  if (s.reader != nullptr) bytes_came(s);
}

void watched_transport::forget_lending(socket_base& s) noexcept { lending_.forget(stream_of(s)); }

void watched_transport::release(lent_bytes& lent) noexcept {
  lending_.give_back(lent.chunk);
  while (auto* s = lending_.next_waiting()) bytes_came(*s);
}

// --- Writing.

void watched_transport::take_out(socket_base& base) {
  constexpr std::size_t parts_per_call = 64;
  auto& s = stream_of(base);
  stack::part_room<parts_per_call> parts;
  std::array<iovec, parts_per_call> vectors;
  while (!s.writers.empty()) {
    const auto some = gather(s, parts.from(0));
    for (std::size_t i = 0; i < some.parts; ++i)
      vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
    control_room control;
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = some.parts;
    const auto& first = *s.writers.front();
    if (first.passes_descriptors && first.written == 0)
      pass(static_cast<const descriptor_write_operation&>(first).descriptors, control, message);
    const auto n = send_to(s, message);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return s.waits->want_writable();
    if (n < 0 && (errno == EBADF || errno == ETOOMANYREFS) && first.passes_descriptors) {
      // What was to be passed is at fault, not the stream.
      const auto why = kernel::last_error();
      s.writers.pop_front()->complete(why);
      return writes_released(s);
    }
    if (n < 0) return sending_failed(s, kernel::last_error());
    owner().spend_budget_on(static_cast<std::size_t>(n));
    sent(s, static_cast<std::size_t>(n));
    if (static_cast<std::size_t>(n) < some.bytes && !s.writers.empty())
      return s.waits->want_writable();
  }
}

std::size_t watched_transport::take_from_file(socket_base& s, const file_range& range) noexcept {
  return kernel::send_resident(stream_of(s).fd.get(), kernel::mode::non_blocking, range).bytes;
}

ssize_t watched_transport::send_to(watched_stream& s, msghdr& message) {
  switch (s.of) {
    case watched_stream::kind::socket:
      return ::sendmsg(s.fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    case watched_stream::kind::pipe:
      return ::writev(s.fd.get(), message.msg_iov, static_cast<int>(message.msg_iovlen));
    case watched_stream::kind::polled: break;
  }
  if (!is_ready(s.fd.get(), POLLOUT)) {
    errno = EAGAIN;
    return -1;
  }
  // So much has room then; a terminal says no more than that there is some.
  const std::size_t room = ::isatty(s.fd.get()) == 1 ? 1 : PIPE_BUF;
  const auto& first = *message.msg_iov;
  return ::write(s.fd.get(), first.iov_base, std::min(first.iov_len, room));
}

std::error_code watched_transport::send_fin(socket_base& base) noexcept {
  auto& s = stream_of(base);
  if (s.of == watched_stream::kind::socket)
    return ::shutdown(s.fd.get(), SHUT_WR) == 0 ? std::error_code() : kernel::last_error();
  const int flags = ::fcntl(s.fd.get(), F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) != O_WRONLY)
    return std::make_error_code(std::errc::operation_not_supported);
  // Of a pipe that is only written nothing is left then.
  s.waits.reset();
  s.fd.reset();
  note_end(s);
  return {};
}

}  // namespace weir::detail

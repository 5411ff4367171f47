// Streams that come without having been accepted or connected here: adopted, or from another shard;
// and those that leave for one. Asio's own streams have nothing queued in front of a reader, so
// what is unread comes from a shard on uring: it is read, and lent, before the kernel is asked.
#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/transport/asio/asio_transport.hpp"
#include "runtime/transport/kernel/adopted.hpp"
#include "runtime/transport/kernel/detached.hpp"

namespace weir::detail {

namespace {
asio_stream& stream_of(socket_base& socket) { return static_cast<asio_stream&>(socket); }
}  // namespace

result<asio_stream*> asio_transport::take_in(kernel::unique_fd& connected, const endpoint& local,
                                             const endpoint& remote) {
  if (auto error = kernel::set_mode(connected.get(), kernel::mode::non_blocking)) return error;
  auto* stream = new asio_stream(*this);
  if (auto error = stream->assign(connected.get())) {
    stream->drop();
    return error;
  }
  connected.release();
  stream->local_end = local;
  stream->remote_end = remote;
  return stream;
}

result<socket_base*> asio_transport::adopt_stream(kernel::unique_fd& connected) {
  const int fd = connected.get();
  if (auto error = kernel::check_adopted(fd, kernel::adopted::tcp_stream)) return error;
  auto got = take_in(connected, kernel::local_endpoint_of(fd), kernel::remote_endpoint_of(fd));
  if (!got) return got.error();
  return static_cast<socket_base*>(*got);
}

void asio_transport::start_detach(detach_operation& op) {
  auto& s = stream_of(op.socket());
  std::unique_ptr<kernel::detached_tcp> made(new (std::nothrow) kernel::detached_tcp(owner()));
  if (made == nullptr) return op.complete(std::make_error_code(std::errc::not_enough_memory));
  made->fd.reset(s.release());
  made->unread = std::move(s.brought);
  made->local = s.local_end;
  made->remote = s.remote_end;
  pass_on(s, *made);
  ++counters_.detached;
  op.succeed(detached_ptr(made.release()));
  s.give_up();
}

result<socket_base*> asio_transport::attach_stream(detached_socket& moved) {
  auto& from = static_cast<kernel::detached_tcp&>(moved);
  auto got = take_in(from.fd, from.local, from.remote);
  if (!got) return got.error();
  auto& s = **got;
  s.brought = std::move(from.unread);
  pass_on(from, s);
  ++counters_.attached;
  return static_cast<socket_base*>(&s);
}

// --- What was brought.

void asio_transport::settle(socket_base& socket) noexcept {
  if (socket.rx_size == 0) stream_of(socket).brought.reset();
}

bool asio_transport::lend(socket_base& socket, lent_bytes& lent) {
  const auto room = lending_.take(stream_of(socket));
  if (room.empty()) return false;
  const auto n = std::min(socket.rx_size, static_cast<std::uint32_t>(room.size()));
  std::memcpy(room.data(), socket.rx_data, n);
  lent = {room.data(), n, 0, room.data()};
  socket.rx_data += n;
  socket.rx_size -= n;
  settle(socket);
  return true;
}

}  // namespace weir::detail

// Streams that come without having been accepted or connected here: adopted, or from another shard;
// and those that leave for one. A stream that leaves has a multishot receive under way at most: it
// is cancelled, and what it brought until its last completion goes along. What the kernel receives
// later stays in the socket, behind that.
#include "runtime/transport/kernel/adopted.hpp"
#include "runtime/transport/kernel/detached.hpp"
#include "runtime/transport/uring/uring_transport.hpp"

namespace weir::detail {

result<uring_stream*> uring_transport::take_in(kernel::unique_fd& connected, const endpoint& local,
                                               const endpoint& remote) {
  if (auto error = kernel::set_mode(connected.get(), kernel::mode::blocking)) return error;
  driver_.count_system_calls(2);
  auto& s = new_stream(connected.release());
  s.local = local;
  s.remote = remote;
  return &s;
}

result<socket_base*> uring_transport::adopt_stream(kernel::unique_fd& connected) {
  const int fd = connected.get();
  if (auto error = kernel::check_adopted(fd, kernel::adopted::tcp_stream)) return error;
  driver_.count_system_calls(7);
  auto got = take_in(connected, kernel::local_endpoint_of(fd), kernel::remote_endpoint_of(fd));
  if (!got) return got.error();
  return static_cast<socket_base*>(*got);
}

void uring_transport::start_detach(detach_operation& op) {
  auto& s = static_cast<uring_stream&>(op.socket());
  s.detaching = &op;
  if (s.in_flight == 0) return finish_detach(s);
  cancel_all(s);
}

void uring_transport::finish_detach(uring_stream& s) noexcept {
  auto& op = *std::exchange(s.detaching, nullptr);
  std::unique_ptr<kernel::detached_tcp> made(new (std::nothrow) kernel::detached_tcp(owner()));
  std::uint32_t unread = 0;
  if (made != nullptr && s.rx_size != 0) {
    made->unread = copy_unread(s, unread);
    if (made->unread == nullptr) made.reset();
  }
  if (made == nullptr) return op.complete(std::make_error_code(std::errc::not_enough_memory));
  made->fd.reset(s.fd);
  made->local = s.local;
  made->remote = s.remote;
  pass_on(s, *made);
  made->rx_data = made->unread.get();
  made->rx_size = unread;
  ++counters_.detached;
  op.succeed(detached_ptr(made.release()));
  free_stream(s);
}

result<socket_base*> uring_transport::attach_stream(detached_socket& moved) {
  auto& from = static_cast<kernel::detached_tcp&>(moved);
  auto got = take_in(from.fd, from.local, from.remote);
  if (!got) return got.error();
  auto& s = **got;
  s.stash = std::move(from.unread);
  pass_on(from, s);
  ++counters_.attached;
  return static_cast<socket_base*>(&s);
}

}  // namespace weir::detail

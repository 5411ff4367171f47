// weir/descriptor.hpp, weir/unix.hpp and weir/detach.hpp: which part of the shard carries a call
// out, and what is refused where there is none.
#include <unistd.h>

#include <cassert>
#include <cstring>
#include <stdexcept>

#include "runtime/backend/adopts_sockets.hpp"
#include "runtime/backend/local_transport.hpp"
#include "runtime/backend/moves_streams.hpp"
#include "weir/detail/surroundings.hpp"
#include "weir/unix.hpp"

namespace weir {

void unique_fd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

namespace {

std::error_code not_supported() { return std::make_error_code(std::errc::operation_not_supported); }

detail::local_transport* locals_of(shard& here) {
  assert(here.on_this_thread());
  return here.around().locals.get();
}
detail::local_transport& locals_of(const detail::socket_base& s) {
  return static_cast<detail::local_transport&>(*s.at);
}
detail::adopts_sockets* adopts(shard& here) {
  assert(here.on_this_thread());
  return dynamic_cast<detail::adopts_sockets*>(&here.transport());
}

template <class T>
T or_throw(result<T> got, const char* what) {
  if (!got) throw io_error(got.error(), what);
  return std::move(*got);
}

}  // namespace

// --- Adopting.

result<tcp_listener> try_adopt_listener(shard& here, unique_fd& fd) {
  auto* by = adopts(here);
  if (by == nullptr) return not_supported();
  auto got = by->adopt_listener(fd);
  if (!got) return got.error();
  return tcp_listener(**got);
}
result<tcp_stream> try_adopt_tcp(shard& here, unique_fd& fd) {
  auto* by = adopts(here);
  if (by == nullptr) return not_supported();
  auto got = by->adopt_stream(fd);
  if (!got) return got.error();
  return tcp_stream(**got);
}
result<udp_socket> try_adopt_udp(shard& here, unique_fd& fd) {
  auto* by = adopts(here);
  if (by == nullptr) return not_supported();
  auto got = by->adopt_datagrams(fd);
  if (!got) return got.error();
  (*got)->at = here.transport().datagrams();
  return udp_socket(**got);
}
result<any_stream> try_adopt_pipe(shard& here, unique_fd& fd) {
  auto* by = locals_of(here);
  if (by == nullptr) return not_supported();
  auto got = by->adopt_pipe(fd);
  if (!got) return got.error();
  return any_stream(**got);
}
result<unix_stream> try_adopt_unix(shard& here, unique_fd& fd) {
  auto* by = locals_of(here);
  if (by == nullptr) return not_supported();
  auto got = by->adopt_stream(fd);
  if (!got) return got.error();
  return unix_stream(**got);
}
result<unix_listener> try_adopt_unix_listener(shard& here, unique_fd& fd) {
  auto* by = locals_of(here);
  if (by == nullptr) return not_supported();
  auto got = by->adopt_listener(fd);
  if (!got) return got.error();
  return unix_listener(**got);
}

tcp_listener adopt_listener(shard& here, unique_fd&& fd) {
  return or_throw(try_adopt_listener(here, fd), "adopt_listener");
}
tcp_stream adopt_tcp(shard& here, unique_fd&& fd) {
  return or_throw(try_adopt_tcp(here, fd), "adopt_tcp");
}
udp_socket adopt_udp(shard& here, unique_fd&& fd) {
  return or_throw(try_adopt_udp(here, fd), "adopt_udp");
}
any_stream adopt_pipe(shard& here, unique_fd&& fd) {
  return or_throw(try_adopt_pipe(here, fd), "adopt_pipe");
}
unix_stream adopt_unix(shard& here, unique_fd&& fd) {
  return or_throw(try_adopt_unix(here, fd), "adopt_unix");
}
unix_listener adopt_unix_listener(shard& here, unique_fd&& fd) {
  return or_throw(try_adopt_unix_listener(here, fd), "adopt_unix_listener");
}

// --- Moving.

namespace detail {

void close_detached::operator()(detached_socket* s) const noexcept { delete s; }

void detach_operation::begin(any_stream& from) noexcept {
  held = std::move(from);
  auto& s = socket();
  assert(&owner() == &s.at->owner() && "a stream is used on the shard that owns it");
  auto* by = dynamic_cast<moves_streams*>(s.at);
  if (by == nullptr) return complete(not_supported());
  if (s.reader != nullptr || !s.writers.empty() || s.end_awaited)
    return complete(std::make_error_code(std::errc::device_or_resource_busy));
  owner().forget_spent(s);
  s.at->settle(s);
  by->start_detach(*this);
}

void detach_operation::succeed(detached_ptr without_home) noexcept {
  note_detached(*std::exchange(held.socket_, nullptr));
  taken = std::move(without_home);
  complete();
}

void detach_operation::tell(const detail::cancel_node& node, wait_told& out) noexcept {
  const auto& self = static_cast<const detach_operation&>(told(node, out));
  out.stream = &self.socket();
  out.operation = "detach";
}

namespace {

/// Where such a connection lives here. The stack's shards have kernel sockets beside it.
moves_streams* mover_of(shard& here, bool unix_socket) {
  if (unix_socket) return dynamic_cast<moves_streams*>(locals_of(here));
  if (auto* by = dynamic_cast<moves_streams*>(&here.transport())) return by;
  const auto kernel = here.network("kernel");
  return kernel ? dynamic_cast<moves_streams*>(*kernel) : nullptr;
}

}  // namespace

result<socket_base*> attach_to(shard& here, detached_ptr& moved) {
  assert(moved != nullptr && "what is to be attached was moved from");
  assert(here.on_this_thread());
  if (here.stop_requested() && &here != moved->from) return canceled_error();
  auto* by = mover_of(here, moved->local);
  if (by == nullptr) return not_supported();
  auto got = by->attach_stream(*moved);
  if (!got) return got.error();
  moved.reset();
  note_attached(**got);
  return got;
}

}  // namespace detail

// --- Names.

unix_endpoint::unix_endpoint(std::string_view name) {
  if (name.size() > max_size || name.find('\0') != std::string_view::npos || name == "@")
    throw std::invalid_argument("not the name of a Unix socket: '" + std::string(name) + "'");
  size_ = static_cast<std::uint8_t>(name.size());
  std::memcpy(text_.data(), name.data(), name.size());
}

std::optional<unix_endpoint> unix_endpoint::parse(std::string_view text) {
  constexpr std::string_view scheme = "unix:";
  if (!text.starts_with(scheme)) return std::nullopt;
  try {
    return unix_endpoint(text.substr(scheme.size()));
  } catch (const std::invalid_argument&) {
    return std::nullopt;
  }
}

// --- Listening and connecting.

unix_listener shard::listen(const unix_endpoint& local, const unix_listen_options& options) {
  auto listener = try_listen(local, options);
  if (!listener) throw io_error(listener.error(), "listen on " + local.to_string());
  return std::move(*listener);
}

result<unix_listener> shard::try_listen(const unix_endpoint& local,
                                        const unix_listen_options& options) {
  auto* by = locals_of(*this);
  if (by == nullptr) return not_supported();
  auto socket = by->listen(local, options);
  if (!socket) return socket.error();
  return unix_listener(**socket);
}

result<unix_pair> try_make_unix_pair(shard& here) {
  auto* by = locals_of(here);
  if (by == nullptr) return not_supported();
  auto ends = by->make_pair();
  if (!ends) return ends.error();
  return unix_pair{unix_stream(*ends->first), unix_stream(*ends->second)};
}
unix_pair make_unix_pair(shard& here) { return or_throw(try_make_unix_pair(here), "socketpair"); }

void unix_listener::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  locals_of(s).close_listener(s);
}
unix_endpoint unix_listener::local_endpoint() const {
  return locals_of(socket()).listener_name(socket());
}
void unix_listener::keep_path() { locals_of(socket()).keep_path(socket()); }
int unix_listener::native_handle() const { return detail::native_handle_of(socket()); }

unix_endpoint unix_stream::local_endpoint() const {
  return locals_of(socket()).local_name(socket());
}
unix_endpoint unix_stream::remote_endpoint() const {
  return locals_of(socket()).remote_name(socket());
}
unix_credentials unix_stream::peer_credentials() const {
  return locals_of(socket()).peer_of(socket());
}
void unix_stream::expect_descriptors(std::size_t most) {
  if (!locals_of(socket()).passes_descriptors())
    throw io_error(not_supported(), "expect_descriptors");
  locals_of(socket()).expect_descriptors(socket(), most);
}
std::vector<unique_fd> unix_stream::take_descriptors() {
  return locals_of(socket()).take_descriptors(socket());
}

namespace detail {

void unix_connect_awaiter::begin() noexcept {
  auto* by = locals_of(owner());
  if (by == nullptr) return complete(not_supported());
  by->start_connect(*this);
}
void unix_connect_awaiter::request_cancel(operation& op) noexcept {
  locals_of(op.owner())->cancel_connect(static_cast<unix_connect_operation&>(op));
}

void descriptor_write_awaiter::begin() noexcept {
  const bool few = !descriptors.empty() && descriptors.size() <= unix_stream::max_descriptors;
  if (single.empty() || !few) return complete(std::make_error_code(std::errc::invalid_argument));
  if (!locals_of(*socket).passes_descriptors()) return complete(not_supported());
  write_awaiter::begin(*this);
}

}  // namespace detail
}  // namespace weir

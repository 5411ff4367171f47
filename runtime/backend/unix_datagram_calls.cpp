// weir/unix_datagrams.hpp: which part of the shard carries a call out, and what is refused where
// there is none.
#include <cassert>

#include "runtime/backend/local_transport.hpp"
#include "weir/detail/surroundings.hpp"
#include "weir/unix_datagrams.hpp"

namespace weir {
namespace {

std::error_code not_supported() { return std::make_error_code(std::errc::operation_not_supported); }

detail::local_datagrams* datagrams_of(shard& here) {
  assert(here.on_this_thread());
  auto* locals = here.around().locals.get();
  return locals == nullptr ? nullptr : locals->datagrams();
}
detail::local_datagrams& datagrams_of(const detail::datagram_socket& s) {
  return static_cast<detail::local_datagrams&>(*s.at);
}

result<unix_datagram_socket> opened(const result<detail::datagram_socket*>& made) {
  if (!made) return made.error();
  return unix_datagram_socket(**made);
}

template <class T>
T or_throw(result<T> got, const std::string& what) {
  if (!got) throw io_error(got.error(), what);
  return std::move(*got);
}

}  // namespace

result<unix_datagram_socket> try_bind_datagrams(shard& here, const unix_endpoint& local,
                                                const unix_datagram_options& options) {
  auto* by = datagrams_of(here);
  if (by == nullptr) return not_supported();
  return opened(by->make(local, nullptr, options));
}
unix_datagram_socket bind_datagrams(shard& here, const unix_endpoint& local,
                                    const unix_datagram_options& options) {
  return or_throw(try_bind_datagrams(here, local, options), "bind to " + local.to_string());
}

result<unix_datagram_socket> try_connect_datagrams(shard& here, const unix_endpoint& remote,
                                                   const unix_datagram_options& options) {
  auto* by = datagrams_of(here);
  if (by == nullptr) return not_supported();
  if (remote.is_unnamed()) return std::errc::invalid_argument;
  return opened(by->make({}, &remote, options));
}
unix_datagram_socket connect_datagrams(shard& here, const unix_endpoint& remote,
                                       const unix_datagram_options& options) {
  return or_throw(try_connect_datagrams(here, remote, options), "connect to " + remote.to_string());
}

result<unix_datagram_pair> try_make_datagram_pair(shard& here) {
  auto* by = datagrams_of(here);
  if (by == nullptr) return not_supported();
  const auto ends = by->make_pair();
  if (!ends) return ends.error();
  return unix_datagram_pair{unix_datagram_socket(*ends->first),
                            unix_datagram_socket(*ends->second)};
}
unix_datagram_pair make_datagram_pair(shard& here) {
  return or_throw(try_make_datagram_pair(here), "socketpair");
}

result<unix_datagram_socket> try_adopt_datagrams(shard& here, unique_fd& fd) {
  auto* by = datagrams_of(here);
  if (by == nullptr) return not_supported();
  return opened(by->adopt(fd));
}
unix_datagram_socket adopt_datagrams(shard& here, unique_fd&& fd) {
  return or_throw(try_adopt_datagrams(here, fd), "adopt_datagrams");
}

void unix_datagram_socket::close() noexcept {
  if (socket_ == nullptr) return;
  auto& s = *std::exchange(socket_, nullptr);
  assert(s.receiver == nullptr && s.sends == 0 && "a socket was closed under a pending operation");
  s.at->close(s);
}
unix_endpoint unix_datagram_socket::local_endpoint() const {
  return datagrams_of(socket()).local_name(socket());
}
unix_endpoint unix_datagram_socket::remote_endpoint() const {
  return datagrams_of(socket()).remote_name(socket());
}
void unix_datagram_socket::expect_descriptors(std::size_t most) {
  if (!datagrams_of(socket()).passes_descriptors())
    throw io_error(not_supported(), "expect_descriptors");
  datagrams_of(socket()).expect_descriptors(socket(), most);
}
std::vector<unique_fd> unix_datagram_socket::take_descriptors() {
  return datagrams_of(socket()).take_descriptors(socket());
}

}  // namespace weir

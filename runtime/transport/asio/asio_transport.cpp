// The transport's sockets as a whole: made, listed, given up.
#include "runtime/transport/asio/asio_transport.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "runtime/backend/factories.hpp"
#include "runtime/backend/family.hpp"
#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/transport/kernel/adopted.hpp"

namespace weir::detail {

namespace {
asio_stream& stream_of(socket_base& socket) { return static_cast<asio_stream&>(socket); }
asio_listener& listener_of(listener_socket& l) { return static_cast<asio_listener&>(l); }
}  // namespace

asio_transport::asio_transport(asio_driver& completions, const config& settings,
                               std::shared_ptr<shard_family> family)
    : driver_(&completions),
      settings_(&settings),
      family_(family != nullptr ? std::move(family) : std::make_shared<shard_family>()),
      datagrams_(*this, completions),
      now_(completions.now()),
      ends_(completions, *this) {}

asio_transport::~asio_transport() { abandon(); }

result<listener_socket*> asio_transport::listen(const endpoint& local,
                                                const listen_options& options) {
  const auto how = options.sharing.value_or(settings_->listen.sharing);
  const auto open = [&] {
    return kernel::open_listener(local, options, *settings_, kernel::mode::non_blocking);
  };
  kernel::listener_groups::hold until_joined;
  auto fd = how == sharing::shared ? groups().share(local, open, until_joined) : open();
  if (!fd) return fd.error();
  return add_listener(*fd, how);
}

result<listener_socket*> asio_transport::adopt_listener(kernel::unique_fd& listening) {
  if (auto error = kernel::check_adopted(listening.get(), kernel::adopted::tcp_listener))
    return error;
  if (auto error = kernel::set_mode(listening.get(), kernel::mode::non_blocking)) return error;
  return add_listener(listening, sharing::exclusive);
}

int asio_transport::native_handle(const socket_base& stream) const noexcept {
  return static_cast<const asio_stream&>(stream).fd();
}
int asio_transport::native_listener(const listener_socket& listener) const noexcept {
  return static_cast<const asio_listener&>(listener).fd();
}

result<listener_socket*> asio_transport::add_listener(kernel::unique_fd& listening, sharing how) {
  auto* listener = new asio_listener(*this, kernel::local_endpoint_of(listening.get()));
  if (auto error = listener->assign(listening.get())) {
    listener->drop();
    return error;
  }
  listening.release();
  listener->join(how);
  return static_cast<listener_socket*>(listener);
}

kernel::listener_groups& asio_transport::groups() {
  return family_->inside().part<kernel::listener_groups>();
}

void asio_transport::adopt(std::uint64_t member, const endpoint& local, int fd) {
  for (auto* listener : grouped_)
    if (listener->group_member() == member) return listener->adopt(fd);
  // It went meanwhile.
  if (groups().give_away(local, fd)) return;
  kernel::unique_fd refused(fd);
  kernel::reset_on_close(fd);
}

void asio_transport::start_connect(connect_operation& op) {
  auto fd = kernel::open_connector(op.remote, *op.options, *settings_, kernel::mode::non_blocking);
  if (!fd) return op.complete(fd.error());
  kernel::socket_address to(op.remote);
  driver_->count_system_call();
  if (::connect(fd->get(), to.data(), to.size) != 0 && errno != EINPROGRESS && errno != EINTR)
    return op.complete(kernel::last_error());
  auto* stream = new asio_stream(*this);
  if (auto error = stream->assign(fd->get())) {
    stream->drop();
    return op.complete(error);
  }
  fd->release();
  stream->start_connect(op);
}

void asio_transport::cancel_connect(connect_operation& op) noexcept {
  stream_of(*op.attempt).finish_connect(canceled_error());
}

void asio_transport::bring_in(socket_base& s) { stream_of(s).bring_in(); }
void asio_transport::take_out(socket_base& s) { stream_of(s).take_out(); }
void asio_transport::forget_lending(socket_base& s) noexcept { lending_.forget(stream_of(s)); }

std::size_t asio_transport::take_from_file(socket_base& s, const file_range& range) noexcept {
  const auto done = kernel::send_resident(native_handle(s), kernel::mode::non_blocking, range);
  for (auto n = done.calls; n > 0; --n) driver_->count_system_call();
  counters_.count_from_file(done.bytes);
  return done.bytes;
}

std::error_code asio_transport::send_fin(socket_base& s) noexcept {
  driver_->count_system_call();
  return ::shutdown(stream_of(s).fd(), SHUT_WR) == 0 ? std::error_code{} : kernel::last_error();
}

std::error_code asio_transport::stop_receiving(socket_base& s) noexcept {
  driver_->count_system_call();
  return ::shutdown(stream_of(s).fd(), SHUT_RD) == 0 ? std::error_code{} : kernel::last_error();
}

void asio_transport::give_up(socket_base& s, bool reset) noexcept {
  auto& stream = stream_of(s);
  // What was brought and nobody read would have made the kernel's own close a reset (RFC
  // 2525 2.17).
  if (reset || s.rx_size != 0) {
    driver_->count_system_call();
    kernel::reset_on_close(stream.fd());
  }
  stream.give_up();
}

void asio_transport::accept_wanted(listener_socket& l, accept_operation& op) {
  // Behind others that wait already there is nothing to find.
  if (l.acceptors.front() == &op && !listener_of(l).exhausted) listener_of(l).serve();
}

void asio_transport::stop_listening(listener_socket& l) noexcept { listener_of(l).give_up(); }

void asio_transport::release(lent_bytes& lent) noexcept {
  lending_.give_back(lent.chunk);
  while (auto* s = lending_.next_waiting()) bytes_came(*s);
}

endpoint asio_transport::local_endpoint(const socket_base& socket) const {
  return static_cast<const asio_stream&>(socket).local_end;
}
endpoint asio_transport::remote_endpoint(const socket_base& socket) const {
  return static_cast<const asio_stream&>(socket).remote_end;
}
std::error_code asio_transport::set_options(socket_base& socket, const stream_options& options) {
  return kernel::apply(stream_of(socket).fd(), options);
}

void asio_transport::before_wait(instant now) {
  now_ = now;
  if (exhausted_ == nullptr || retry_at_ > now) return;
  retry_at_ = instant::never();
  for (auto* listener = std::exchange(exhausted_, nullptr); listener != nullptr;)
    std::exchange(listener, listener->next_exhausted)->retry();
}

void asio_transport::abandon() noexcept {
  datagrams_.abandon();
  for (auto* socket = sockets_.front(); socket != nullptr;) {
    auto* next = sockets_.after(*socket);
    if (!socket->given_up()) socket->give_up();
    socket = next;
  }
}

void asio_transport::leave(asio_socket& socket) noexcept {
  sockets_.remove(socket);
  if (socket.given_up()) --closing_;
}

void asio_transport::closing_begins() noexcept {
  ++closing_;
  descriptor_freed();
}

void asio_transport::descriptor_freed() noexcept {
  if (exhausted_ != nullptr) retry_at_ = now_;
}

void asio_transport::wait_for_descriptor(asio_listener& listener) noexcept {
  ++counters_.accept_exhausted;
  listener.exhausted = true;
  listener.next_exhausted = exhausted_;
  exhausted_ = &listener;
  retry_at_ = std::min(retry_at_, now_ + kernel::accept_retry_delay);
}

void asio_transport::forget_exhausted(asio_listener& listener) noexcept {
  auto** link = &exhausted_;
  while (*link != &listener) link = &(*link)->next_exhausted;
  *link = listener.next_exhausted;
  listener.exhausted = false;
  if (exhausted_ == nullptr) retry_at_ = instant::never();
}

std::unique_ptr<transport> make_asio_transport(driver& completions, const config& settings,
                                               family_ref family) {
  return std::make_unique<asio_transport>(dynamic_cast<asio_driver&>(completions), settings,
                                          std::move(family));
}

}  // namespace weir::detail

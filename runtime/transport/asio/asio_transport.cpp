// See asio_transport.hpp.
#include "transport/asio/asio_transport.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "backend/factories.hpp"
#include "backend/family.hpp"
#include "driver/asio/asio_driver.hpp"

namespace weir::detail {

namespace {
asio_stream& stream_of(socket_base& socket) { return static_cast<asio_stream&>(socket); }
asio_listener& listener_of(socket_base& socket) { return static_cast<asio_listener&>(socket); }

/// A connection attempt under way, in its operation's scratch space.
struct attempt {
  asio_stream* stream;
};
}  // namespace

std::byte* lending_pool::take() {
  if (free_.empty()) {
    if (made_.size() == buffer_limit) return nullptr;
    // Room for all first, so that giving back never allocates.
    free_.reserve(buffer_limit);
    made_.push_back(std::make_unique_for_overwrite<std::byte[]>(buffer_size));
    return made_.back().get();
  }
  auto* buffer = free_.back();
  free_.pop_back();
  return buffer;
}

void lending_pool::give_back(std::byte* buffer) noexcept { free_.push_back(buffer); }

asio_transport::asio_transport(asio_driver& completions, const config& settings,
                               std::shared_ptr<shard_family> family)
    : driver_(&completions),
      settings_(&settings),
      family_(family != nullptr ? std::move(family) : std::make_shared<shard_family>()),
      datagrams_(completions, settings),
      now_(completions.now()) {}

asio_transport::~asio_transport() {
  abandon();
  // What is left waits for handlers that the io_context will run or throw away.
  while (sockets_ != nullptr) {
    auto& socket = *sockets_;
    leave(socket);
    socket.orphan();
  }
}

result<socket_base*> asio_transport::listen(const endpoint& local, const listen_options& options) {
  const auto how = options.share.value_or(settings_->listen.sharing);
  const auto open = [&] {
    return kernel::open_listener(local, options, *settings_, kernel::mode::non_blocking);
  };
  auto fd = how == sharing::shared ? groups().share(local, open) : open();
  if (!fd) return fd.error();
  return add_listener(std::move(*fd), how);
}

result<socket_base*> asio_transport::adopt_listener(kernel::unique_fd listening) {
  if (auto error = kernel::set_mode(listening.get(), kernel::mode::non_blocking)) return error;
  return add_listener(std::move(listening), sharing::exclusive);
}

result<socket_base*> asio_transport::add_listener(kernel::unique_fd listening, sharing how) {
  auto* listener = new asio_listener(*this, kernel::local_endpoint_of(listening.get()));
  if (auto error = listener->assign(listening.get())) {
    listener->drop();
    return error;
  }
  listening.release();
  listener->join(how);
  return static_cast<socket_base*>(listener);
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
  op.scratch.as<attempt>() = {stream};
  stream->start_connect(op, op.remote);
}

void asio_transport::start_accept(accept_operation& op) {
  listener_of(*op.socket).start_accept(op);
}
void asio_transport::start_read(read_operation& op) { stream_of(*op.socket).start_read(op); }
void asio_transport::start_write(write_operation& op) { stream_of(*op.socket).start_write(op); }
void asio_transport::cancel_accept(accept_operation& op) noexcept {
  listener_of(*op.socket).cancel_accept(op);
}
void asio_transport::cancel_read(read_operation& op) noexcept {
  stream_of(*op.socket).cancel_read(op);
}
void asio_transport::cancel_write(write_operation& op) noexcept {
  stream_of(*op.socket).cancel_write(op);
}
void asio_transport::cancel_connect(connect_operation& op) noexcept {
  op.scratch.as<attempt>().stream->cancel_connect();
}

std::error_code asio_transport::shutdown_send(socket_base& socket) noexcept {
  return stream_of(socket).shutdown_send();
}

void asio_transport::close(socket_base& socket) noexcept {
  static_cast<asio_socket&>(socket).give_up();
}

void asio_transport::abort(socket_base& socket) noexcept {
  auto& stream = stream_of(socket);
  driver_->count_system_call();
  kernel::reset_on_close(stream.fd());
  stream.give_up();
}

void asio_transport::release(lent_bytes& lent) noexcept {
  lending_.give_back(static_cast<std::byte*>(lent.chunk));
  while (first_starved_ != nullptr && lending_.available()) {
    auto& stream = *first_starved_;
    forget_starved(stream);
    stream.lending_possible();
  }
}

endpoint asio_transport::local_endpoint(const socket_base& socket) const {
  return kernel::local_endpoint_of(static_cast<const asio_socket&>(socket).fd());
}
endpoint asio_transport::remote_endpoint(const socket_base& socket) const {
  return static_cast<const asio_stream&>(socket).remote();
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
  for (auto* socket = sockets_; socket != nullptr;) {
    auto* next = socket->next_socket;
    if (!socket->given_up()) socket->give_up();
    socket = next;
  }
}

void asio_transport::enter(asio_socket& socket) noexcept {
  socket.next_socket = sockets_;
  if (sockets_ != nullptr) sockets_->previous_socket = &socket;
  sockets_ = &socket;
}

void asio_transport::leave(asio_socket& socket) noexcept {
  (socket.previous_socket == nullptr ? sockets_ : socket.previous_socket->next_socket) =
      socket.next_socket;
  if (socket.next_socket != nullptr) socket.next_socket->previous_socket = socket.previous_socket;
  socket.previous_socket = socket.next_socket = nullptr;
  counters_.heap_handlers += socket.heap_handlers();
  if (socket.given_up()) --closing_;
}

void asio_transport::closing_begins() noexcept {
  ++closing_;
  if (exhausted_ != nullptr) retry_at_ = now_;  // there will be a descriptor
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

void asio_transport::wait_for_buffer(asio_stream& stream) noexcept {
  ++counters_.lending_starved;
  stream.starved = true;
  stream.next_starved = nullptr;
  (first_starved_ == nullptr ? first_starved_ : last_starved_->next_starved) = &stream;
  last_starved_ = &stream;
}

void asio_transport::forget_starved(asio_stream& stream) noexcept {
  asio_stream* before = nullptr;
  auto* at = first_starved_;
  while (at != &stream) before = std::exchange(at, at->next_starved);
  (before == nullptr ? first_starved_ : before->next_starved) = stream.next_starved;
  if (last_starved_ == &stream) last_starved_ = before;
  stream.starved = false;
}

std::unique_ptr<transport> make_asio_transport(driver& completions, const config& settings,
                                               family_ref family) {
  return std::make_unique<asio_transport>(dynamic_cast<asio_driver&>(completions), settings,
                                          std::move(family));
}

}  // namespace weir::detail

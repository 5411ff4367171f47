// Streams as such: made, pooled, given up, closed. A pending receive keeps a closed descriptor's
// connection alive, so a socket that is given up first cancels what the kernel still has, then
// closes, and goes when the last completion is in. Descriptors with requests are closed through the
// ring, behind them: none goes out on a number that stands for another file by then.
#include "runtime/transport/uring/uring_transport.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <utility>

#include "runtime/backend/factories.hpp"
#include "weir/runtime.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

uring_transport::uring_transport(uring_driver& driver, const config& settings, const limits& wanted,
                                 std::shared_ptr<shard_family> family)
    : driver_(driver),
      settings_(settings),
      family_(family != nullptr ? std::move(family) : std::make_shared<shard_family>()),
      datagrams_(*this, driver),
      limits_(wanted),
      buffers_(driver, wanted.buffers),
      chunks_(wanted.buffers.count) {}

uring_transport::~uring_transport() { abandon(); }

void uring_transport::stream_completed(ring_client& c, unsigned tag, std::int32_t result,
                                       std::uint32_t flags) noexcept {
  auto& s = static_cast<uring_stream&>(c);
  auto& self = home_of(s);
  switch (tag) {
    case multishot_tag: return self.on_multishot(s, result, flags);
    case direct_tag: return self.on_direct(s, result);
    case send_tag: return self.on_send(s, result);
    case connect_tag: return self.on_connect(s, result);
    default: break;
  }
  // A cancellation that came too early or too late. The socket may be another by now, which then
  // goes on, or has nothing to cancel.
  const bool goes = s.closing || s.detaching != nullptr;
  if (result < 0 && goes && s.in_flight != 0) self.cancel_all(s);
}

// --- The pool of streams and the list of what is open.

uring_stream& uring_transport::new_stream(int fd) {
  auto& s = at_home(streams_.take(&uring_transport::stream_completed));
  s.fd = fd;
  open_.push_front(s);
  return s;
}

/// One that the kernel accepted. Null where it was reset meanwhile, as accept(2) would skip it.
uring_stream* uring_transport::accepted_stream(uring_listener& l, int fd) noexcept {
  driver_.count_system_calls();
  const auto remote = kernel::remote_endpoint_of(fd);
  if (remote == endpoint{}) {
    refuse(fd);
    return nullptr;
  }
  auto& s = new_stream(fd);
  s.remote = remote;
  s.local = l.local;
  if (l.local.address.is_unspecified()) {
    driver_.count_system_calls();
    s.local = kernel::local_endpoint_of(fd);
  }
  return &s;
}

void uring_transport::free_stream(uring_stream& s) noexcept {
  assert(s.in_flight == 0 && s.reader == nullptr && s.writers.empty() && s.chunks == 0);
  s.closing = false;  // a completion that comes late finds nothing to do
  open_.remove(s);
  streams_.give_back(s);
}

// --- Giving up.

void uring_transport::close_descriptor(int fd) noexcept {
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_CLOSE;
  entry.fd = fd;
  entry.flags = driver_.silent_flag();
  descriptor_freed();
}

void uring_transport::cancel_all(uring_stream& s) noexcept {
  auto report = s.user_data(cancel_tag);
  if (s.receive == uring_stream::receiving::multishot)
    driver_.cancel(s.user_data(multishot_tag), report);
  if (s.receive == uring_stream::receiving::direct) driver_.cancel(s.user_data(direct_tag), report);
  if (s.in_send != 0) driver_.cancel(s.user_data(send_tag), report);
  if (s.connecting != nullptr) driver_.cancel(s.user_data(connect_tag), report);
}

void uring_transport::give_up(socket_base& socket, bool reset) noexcept {
  auto& s = static_cast<uring_stream&>(socket);
  s.closing = true;
  s.aborted = reset;
  ++closing_;
  settle(s);
  if (s.in_flight == 0) return finish_close(s);
  cancel_all(s);
}

void uring_transport::request_ended(uring_stream& s) noexcept {
  assert(s.in_flight > 0);
  --s.in_flight;
  if (s.closing && s.in_flight == 0) finish_close(s);
}

void uring_transport::finish_close(uring_stream& s) noexcept {
  // What we took from the kernel and nobody read would have made its own close a reset (RFC
  // 2525 2.17).
  if (s.aborted || s.rx_size != 0) {
    driver_.count_system_calls();
    kernel::reset_on_close(s.fd);
  }
  drop_chunks(s);
  close_descriptor(s.fd);
  --closing_;
  free_stream(s);
}

void uring_transport::abandon() noexcept {
  for (std::size_t i = listeners_.size(); i-- > 0;)  // those that are gone at once leave the list
    if (!listeners_[i]->closing) close_listener(*listeners_[i]);
  for (auto* s = open_.front(); s != nullptr;) {
    auto* next = open_.after(*s);
    s->aborted = true;
    if (!s->closing) give_up(*s, true);
    s = next;
  }
  driver_.wait_for_kernel([this] { return open_.empty() && listeners_.empty(); });
  // The last descriptors are closed through the ring, and what a late cancellation has to say comes
  // with that.
  driver_.flush();
  driver_.turn(instant{});
}

// --- Small things.

std::error_code uring_transport::send_fin(socket_base& s) noexcept {
  driver_.count_system_calls();
  return ::shutdown(static_cast<uring_stream&>(s).fd, SHUT_WR) == 0 ? std::error_code{}
                                                                    : kernel::last_error();
}

std::error_code uring_transport::stop_receiving(socket_base& s) noexcept {
  driver_.count_system_calls();
  return ::shutdown(static_cast<uring_stream&>(s).fd, SHUT_RD) == 0 ? std::error_code{}
                                                                    : kernel::last_error();
}

endpoint uring_transport::local_endpoint(const socket_base& socket) const {
  return static_cast<const uring_stream&>(socket).local;
}

endpoint uring_transport::remote_endpoint(const socket_base& socket) const {
  return static_cast<const uring_stream&>(socket).remote;
}

std::error_code uring_transport::set_options(socket_base& socket, const stream_options& options) {
  driver_.count_system_calls();
  return kernel::apply(static_cast<uring_stream&>(socket).fd, options);
}

void uring_transport::before_wait(instant now) {
  if (now >= retry_at_) retry_accepts(now);
  if (!buffer_queue_.empty()) serve_buffer_queue();
  buffers_.refill();
}

std::unique_ptr<transport> make_uring_transport(driver& completions, const config& settings,
                                                family_ref family) {
  return std::make_unique<uring_transport>(static_cast<uring_driver&>(completions), settings,
                                           uring_transport::limits{}, std::move(family));
}

}  // namespace weir::detail

// Listening, accepting and connecting. The multishot accept runs on while coroutines are busy; what
// it brings waits in a bounded queue, and a full queue withdraws it, so that the kernel's own
// accept queue, with its bound, does the rest. From a socket that other shards accept from as well
// none is taken in advance, and none without somebody who waits. When descriptors run out, the
// connections stay where they are until one is freed or a little time has passed.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/backend/family.hpp"
#include "runtime/transport/kernel/adopted.hpp"
#include "runtime/transport/uring/uring_transport.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

kernel::listener_groups& uring_transport::groups() const {
  return family_->inside().part<kernel::listener_groups>();
}

result<listener_socket*> uring_transport::listen(const endpoint& local,
                                                 const listen_options& options) {
  const auto how = options.sharing.value_or(settings_.listen.sharing);
  const auto open = [&] {
    return kernel::open_listener(local, options, settings_, kernel::mode::blocking);
  };
  kernel::listener_groups::hold until_joined;
  auto opened = how == sharing::shared ? groups().share(local, open, until_joined) : open();
  if (!opened) return opened.error();
  return &add_listener(std::move(*opened), options.backlog.value_or(settings_.listen.backlog), how);
}

result<listener_socket*> uring_transport::adopt_listener(kernel::unique_fd& listening) {
  if (auto error = kernel::check_adopted(listening.get(), kernel::adopted::tcp_listener))
    return error;
  if (auto error = kernel::set_mode(listening.get(), kernel::mode::blocking)) return error;
  auto& l = add_listener(std::move(listening), settings_.listen.backlog, sharing::exclusive);
  l.adopted = true;
  return &l;
}

uring_listener& uring_transport::add_listener(kernel::unique_fd listening, std::uint32_t backlog,
                                              sharing how) {
  auto& l = at_home(*listeners_.emplace_back(
      std::make_unique<uring_listener>(&uring_transport::listener_completed)));
  l.fd = listening.release();
  l.local = kernel::local_endpoint_of(l.fd);
  l.queue_limit = std::clamp<std::size_t>(backlog, 1, limits_.accept_queue);
  l.how = how;
  if (how != sharing::exclusive)
    l.group_member = groups().join(
        l.local, owner(), [this, at = l.local](std::uint64_t m, int fd) { adopt(m, at, fd); });
  return l;
}

bool uring_transport::leave_to_others(listener_socket& socket) noexcept {
  auto& l = static_cast<uring_listener&>(socket);
  // The multishot accept ends; a single one follows where somebody waits.
  if (!l.one_at_a_time()) withdraw_accept(l);
  l.adopted = true;
  return l.accepted.empty() && !l.withdrawing;
}

/// A connection that another shard's listener left to this one.
void uring_transport::adopt(std::uint64_t member, const endpoint& local, int fd) noexcept {
  for (auto& l : listeners_)
    if (l->group_member == member && !l->closing) return take_connection(*l, fd);
  if (!groups().give_away(local, fd)) refuse(fd);
}

/// What this listener has, and nobody here will take, goes to the others of its address.
void uring_transport::leave_group(uring_listener& l) noexcept {
  auto& all = groups();
  all.leave(l.group_member);
  while (!l.accepted.empty() && all.give_away(l.local, l.accepted.front())) l.accepted.pop_front();
  if (!l.one_at_a_time()) all.give_away_queue(l.local, l.fd);  // else others accept from it
}

void uring_transport::listener_completed(ring_client& c, unsigned tag, std::int32_t result,
                                         std::uint32_t flags) noexcept {
  auto& l = static_cast<uring_listener&>(c);
  if (tag == accept_tag) home_of(l).on_accept(l, result, flags);
}

void uring_transport::accept_wanted(listener_socket& socket, accept_operation&) {
  auto& l = static_cast<uring_listener&>(socket);
  while (!l.accepted.empty()) {
    const int fd = l.accepted.front();
    l.accepted.pop_front();
    if (auto* s = accepted_stream(l, fd)) {
      ++l.taken;
      return hand_out(l, *s);
    }
  }
  if (!l.armed && l.retry_at.is_never()) arm_accept(l);
}

/// The accept that is under way for all who wait takes a connection from other shards: nobody may
/// leave it behind alone.
bool uring_transport::accepting_elsewhere(listener_socket& socket, accept_operation& op) noexcept {
  auto& l = static_cast<uring_listener&>(socket);
  if (!l.one_at_a_time() || !l.armed) return false;
  for (auto* other = l.acceptors.front(); other != nullptr; other = l.acceptors.after(*other))
    if (other != &op && !other->asked_to_end()) return false;
  withdraw_accept(l);
  return true;
}

void uring_transport::withdraw_accept(uring_listener& l) noexcept {
  if (!l.armed || std::exchange(l.withdrawing, true)) return;
  driver_.cancel(l.user_data(accept_tag));
}

void uring_transport::arm_accept(uring_listener& l) noexcept {
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_ACCEPT;
  entry.fd = l.fd;
  entry.accept_flags = SOCK_CLOEXEC;
  if (driver_.features().multishot_accept && !l.one_at_a_time())
    entry.ioprio = IORING_ACCEPT_MULTISHOT;
  entry.user_data = l.user_data(accept_tag);
  l.armed = true;
}

void uring_transport::on_accept(uring_listener& l, std::int32_t result,
                                std::uint32_t flags) noexcept {
  if ((flags & IORING_CQE_F_MORE) == 0) l.armed = l.withdrawing = false;
  if (l.closing) {
    const bool kept = result >= 0 && l.group_member != 0 && groups().give_away(l.local, result);
    if (result >= 0 && !kept) refuse(result);
    if (!l.armed) finish_listener(l);
    return;
  }
  if (result >= 0)
    take_connection(l, result);
  else if (result != -ECANCELED)
    accept_failed(l, -result);
  if (l.armed) return;
  for (auto* op = l.acceptors.front(); op != nullptr;) {
    auto* next = l.acceptors.after(*op);
    if (op->asked_to_end()) end_accept(l, *op, canceled_error());
    op = next;
  }
  if (!l.acceptors.empty() && l.retry_at.is_never()) arm_accept(l);
}

void uring_transport::take_connection(uring_listener& l, int fd) noexcept {
  if (!l.acceptors.empty()) {
    auto* s = accepted_stream(l, fd);
    if (s == nullptr) return;
    ++counters_.accepted;
    ++l.taken;
    return hand_out(l, *s);
  }
  // A withdrawn accept may still bring what the kernel had ready, at most a completion queue full.
  if (l.accepted.size() >= l.queue_limit + driver_.ring().cq.ring_entries) {
    ++counters_.accept_refused;
    return refuse(fd);
  }
  ++counters_.accepted;
  l.accepted.push_back(fd);
  if (l.accepted.size() >= l.queue_limit) withdraw_accept(l);
}

void uring_transport::accept_failed(uring_listener& l, int error) noexcept {
  switch (kernel::classify_accept_error(error)) {
    case kernel::accept_failure::nothing_there:
    case kernel::accept_failure::retry: return;
    case kernel::accept_failure::exhausted:
      ++counters_.accept_exhausted;
      kernel::log_accept_exhausted(error, l.local.to_string(), owner().now(), l.last_logged);
      l.retry_at = owner().now() + kernel::accept_retry_delay;
      retry_at_ = std::min(retry_at_, l.retry_at);
      return;
    case kernel::accept_failure::fatal: break;
  }
  fail_acceptors(l, kernel::error_from(error));
}

void uring_transport::retry_accepts(instant now) noexcept {
  retry_at_ = instant::never();
  for (auto& l : listeners_) {
    if (l->retry_at.is_never()) continue;
    if (l->retry_at > now) {
      retry_at_ = std::min(retry_at_, l->retry_at);
      continue;
    }
    l->retry_at = instant::never();
    if (!l->armed && !l->closing && !l->acceptors.empty()) arm_accept(*l);
  }
}

void uring_transport::descriptor_freed() noexcept {
  if (retry_at_.is_never()) return;
  for (auto& l : listeners_)
    if (!l->retry_at.is_never()) l->retry_at = owner().now();
  retry_at_ = owner().now();
}

void uring_transport::refuse(int fd) noexcept {
  driver_.count_system_calls(2);
  kernel::reset_on_close(fd);
  ::close(fd);
}

void uring_transport::stop_listening(listener_socket& socket) noexcept {
  auto& l = static_cast<uring_listener&>(socket);
  l.closing = true;
  ++closing_;
  if (l.group_member != 0) leave_group(l);
  while (!l.accepted.empty()) {
    refuse(l.accepted.front());
    l.accepted.pop_front();
  }
  driver_.count_system_calls();
  if (!l.armed) {
    ::close(l.fd);
    descriptor_freed();
    return finish_listener(l);
  }
  // The pending accept keeps the socket alive for a while, and may not have been submitted yet. It
  // must not listen meanwhile: whoever listens on this address next must find it free. (One that
  // others accept from too goes on listening for them.)
  if (!l.one_at_a_time()) ::shutdown(l.fd, SHUT_RDWR);
  driver_.cancel(l.user_data(accept_tag));
  close_descriptor(l.fd);
}

void uring_transport::finish_listener(uring_listener& l) noexcept {
  --closing_;
  std::erase_if(listeners_, [&](auto& each) { return each.get() == &l; });
}

// --- Connecting.

void uring_transport::start_connect(connect_operation& op) {
  auto opened = kernel::open_connector(op.remote, *op.options, settings_, kernel::mode::blocking);
  driver_.count_system_calls(2);
  if (!opened) return op.complete(opened.error());
  auto& s = new_stream(opened->release());
  op.attempt = &s;
  s.connecting = &op;
  s.remote = op.remote;
  s.connecting_to = std::make_unique<kernel::socket_address>(op.remote);
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_CONNECT;
  entry.fd = s.fd;
  entry.addr = reinterpret_cast<std::uint64_t>(s.connecting_to->data());
  entry.off = s.connecting_to->size;
  entry.user_data = s.user_data(connect_tag);
  ++s.in_flight;
}

void uring_transport::cancel_connect(connect_operation& op) noexcept {
  driver_.cancel(static_cast<uring_stream&>(*op.attempt).user_data(connect_tag));
}

void uring_transport::on_connect(uring_stream& s, std::int32_t result) noexcept {
  --s.in_flight;
  s.connecting_to.reset();
  auto& op = *std::exchange(s.connecting, nullptr);
  if (result == 0) {
    ++counters_.connected;
    driver_.count_system_calls();
    s.local = kernel::local_endpoint_of(s.fd);
    return connected(op, s);
  }
  close_descriptor(s.fd);
  free_stream(s);
  op.complete(result == -ECANCELED ? canceled_error() : kernel::error_from(-result));
}

}  // namespace weir::detail

// Listening, accepting and connecting. The multishot accept runs on while coroutines are busy; what
// it brings waits in a bounded queue, and a full queue withdraws it, so that the kernel's own
// accept queue, with its bound, does the rest. When descriptors run out, the connections stay where
// they are until one is freed or a little time has passed.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "backend/family.hpp"
#include "transport/uring/uring_transport.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

namespace {

struct connect_scratch {
  uring_stream* stream;
};

std::error_code error_of(std::int32_t result) {
  return result == -ECANCELED ? canceled_error() : kernel::error_from(-result);
}

}  // namespace

kernel::listener_groups& uring_transport::groups() const {
  return family_->inside().part<kernel::listener_groups>();
}

result<socket_base*> uring_transport::listen(const endpoint& local, const listen_options& options) {
  const auto how = options.share.value_or(settings_.listen.sharing);
  const auto open = [&] {
    return kernel::open_listener(local, options, settings_, kernel::mode::blocking);
  };
  auto opened = how == sharing::shared ? groups().share(local, open) : open();
  if (!opened) return opened.error();
  return &add_listener(std::move(*opened), options.backlog.value_or(settings_.listen.backlog), how);
}

result<socket_base*> uring_transport::adopt_listener(kernel::unique_fd listening) {
  if (auto error = kernel::set_mode(listening.get(), kernel::mode::blocking)) return error;
  return &add_listener(std::move(listening), settings_.listen.backlog, sharing::exclusive);
}

uring_listener& uring_transport::add_listener(kernel::unique_fd listening, std::uint32_t backlog,
                                              sharing how) {
  auto& l = *listeners_.emplace_back(
      std::make_unique<uring_listener>(*this, &uring_transport::listener_completed));
  l.owner = owner_;
  l.fd = listening.release();
  l.local = kernel::local_endpoint_of(l.fd);
  l.queue_limit = std::clamp<std::size_t>(backlog, 1, limits_.accept_queue);
  l.how = how;
  l.one_at_a_time = how == sharing::shared;
  if (how != sharing::exclusive)
    l.group_member = groups().join(
        l.local, *owner_, [this, at = l.local](std::uint64_t m, int fd) { adopt(m, at, fd); });
  link(l);
  return l;
}

/// A connection that another shard's listener left to this one.
void uring_transport::adopt(std::uint64_t member, const endpoint& local, int fd) noexcept {
  for (auto& l : listeners_)
    if (l->group_member == member && !l->closing) return hand_over(*l, fd);
  if (!groups().give_away(local, fd)) refuse(fd);
}

/// What this listener has, and nobody here will take, goes to the others of its address.
void uring_transport::leave_group(uring_listener& l) noexcept {
  auto& all = groups();
  all.leave(l.group_member);
  while (!l.accepted.empty() && all.give_away(l.local, l.accepted.front())) l.accepted.pop_front();
  if (!l.one_at_a_time) all.give_away_queue(l.local, l.fd);
}

void uring_transport::listener_completed(ring_client& c, unsigned tag, std::int32_t result,
                                         std::uint32_t flags) noexcept {
  auto& l = static_cast<uring_listener&>(c);
  if (tag == accept_tag) l.home->on_accept(l, result, flags);
}

void uring_transport::start_accept(accept_operation& op) {
  auto& l = static_cast<uring_listener&>(*op.socket);
  if (!l.accepted.empty()) {
    int fd = l.accepted.front();
    l.accepted.pop_front();
    ++l.taken;
    op.accepted = &new_stream(fd);
    return op.complete();
  }
  op.next_acceptor = nullptr;
  (l.last_acceptor != nullptr ? l.last_acceptor->next_acceptor : l.first_acceptor) = &op;
  l.last_acceptor = &op;
  if (!l.armed && l.retry_at.is_never()) arm_accept(l);
}

void uring_transport::cancel_accept(accept_operation& op) noexcept {
  auto& l = static_cast<uring_listener&>(*op.socket);
  accept_operation* before = nullptr;
  for (auto* a = l.first_acceptor; a != &op; a = a->next_acceptor) before = a;
  (before != nullptr ? before->next_acceptor : l.first_acceptor) = op.next_acceptor;
  if (l.last_acceptor == &op) l.last_acceptor = before;
  op.complete(canceled_error());
}

void uring_transport::arm_accept(uring_listener& l) noexcept {
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_ACCEPT;
  entry.fd = l.fd;
  entry.accept_flags = SOCK_CLOEXEC;
  if (driver_.features().multishot_accept && !l.one_at_a_time)
    entry.ioprio = IORING_ACCEPT_MULTISHOT;
  entry.user_data = l.user_data(accept_tag);
  l.armed = true;
  ++l.in_flight;
}

void uring_transport::on_accept(uring_listener& l, std::int32_t result,
                                std::uint32_t flags) noexcept {
  if ((flags & IORING_CQE_F_MORE) == 0) {
    l.armed = l.withdrawing = false;
    --l.in_flight;
  }
  if (l.closing) {
    const bool taken = result >= 0 && l.group_member != 0 && groups().give_away(l.local, result);
    if (result >= 0 && !taken) refuse(result);
    if (l.in_flight == 0) return finish_listener(l);
    return;
  }
  if (result >= 0)
    hand_over(l, result);
  else if (result != -ECANCELED)
    accept_failed(l, -result);
  if (!l.armed && l.first_acceptor != nullptr && l.retry_at.is_never()) arm_accept(l);
}

void uring_transport::hand_over(uring_listener& l, int fd) noexcept {
  if (auto* op = l.first_acceptor; op != nullptr) {
    l.first_acceptor = op->next_acceptor;
    if (l.first_acceptor == nullptr) l.last_acceptor = nullptr;
    ++counters_.accepted;
    ++l.taken;
    op->accepted = &new_stream(fd);
    return op->complete();
  }
  // A withdrawn accept may still bring what the kernel had ready, at most a completion queue full.
  if (l.accepted.size() >= l.queue_limit + driver_.ring().cq.ring_entries) {
    ++counters_.accept_refused;
    return refuse(fd);
  }
  ++counters_.accepted;
  l.accepted.push_back(fd);
  if (l.accepted.size() >= l.queue_limit && l.armed && !l.withdrawing) {
    l.withdrawing = true;
    driver_.cancel(l.user_data(accept_tag));
  }
}

void uring_transport::accept_failed(uring_listener& l, int error) noexcept {
  switch (kernel::classify_accept_error(error)) {
    case kernel::accept_failure::nothing_there:
    case kernel::accept_failure::retry: return;
    case kernel::accept_failure::exhausted:
      ++counters_.accept_exhausted;
      kernel::log_accept_exhausted(error, l.local, owner_->now(), l.last_logged);
      l.retry_at = owner_->now() + kernel::accept_retry_delay;
      retry_at_ = std::min(retry_at_, l.retry_at);
      return;
    case kernel::accept_failure::fatal: break;
  }
  end_acceptors(l, kernel::error_from(error));
}

void uring_transport::end_acceptors(uring_listener& l, std::error_code error) noexcept {
  while (auto* op = l.first_acceptor) {
    l.first_acceptor = op->next_acceptor;
    op->complete(error);
  }
  l.last_acceptor = nullptr;
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
    if (!l->armed && !l->closing && l->first_acceptor != nullptr) arm_accept(*l);
  }
}

/// A descriptor is about to be free: whoever waits for one need not wait for the clock.
void uring_transport::descriptor_freed() noexcept {
  if (retry_at_.is_never()) return;
  for (auto& l : listeners_)
    if (!l->retry_at.is_never()) l->retry_at = owner_->now();
  retry_at_ = owner_->now();
}

void uring_transport::refuse(int fd) noexcept {
  driver_.count_system_calls(2);
  kernel::reset_on_close(fd);
  ::close(fd);
}

void uring_transport::close_listener(uring_listener& l) noexcept {
  l.closing = true;
  ++closing_;
  end_acceptors(l, make_error_code(weir::error::closed));
  if (l.group_member != 0) leave_group(l);
  while (!l.accepted.empty()) {
    refuse(l.accepted.front());
    l.accepted.pop_front();
  }
  if (l.in_flight != 0) {
    // The pending accept keeps the socket alive for a while. It must not listen meanwhile: whoever
    // listens on this address next must find it free.
    // (One that others accept from too goes on listening for them.)
    if (!l.one_at_a_time) ::shutdown(l.fd, SHUT_RDWR);
    driver_.cancel(l.user_data(accept_tag));
  }
  driver_.count_system_calls(2);
  ::close(std::exchange(l.fd, -1));
  descriptor_freed();
  if (l.in_flight == 0) finish_listener(l);
}

void uring_transport::finish_listener(uring_listener& l) noexcept {
  unlink(l);
  --closing_;
  std::erase_if(listeners_, [&](auto& each) { return each.get() == &l; });
}

// --- Connecting.

void uring_transport::start_connect(connect_operation& op) {
  auto opened = kernel::open_connector(op.remote, *op.options, settings_, kernel::mode::blocking);
  driver_.count_system_calls(2);
  if (!opened) return op.complete(opened.error());
  auto& s = new_stream(opened->release());
  op.scratch.as<connect_scratch>().stream = &s;
  s.connecting = &op;
  kernel::socket_address address(op.remote);
  std::memcpy(&s.remote, address.data(), address.size);
  auto& entry = driver_.sqe();
  entry.opcode = IORING_OP_CONNECT;
  entry.fd = s.fd;
  entry.addr = reinterpret_cast<std::uint64_t>(&s.remote);
  entry.off = address.size;
  entry.user_data = s.user_data(connect_tag);
  ++s.in_flight;
}

void uring_transport::cancel_connect(connect_operation& op) noexcept {
  driver_.cancel(op.scratch.as<connect_scratch>().stream->user_data(connect_tag));
}

void uring_transport::on_connect(uring_stream& s, std::int32_t result) noexcept {
  --s.in_flight;
  auto& op = *std::exchange(s.connecting, nullptr);
  if (result == 0) {
    ++counters_.connected;
    op.connected = &s;
    return op.complete();
  }
  close_descriptor(s.fd);
  free_stream(s);
  op.complete(error_of(result));
}

}  // namespace weir::detail

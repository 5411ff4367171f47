// See listener_groups.hpp.
#include "runtime/transport/kernel/listener_groups.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "weir/shard.hpp"

namespace weir::detail::kernel {

result<unique_fd> listener_groups::share(const endpoint& local,
                                         const std::function<result<unique_fd>()>& open,
                                         hold& until_joined) {
  const auto held = [&](shared_socket& s) {
    ++s.holds;
    until_joined.of_ = this;
    until_joined.local_ = s.local;
  };
  std::lock_guard lock(mutex_);
  const auto found = std::find_if(sockets_.begin(), sockets_.end(),
                                  [&](const shared_socket& s) { return s.local == local; });
  if (found != sockets_.end()) {
    unique_fd copy(::fcntl(found->fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return last_error();
    held(*found);
    return copy;
  }
  auto opened = open();
  if (!opened) return opened;
  unique_fd kept(::fcntl(opened->get(), F_DUPFD_CLOEXEC, 0));
  if (!kept) return last_error();
  const auto at = local_endpoint_of(opened->get());
  sockets_.push_back({at, std::move(kept)});
  held(sockets_.back());
  return opened;
}

void listener_groups::let_go(const endpoint& local) {
  std::lock_guard lock(mutex_);
  for (auto& s : sockets_)
    if (s.local == local) --s.holds;
  close_unused(local);
}

// Locked.
void listener_groups::close_unused(const endpoint& local) {
  if (std::none_of(members_.begin(), members_.end(),
                   [&](const member& m) { return m.local == local; }))
    std::erase_if(sockets_,
                  [&](const shared_socket& s) { return s.local == local && s.holds == 0; });
}

std::uint64_t listener_groups::join(const endpoint& local, shard& owner,
                                    std::function<void(std::uint64_t, int)> adopt) {
  std::lock_guard lock(mutex_);
  members_.push_back({++last_, local, &owner, std::move(adopt)});
  return last_;
}

void listener_groups::leave(std::uint64_t number) {
  std::lock_guard lock(mutex_);
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [&](const member& m) { return m.number == number; });
  if (found == members_.end()) return;
  const auto local = found->local;
  members_.erase(found);
  close_unused(local);
}

std::size_t listener_groups::count(const endpoint& local) {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(members_.begin(), members_.end(),
                                                [&](const member& m) { return m.local == local; }));
}

bool listener_groups::give_away(const endpoint& local, int fd) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    auto& m = members_[(turn_ + i) % members_.size()];
    if (m.local != local) continue;
    turn_ = (turn_ + i + 1) % members_.size();
    // Under the lock, so that its shard is still there: it leaves before it goes.
    m.owner->post([adopt = m.adopt, number = m.number, fd] { adopt(number, fd); });
    return true;
  }
  return false;
}

std::size_t listener_groups::give_away_queue(const endpoint& local, int listening_fd) {
  {
    std::lock_guard lock(mutex_);
    if (std::none_of(members_.begin(), members_.end(),
                     [&](const member& m) { return m.local == local; }))
      return 0;
  }
  const int flags = ::fcntl(listening_fd, F_GETFL);
  if (flags < 0 || ::fcntl(listening_fd, F_SETFL, flags | O_NONBLOCK) != 0) return 0;
  constexpr int most_failures = 64;
  std::size_t given = 0;
  for (int failures = 0; failures < most_failures;) {
    unique_fd accepted(::accept4(listening_fd, nullptr, nullptr,
                                 SOCK_CLOEXEC | ((flags & O_NONBLOCK) != 0 ? SOCK_NONBLOCK : 0)));
    if (!accepted) {
      if (classify_accept_error(errno) != accept_failure::retry) return given;
      ++failures;
      continue;
    }
    if (!give_away(local, accepted.get())) {
      reset_on_close(accepted.get());
      return given;
    }
    accepted.release();
    ++given;
  }
  return given;
}

}  // namespace weir::detail::kernel

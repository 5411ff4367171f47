// What one descriptor waits for, and when the set has to be asked again.
#include "runtime/driver/asio/watched_descriptor.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <utility>

#include "runtime/driver/asio/asio_driver.hpp"

namespace weir::detail {

std::uint32_t watched_descriptor::wanted() const {
  return EPOLLIN | EPOLLRDHUP | EPOLLET | (writes_ ? EPOLLOUT : 0u);
}

std::error_code watched_descriptor::assign(int fd) {
  auto error = driver_->watched().add(fd, wanted(), *this);
  if (error == std::errc::operation_not_permitted) {
    always_ready_ = true;
    error = {};
  }
  if (!error) fd_ = fd;
  return error;
}

/// What the descriptor is at now is told, as a change is.
void watched_descriptor::ask_again() {
  if (always_ready_)
    driver_->watched().tell_soon(*this);
  else
    driver_->watched().change(fd_, wanted(), *this);
}

void watched_descriptor::wait(direction& of) {
  if (std::exchange(of.waiting, true)) return;
  of.news = false;
  ask_again();
}

void watched_descriptor::wait_on(direction& of) {
  if (of.news || always_ready_) return wait(of);
  of.waiting = true;
}

void watched_descriptor::wait_writable() {
  writes_ = true;
  wait(writing_);
}

void watched_descriptor::wait_for_room() {
  if (!writes_) return wait_writable();
  wait_on(writing_);
}

void watched_descriptor::told(std::uint32_t events) {
  constexpr std::uint32_t broken = EPOLLERR | EPOLLHUP;
  if ((events & (EPOLLRDHUP | broken)) != 0) end_told_ = true;
  const auto tell = [this](direction& of, void (watched_descriptor::*ready)()) {
    if (std::exchange(of.waiting, false))
      (this->*ready)();
    else
      of.news = true;
  };
  if (fd_ >= 0 && (events & (EPOLLIN | EPOLLRDHUP | broken)) != 0)
    tell(reading_, &watched_descriptor::readable);
  if (fd_ >= 0 && (events & (EPOLLOUT | broken)) != 0)
    tell(writing_, &watched_descriptor::writable);
}

int watched_descriptor::release() noexcept {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && !always_ready_) driver_->watched().remove(fd);
  return fd;
}

void watched_descriptor::close() noexcept {
  const int fd = release();
  if (fd < 0) return;
  driver_->count_system_call();
  ::close(fd);
}

}  // namespace weir::detail

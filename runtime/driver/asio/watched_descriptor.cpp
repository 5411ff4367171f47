// See watched_descriptor.hpp. Waits are armed in the reactor only when somebody wants them: a wait
// that nobody needs any more (its operation was cancelled) is left to end by itself and then found
// without a use.
#include "driver/asio/watched_descriptor.hpp"

#include <unistd.h>

#include "driver/asio/asio_driver.hpp"

namespace weir::detail {

watched_descriptor::watched_descriptor(asio_driver& driver)
    : driver_(&driver), descriptor_(driver.context().get_executor()) {}

std::error_code watched_descriptor::assign(int fd) {
  std::error_code error;
  driver_->count_system_call();
  descriptor_.assign(fd, error);
  if (!error) fd_ = fd;
  return error;
}

void watched_descriptor::wait_readable() {
  if (reading_.waiting) return;
  reading_.waiting = true;
  driver_->count_system_call();
  descriptor_.async_wait(asio::posix::descriptor_base::wait_read, handler(*this, true));
}

void watched_descriptor::wait_writable() {
  if (writing_.waiting) return;
  writing_.waiting = true;
  driver_->count_system_call();
  descriptor_.async_wait(asio::posix::descriptor_base::wait_write, handler(*this, false));
}

void watched_descriptor::waited(bool reads) {
  (reads ? reading_ : writing_).waiting = false;
  if (fd_ < 0) return;
  auto& driver = *driver_;
  if (reads)
    readable();
  else
    writable();
  driver.handled();
}

int watched_descriptor::release() noexcept {
  int fd = std::exchange(fd_, -1);
  if (fd >= 0) {
    driver_->count_system_call();
    descriptor_.release();
  }
  return fd;
}

void watched_descriptor::close() noexcept {
  int fd = release();
  if (fd < 0) return;
  driver_->count_system_call();
  ::close(fd);
}

}  // namespace weir::detail

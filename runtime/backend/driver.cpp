// What every driver does alike.
#include "runtime/backend/driver.hpp"

#include <sys/random.h>

#include <cerrno>

#include "runtime/backend/watch.hpp"
#include "weir/error.hpp"

namespace weir::detail {

result<std::unique_ptr<watch>> driver::watch_descriptor(int, watch_client&) {
  return std::errc::operation_not_supported;
}

result<std::unique_ptr<watch>> driver::watch_shared(int fd, watch_client& client) {
  return watch_descriptor(fd, client);
}

result<int> driver::loop_descriptor() { return std::errc::operation_not_supported; }

std::error_code driver::let_loop_call(std::function<instant()>) {
  return std::make_error_code(std::errc::operation_not_supported);
}

std::uint64_t driver::draw_seed() {
  std::uint64_t out = 0;
  // So few bytes come whole (getrandom(2)); only an early boot can interrupt it.
  while (::getrandom(&out, sizeof out, 0) != static_cast<ssize_t>(sizeof out))
    if (errno != EINTR) throw io_error({errno, std::generic_category()}, "getrandom");
  return out;
}

}  // namespace weir::detail

// The look into the page cache, and the one call that sends from there.
#include "runtime/transport/kernel/resident_bytes.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>

namespace weir::detail::kernel {
namespace {

constexpr std::uint64_t most_at_once = 256 * 1024;  // or others would wait for their turn

bool is_resident(int file, std::uint64_t offset) noexcept {
  std::byte probe;
  const iovec part{&probe, 1};
  return ::preadv2(file, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT) == 1;
}

/// Where the file ends, by what is known of it here: nobody is waited for.
std::uint64_t known_size(int file) noexcept {
  struct statx about;
  const int from = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  return ::statx(file, "", from, STATX_SIZE, &about) == 0 ? about.stx_size : 0;
}

}  // namespace

bool sigpipe_is_deadly() noexcept {
  struct sigaction action{};
  return ::sigaction(SIGPIPE, nullptr, &action) != 0 || action.sa_handler == SIG_DFL;
}

resident_sent send_resident(int socket, mode how, const file_range& range) noexcept {
  auto size = std::min(range.size, most_at_once);
  resident_sent out;
  // They probably all are, where the first and the last one are.
  ++out.calls;
  if (size == 0 || !is_resident(range.fd, range.offset)) return out;
  ++out.calls;
  if (!is_resident(range.fd, range.offset + size - 1)) {
    const auto end = known_size(range.fd);
    out.calls += 2;
    if (end <= range.offset || end - range.offset >= size) return out;
    size = end - range.offset;
    if (!is_resident(range.fd, end - 1)) return out;
  }
  const bool waits = how == mode::blocking;
  if (waits && ::fcntl(socket, F_SETFL, O_NONBLOCK) < 0) return out;
  auto at = static_cast<off_t>(range.offset);
  const auto n = ::sendfile(socket, range.fd, &at, size);
  if (waits) ::fcntl(socket, F_SETFL, 0);
  out.calls += waits ? 3 : 1;
  if (n > 0) out.bytes = static_cast<std::size_t>(n);
  return out;
}

}  // namespace weir::detail::kernel

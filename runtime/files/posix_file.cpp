// The calls that an open file is made of, and what statx(2) said in weir's words.
#include "weir/detail/posix_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/files/posix_calls.hpp"

namespace weir::detail {

using posix::last_error;
using posix::outcome;

std::error_code posix_file::read_at(std::span<std::byte> into, std::uint64_t offset,
                                    std::size_t& n) {
  for (;;) {
    const auto got = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return last_error();
    n = static_cast<std::size_t>(got);
    return {};
  }
}

bool posix_file::read_now(std::span<std::byte> into, std::uint64_t offset,
                          std::size_t& n) noexcept {
  // A large piece would hold the shard up by its copying alone.
  const iovec part{into.data(), std::min<std::size_t>(into.size(), 256 * 1024)};
  const auto got = ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  // Not in memory, or this file system cannot tell; 0 is no proof of the end (Linux 5.9, 5.10).
  if (got <= 0) return false;
  n = static_cast<std::size_t>(got);
  return true;
}

std::error_code posix_file::write_at(std::span<const std::byte> bytes, std::uint64_t offset,
                                     std::size_t& n) {
  for (n = 0; n < bytes.size();) {
    const auto put =
        ::pwrite(fd_.get(), bytes.data() + n, bytes.size() - n, static_cast<off_t>(offset + n));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return last_error();
    n += static_cast<std::size_t>(put);
  }
  return {};
}

std::error_code posix_file::append(std::span<const std::byte> bytes, std::size_t& n) {
  for (n = 0; n < bytes.size();) {
    const iovec part{const_cast<std::byte*>(bytes.data() + n), bytes.size() - n};
    const auto put = ::pwritev2(fd_.get(), &part, 1, 0, RWF_APPEND);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return last_error();
    n += static_cast<std::size_t>(put);
  }
  return {};
}

std::error_code posix_file::sync() { return outcome(::fsync(fd_.get())); }
std::error_code posix_file::resize(std::uint64_t size) {
  return outcome(::ftruncate(fd_.get(), static_cast<off_t>(size)));
}

std::error_code posix_file::status(file_status& out) {
  return posix::status_at(fd_.get(), "", AT_EMPTY_PATH, out);
}

file_status status_from(const status_memory& said) noexcept {
  const auto& s = reinterpret_cast<const struct statx&>(said);
  file_status out;
  out.type = posix::type_of(s.stx_mode);
  out.size = s.stx_size;
  out.modified_ns = s.stx_mtime.tv_sec * 1'000'000'000 + s.stx_mtime.tv_nsec;
  out.mode = s.stx_mode & 07777;
  out.device = ::makedev(s.stx_dev_major, s.stx_dev_minor);
  out.number = s.stx_ino;
  return out;
}

std::error_code posix::status_at(int fd, const char* path, int flags, file_status& out) {
  status_memory said;
  static_assert(sizeof(struct statx) <= sizeof said &&
                alignof(struct statx) <= alignof(status_memory));
  auto* const into = reinterpret_cast<struct statx*>(&said);
  if (::statx(fd, path, flags, STATX_BASIC_STATS, into) != 0) return last_error();
  out = status_from(said);
  return {};
}

}  // namespace weir::detail

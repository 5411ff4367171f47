// The machine's files: system calls that block, for the pool's threads, and what a driver that
// makes such calls itself has to know of them: the flags to open with, the words of statx(2).
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "runtime/backend/factories.hpp"
#include "weir/descriptor.hpp"
#include "weir/detail/file_system.hpp"
#include "weir/error.hpp"

namespace weir::detail {
namespace {

std::error_code last_error() { return {errno, std::generic_category()}; }
std::error_code outcome(int result) { return result == 0 ? std::error_code() : last_error(); }

file_type type_of(mode_t mode) {
  if (S_ISREG(mode)) return file_type::regular;
  if (S_ISDIR(mode)) return file_type::directory;
  return S_ISLNK(mode) ? file_type::link : file_type::other;
}

struct statx& as_statx(status_memory& memory) noexcept {
  static_assert(sizeof(struct statx) <= sizeof memory &&
                alignof(struct statx) <= alignof(status_memory));
  return reinterpret_cast<struct statx&>(memory);
}
std::error_code status_at(int fd, const char* path, int flags, file_status& out) {
  status_memory said;
  if (::statx(fd, path, flags, STATX_BASIC_STATS, &as_statx(said)) != 0) return last_error();
  out = status_from(said);
  return {};
}

class posix_file final : public file_handle {
 public:
  posix_file(unique_fd fd, bool regular) : fd_(std::move(fd)), regular_(regular) {}

  std::error_code read_at(std::span<std::byte> into, std::uint64_t offset,
                          std::size_t& n) override {
    for (;;) {
      const auto got = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return last_error();
      n = static_cast<std::size_t>(got);
      return {};
    }
  }
  bool read_now(std::span<std::byte> into, std::uint64_t offset, std::size_t& n) noexcept override {
    // A large piece would hold the shard up by its copying alone.
    const iovec part{into.data(), std::min<std::size_t>(into.size(), 256 * 1024)};
    const auto got = ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
    // Not in memory, or this file system cannot tell; 0 is no proof of the end (Linux 5.9, 5.10).
    if (got <= 0) return false;
    n = static_cast<std::size_t>(got);
    return true;
  }
  std::error_code write_at(std::span<const std::byte> bytes, std::uint64_t offset,
                           std::size_t& n) override {
    for (n = 0; n < bytes.size();) {
      const auto put =
          ::pwrite(fd_.get(), bytes.data() + n, bytes.size() - n, static_cast<off_t>(offset + n));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return last_error();
      n += static_cast<std::size_t>(put);
    }
    return {};
  }
  std::error_code append(std::span<const std::byte> bytes, std::size_t& n) override {
    for (n = 0; n < bytes.size();) {
      const iovec part{const_cast<std::byte*>(bytes.data() + n), bytes.size() - n};
      const auto put = ::pwritev2(fd_.get(), &part, 1, 0, RWF_APPEND);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return last_error();
      n += static_cast<std::size_t>(put);
    }
    return {};
  }
  std::error_code sync() override { return outcome(::fsync(fd_.get())); }
  std::error_code resize(std::uint64_t size) override {
    return outcome(::ftruncate(fd_.get(), static_cast<off_t>(size)));
  }
  std::error_code status(file_status& out) override {
    return status_at(fd_.get(), "", AT_EMPTY_PATH, out);
  }
  int native_handle() const noexcept override { return fd_.get(); }
  int callable() const noexcept override { return regular_ ? fd_.get() : -1; }

 private:
  unique_fd fd_;
  bool regular_;
};

class posix_files final : public file_system {
 public:
  std::error_code open(const std::string& path, const open_options& how,
                       std::shared_ptr<file_handle>& out) override {
    const auto flags = open_flags(how);
    if (!flags) return std::make_error_code(std::errc::invalid_argument);
    const int fd = ::open(path.c_str(), *flags, static_cast<mode_t>(how.mode));
    return fd < 0 ? last_error() : opened(fd, out);
  }
  std::optional<int> open_flags(const open_options& how) const noexcept override {
    if (!how.read && !how.write) return {};
    if ((how.create || how.truncate) && !how.write) return {};
    // Or a FIFO would wait for its other end.
    int flags = O_CLOEXEC | O_NONBLOCK;
    flags |= how.read && how.write ? O_RDWR : how.write ? O_WRONLY : O_RDONLY;
    if (how.create) flags |= O_CREAT;
    if (how.create && how.exclusive) flags |= O_EXCL;
    if (how.truncate) flags |= O_TRUNC;
    return flags;
  }
  std::error_code opened(int descriptor, std::shared_ptr<file_handle>& out) override {
    unique_fd fd(descriptor);
    // What it is never changes: no file server has to be asked.
    struct statx s;
    if (::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &s) != 0)
      return last_error();
    if (S_ISDIR(s.stx_mode)) return std::make_error_code(std::errc::is_a_directory);
    if (S_ISFIFO(s.stx_mode) || S_ISSOCK(s.stx_mode))
      return std::make_error_code(std::errc::invalid_seek);  // a stream: weir::adopt_pipe()
    const bool regular = S_ISREG(s.stx_mode);
    // io_uring would give up instead of waiting for a disk.
    if (regular && ::fcntl(fd.get(), F_SETFL, 0) != 0) return last_error();
    out = std::make_shared<posix_file>(std::move(fd), regular);
    return {};
  }
  std::error_code status(const std::string& path, file_status& out) override {
    return status_at(AT_FDCWD, path.c_str(), 0, out);
  }
  std::error_code rename(const std::string& from, const std::string& to) override {
    return outcome(::rename(from.c_str(), to.c_str()));
  }
  std::error_code remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0) return {};
    return errno == EISDIR ? outcome(::rmdir(path.c_str())) : last_error();
  }
  std::error_code make_directory(const std::string& path) override {
    return outcome(::mkdir(path.c_str(), mode_of_directories));
  }
  std::error_code list(const std::string& path, std::size_t most,
                       std::vector<directory_entry>& out) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    if (directory == nullptr) return last_error();
    for (;;) {
      errno = 0;
      const auto* entry = ::readdir(directory.get());
      if (entry == nullptr && errno != 0) return last_error();
      if (entry == nullptr) break;
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (out.size() == most) return make_error_code(error::limit_exceeded);
      out.push_back({name, type_from(directory.get(), *entry)});
    }
    std::ranges::sort(out, {}, &directory_entry::name);
    return {};
  }

 private:
  static file_type type_from(DIR* of, const dirent& entry) {
    switch (entry.d_type) {
      case DT_REG: return file_type::regular;
      case DT_DIR: return file_type::directory;
      case DT_LNK: return file_type::link;
      case DT_UNKNOWN: break;  // this file system does not tell
      default: return file_type::other;
    }
    struct stat s;
    if (::fstatat(::dirfd(of), entry.d_name, &s, AT_SYMLINK_NOFOLLOW) != 0) return file_type::other;
    return type_of(s.st_mode);
  }
};

}  // namespace

file_status status_from(const status_memory& said) noexcept {
  const auto& s = reinterpret_cast<const struct statx&>(said);
  file_status out;
  out.type = type_of(s.stx_mode);
  out.size = s.stx_size;
  out.modified_ns = s.stx_mtime.tv_sec * 1'000'000'000 + s.stx_mtime.tv_nsec;
  out.mode = s.stx_mode & 07777;
  out.device = ::makedev(s.stx_dev_major, s.stx_dev_minor);
  out.number = s.stx_ino;
  return out;
}

std::shared_ptr<file_system> make_posix_files() { return std::make_shared<posix_files>(); }

}  // namespace weir::detail

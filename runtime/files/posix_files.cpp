// The machine's files: system calls that block, for the pool's threads, and what a driver that
// makes such calls itself has to know of them: the flags to open with, and what then becomes of it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "runtime/backend/factories.hpp"
#include "runtime/files/posix_calls.hpp"
#include "weir/descriptor.hpp"
#include "weir/detail/posix_file.hpp"
#include "weir/error.hpp"

namespace weir::detail {
namespace {

using posix::last_error;
using posix::outcome;
using posix::status_at;
using posix::type_of;

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

std::shared_ptr<file_system> make_posix_files() { return std::make_shared<posix_files>(); }

}  // namespace weir::detail

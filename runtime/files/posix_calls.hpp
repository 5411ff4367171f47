// What the machine's files, open ones and paths, have in common: errors, types, statx(2).
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "weir/detail/file_system.hpp"

namespace weir::detail::posix {

inline std::error_code last_error() { return {errno, std::generic_category()}; }
inline std::error_code outcome(int result) {
  return result == 0 ? std::error_code() : last_error();
}

inline file_type type_of(mode_t mode) {
  if (S_ISREG(mode)) return file_type::regular;
  if (S_ISDIR(mode)) return file_type::directory;
  return S_ISLNK(mode) ? file_type::link : file_type::other;
}

std::error_code status_at(int fd, const char* path, int flags, file_status& out);

}  // namespace weir::detail::posix

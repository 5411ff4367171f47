// Asks getrlimit(2), whenever something was refused.
#include "runtime/backend/limits.hpp"

#include <sys/resource.h>

#include <fmt/format.h>

namespace weir::detail {
namespace {

std::string amount_of(__rlimit_resource_t which, const char* unit, rlim_t unit_size) {
  rlimit limit{};
  ::getrlimit(which, &limit);
  if (limit.rlim_cur == RLIM_INFINITY) return "not set";
  return fmt::format("{}{}", limit.rlim_cur / unit_size, unit);
}

}  // namespace

std::string limit_on_open_files() {
  return fmt::format("the limit on open files (RLIMIT_NOFILE) is {}: raise it with ulimit -n",
                     amount_of(RLIMIT_NOFILE, "", 1));
}

std::string limit_on_locked_memory() {
  return fmt::format(
      "the limit on locked memory (RLIMIT_MEMLOCK), which all rings of a user share, is {}: raise "
      "it with ulimit -l, or LimitMEMLOCK= in a unit of systemd",
      amount_of(RLIMIT_MEMLOCK, " KiB", 1024));
}

std::string limit_on_threads() {
  return fmt::format("the limit on a user's threads (RLIMIT_NPROC) is {}: raise it with ulimit -u",
                     amount_of(RLIMIT_NPROC, "", 1));
}

}  // namespace weir::detail

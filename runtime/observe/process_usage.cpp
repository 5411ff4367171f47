// The process's CPU, memory and descriptors, as the kernel tells them.
#include "runtime/observe/process_usage.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

namespace weir::detail {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

known number_in(std::string_view text) {
  std::uint64_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at == text.data()) return {};
  return value;
}

/// The least of what the control group and those above it, and the machine, allow.
known memory_limit() {
  known least;
  const auto page = ::sysconf(_SC_PAGESIZE), pages = ::sysconf(_SC_PHYS_PAGES);
  if (page > 0 && pages > 0)
    least = static_cast<std::uint64_t>(page) * static_cast<std::uint64_t>(pages);
  const auto text = text_of("/proc/self/cgroup");
  std::string group(control_group_in(text));
  while (!group.empty()) {
    if (const auto limit = number_in(text_of("/sys/fs/cgroup" + group + "/memory.max")))
      least = std::min(least.value_or(*limit), *limit);
    group.erase(group.rfind('/'));
  }
  return least;
}

}  // namespace

std::string_view control_group_in(std::string_view text) {
  constexpr std::string_view of_version_2 = "0::";
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with(of_version_2)) continue;
    line.remove_prefix(of_version_2.size());
    return line.starts_with('/') ? line : std::string_view();
  }
  return {};
}

process_usage read_process_usage() {
  process_usage out;
  const auto sizes = text_of("/proc/self/statm");
  const auto second = sizes.find(' ');
  if (second != std::string::npos)
    if (const auto pages = number_in(std::string_view(sizes).substr(second + 1)))
      out.resident = *pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  out.memory_limit = memory_limit();
  struct stat opened{};
  if (::stat("/proc/self/fd", &opened) == 0 && opened.st_size > 0)
    out.descriptors = static_cast<std::uint64_t>(opened.st_size);
  rlimit most{};
  if (::getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur != RLIM_INFINITY)
    out.descriptors_limit = most.rlim_cur;
  timespec used{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0) {
    constexpr std::uint64_t second_ns = 1'000'000'000;
    out.cpu_ns = static_cast<std::uint64_t>(used.tv_sec) * second_ns +
                 static_cast<std::uint64_t>(used.tv_nsec);
  }
  return out;
}

}  // namespace weir::detail

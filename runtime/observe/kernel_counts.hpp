// What the kernel counts of listening sockets, for all of a network namespace together: it does not
// say which listener overflowed. From /proc/net/netstat.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace weir::detail {

struct kernel_count {
  std::string_view name;  ///< ours: "listen_overflows"; static
  std::string_view help;  ///< static
  std::uint64_t value = 0;
};

/// Those of the counts that a text in the form of /proc/net/netstat has. Whatever the text.
std::vector<kernel_count> parse_kernel_counts(std::string_view text);
/// Of the network that the process's first thread is in; nothing where /proc does not tell.
std::vector<kernel_count> read_kernel_counts();

}  // namespace weir::detail

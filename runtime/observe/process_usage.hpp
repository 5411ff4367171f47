// What the process has of the machine's memory and descriptors, and how much it may have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/observe/snapshot.hpp"

namespace weir::detail {

struct process_usage {
  known resident, memory_limit;  ///< bytes; the limit is the control group's, else the machine's
  known descriptors, descriptors_limit;
  known cpu_ns;
};

/// Absent is what /proc does not tell: descriptors are counted by Linux 6.2 and later.
process_usage read_process_usage();

/// The group's path in a text in the form of /proc/self/cgroup (version 2); empty: none.
std::string_view control_group_in(std::string_view text);

}  // namespace weir::detail

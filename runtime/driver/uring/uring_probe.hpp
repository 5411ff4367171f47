// What the running kernel's io_uring can do, found out on a real ring: version numbers lie (vendors
// backport, containers forbid). Opens a ring, runs a no-op through it, closes it; keeps nothing.
#pragma once

#include <string>

#include "runtime/driver/uring/ring_rules.hpp"

namespace weir::detail {

/// Sets up `ring` with the best flags that this kernel and the rules permit, and fills `features`
/// in: what is there and may be used. Gives 0 or a negative errno.
int open_ring(io_uring& ring, unsigned sq_entries, unsigned cq_entries, const ring_rules& rules,
              uring_features& features);

/// Runs a no-op through the ring and waits for its completion. Gives 0 or a negative errno.
int check_ring(io_uring& ring);

/// The reason and the remedy for an error of io_uring_setup(2), one line.
std::string explain_setup_error(int error_number);

}  // namespace weir::detail

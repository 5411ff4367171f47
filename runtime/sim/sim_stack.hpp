// The settings of a simulated host's stack: its secret comes from the seed, and its device has no
// offloads.
#pragma once

#include <cstdint>

#include "runtime/transport/stack/stack_settings.hpp"

namespace weir::detail {

/// For host number `index` of a simulation with this seed.
stack_settings simulated_stack(const config& settings, std::uint64_t seed, unsigned index);

}  // namespace weir::detail

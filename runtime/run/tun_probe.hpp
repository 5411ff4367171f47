// Whether a TUN device can be had here, found out without making one.
#pragma once

#include "weir/config.hpp"
#include "weir/runtime.hpp"

namespace weir::detail {

availability probe_tun(const config& settings);

}  // namespace weir::detail

// Whether a TUN device can be had here, found out without making one.
#pragma once

#include "weir/config.hpp"
#include "weir/runtime.hpp"

namespace weir::detail {

/// `key` is what names the device: "stack.device".
availability probe_tun(const config::stack_section& stack, const std::string& key);

}  // namespace weir::detail

// The few lines that the runtime itself has to say (a task failed, descriptors ran out). One line
// each, to stderr.
#pragma once

#include <string_view>

namespace weir::detail {

void log_line(std::string_view text) noexcept;

}  // namespace weir::detail

// The few lines that the runtime itself has to say (a task failed, descriptors ran out). One line
// each, to stderr.
#pragma once

#include <string>
#include <string_view>

namespace weir::detail {

/// The text with control characters, and bytes that are no UTF-8, as \x1b: what comes from files,
/// the environment and peers must not write lines of its own, nor steer a terminal.
std::string printable(std::string_view text);

/// Makes its text printable.
void log_line(std::string_view text) noexcept;

}  // namespace weir::detail

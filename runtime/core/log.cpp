// See log.hpp.
#include "core/log.hpp"

#include <cstdio>

namespace weir::detail {

void log_line(std::string_view text) noexcept {
  std::fprintf(stderr, "weir: %.*s\n", static_cast<int>(text.size()), text.data());
}

}  // namespace weir::detail

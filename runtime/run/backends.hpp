// What run/ says to itself about back ends beyond the public interface.
#pragma once

#include <string>

#include "weir/config.hpp"

namespace weir::detail {

/// weir::resolve_backend(), which also says in `why` what became of "auto" (untouched where another
/// was named).
config resolve_backend(config settings, std::string& why);

}  // namespace weir::detail

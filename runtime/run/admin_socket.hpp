// The socket of observe.listen, opened before the process enters a private network: a socket stays
// in the network where it was made, and so can be reached from where the user sits.
#pragma once

#include <optional>

#include "observe/admin_endpoint.hpp"
#include "weir/config.hpp"

namespace weir::detail {

/// Nothing where observe.listen is off. Throws config_error; says on stderr where it listens, and
/// what is exposed when that is no loopback address.
std::optional<admin_socket> open_admin_socket(const config& settings);

}  // namespace weir::detail

// The socket of observe.listen, opened before the process enters a private network: a socket stays
// in the network where it was made, and so can be reached from where the user sits.
#pragma once

#include <optional>

#include "runtime/observe/admin_endpoint.hpp"
#include "weir/config.hpp"
#include "weir/net.hpp"

namespace weir::detail {

/// Nothing where observe.listen is off, or of another network than the machine's. Throws
/// config_error; says on stderr where it listens, and what is exposed when that is no loopback
/// address.
std::optional<admin_socket> open_admin_socket(const config& settings);
/// observe.network: the endpoint's listener on a network of this shard; none where it has a thread
/// of its own, or is off. Throws config_error, io_error; says what open_admin_socket() says.
std::optional<tcp_listener> open_admin_listener(shard& on);

}  // namespace weir::detail

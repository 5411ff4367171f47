// What the outside says by ICMP of a flow's datagrams, as the host's kernel tells it.
#pragma once

#include <cstdint>
#include <optional>

#include "weir/udp.hpp"

namespace weir::gate {

/// From now on its operations fail with what routers say, too, and not only with refusals.
void hear_errors(const udp_socket& outside);
/// To be called after each such failure: the kernel keeps a list of them beside.
void forget_errors(const udp_socket& outside);
/// The longest packet that gets to the socket's remote, as far as the kernel knows.
std::optional<std::uint16_t> path_mtu(const udp_socket& outside);

}  // namespace weir::gate

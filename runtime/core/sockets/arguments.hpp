// What every back end refuses alike, judged once, before one is asked.
#pragma once

#include <system_error>

#include "weir/options.hpp"
#include "weir/stack/address.hpp"

namespace weir::detail {

/// permission_denied: a wildcard without allow_wildcard; invalid_argument: an IPv4 address in
/// IPv6's mapped form, a multicast or a broadcast address.
std::error_code check_local(const endpoint& local, bool allow_wildcard);

/// invalid_argument: what check_options() refuses, and a cork.
std::error_code check_listen(const listen_options& options);

/// address_not_available: unspecified, or port 0; invalid_argument: not one host;
/// address_family_not_supported: the local address is of the other family.
std::error_code check_connect(const endpoint& remote, const connect_options& options);

/// invalid_argument: a number that is out of its bounds.
/// check_open() is for connections that are there: operation_not_supported for what a handshake
/// tells.
std::error_code check_options(const stream_options& options);
std::error_code check_open(const stream_options& options);
std::error_code check_options(const udp_options& options);

/// operation_not_supported: what only the kernel has is asked of other sockets.
template <class Options>
std::error_code check_interface(const Options& options, const endpoint& local,
                                const endpoint& remote, bool on_kernel) {
  bool asked =
      !options.interface.empty() || local.address.zone() != 0 || remote.address.zone() != 0;
  if constexpr (requires { options.mptcp; }) asked = asked || options.mptcp;
  return asked && !on_kernel ? std::make_error_code(std::errc::operation_not_supported)
                             : std::error_code();
}

/// Of a datagram's destination, for a socket of this family: address_family_not_supported;
/// invalid_argument: not one host, or port 0. (Linux takes "any" for loopback; no other back end
/// does. A subnet's broadcast address only the back end knows.)
std::error_code check_remote(ip_family family, const endpoint& to);

}  // namespace weir::detail

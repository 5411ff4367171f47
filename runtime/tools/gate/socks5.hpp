// SOCKS 5 (RFC 1928) from the client's side, on any stream that leads to a proxy: asks for one TCP
// connection. With a name and a password by RFC 1929 where the proxy wants them. No GSSAPI, no UDP.
#pragma once

#include <string>
#include <system_error>

#include "weir/stack/address.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir::gate {

struct credentials {
  std::string user, password;  ///< at most 255 bytes each; no user: none
};

/// Asks the proxy at the other end to connect to `to`. No error: what is read and written from now
/// on is that connection's, from its first byte. Otherwise what the proxy says of the destination
/// (connection_refused, host_unreachable, network_unreachable, permission_denied, ...), or what
/// became of the stream; protocol_error where the answer is no SOCKS 5. Never throws.
task<std::error_code> socks5_connect(any_stream& proxy, const credentials& who, const endpoint& to);

}  // namespace weir::gate

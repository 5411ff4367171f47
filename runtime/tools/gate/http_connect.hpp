// CONNECT (RFC 9110 9.3.6) over HTTP/1.1, from the client's side, on any stream that leads to a
// proxy.
#pragma once

#include "runtime/tools/gate/socks5.hpp"

namespace weir::gate {

/// As socks5_connect(): what a status other than 2xx says is permission_denied (403, 407),
/// timed_out (504), host_unreachable (502, 503), else connection_refused. Never throws.
task<std::error_code> http_connect(any_stream& proxy, const credentials& who, const endpoint& to);

}  // namespace weir::gate

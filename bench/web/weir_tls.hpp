// weir's server in the comparison of TLS loops: an echo on the public headers.
#pragma once

namespace weir::bench {

/// The arguments are configuration keys.
int serve_weir_tls(int argc, char** argv);

}  // namespace weir::bench

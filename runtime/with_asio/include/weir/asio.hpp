// Where weir and standalone Asio meet: target weir::asio, the one public header that includes Asio.
// Compile with the same ASIO_ macros as weir itself (ASIO_STANDALONE, ASIO_NO_DEPRECATED: the
// target brings them).
#pragma once

#include <asio/io_context.hpp>

#include "weir/loop.hpp"

namespace weir {

/// weir::embedded_shard here(weir::on(context), settings);
inline asio_context on(asio::io_context& context) { return {&context}; }

}  // namespace weir

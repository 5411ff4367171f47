// Where weir and Asio meet: target weir::asio, the only public headers that include Asio.
// Standalone Asio; Boost's where WEIR_ASIO_BOOST is 1 (target weir::asio_boost). Compile with the
// same ASIO_ macros as weir itself (ASIO_STANDALONE, ASIO_NO_DEPRECATED: the target brings them).
//
// shard_context: a shard as an execution context. asio_stream: a stream of weir's for what is
// written for Asio's. use_await: Asio's operations in weir's coroutines. async_run(): the
// reverse. on(): a shard in an io_context.
#pragma once

#include "weir/asio/await.hpp"
#include "weir/asio/context.hpp"
#include "weir/asio/run.hpp"
#include "weir/asio/stream.hpp"

#if !WEIR_ASIO_BOOST
#include <asio/io_context.hpp>

#include "weir/loop.hpp"

namespace weir {

/// weir::embedded_shard here(weir::on(context), settings);
inline asio_context on(asio::io_context& context) { return {&context}; }

}  // namespace weir
#endif

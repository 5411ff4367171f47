// What run/ says to itself about back ends beyond the public interface.
#pragma once

#include <memory>
#include <string>

#include "weir/config.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

/// weir::resolve_backend(), which also says in `why` what became of "auto" (untouched where another
/// was named).
config resolve_backend(config settings, std::string& why);

/// make_shard() on somebody's asio::io_context: back end asio. Another one, and a build without it:
/// io_error, operation_not_supported.
std::unique_ptr<shard> make_shard_on(void* io_context, const config& settings);

}  // namespace weir::detail

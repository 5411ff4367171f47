// Options of the example programs that weir's own parser has no type for.
#pragma once

#include <cstdint>
#include <string>

#include <weir/weir.hpp>

namespace examples {

/// --max-sessions 10000: a number within bounds. `target` holds the default, which the help shows.
void number_option(weir::config_parser& parser, const std::string& option,
                   const std::string& placeholder, const std::string& help, std::uint64_t least,
                   std::uint64_t most, std::uint64_t& target);

/// --idle-timeout 30: seconds, fractions allowed; 0 = no limit, which becomes a negative duration.
void seconds_option(weir::config_parser& parser, const std::string& option, const std::string& help,
                    weir::duration& target);

}  // namespace examples

// Which server a tool asks: "127.0.0.1:9100", or as a browser has it "http://127.0.0.1:9100/".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "weir/stack/address.hpp"

namespace ss {

std::optional<std::string> address_in(std::string_view word);
/// A server that listens on every address is asked on this machine's own.
weir::endpoint reachable(weir::endpoint where);
/// To stdout, all of it.
bool print(const std::string& text);

}  // namespace ss

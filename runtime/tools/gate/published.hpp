// A port of this host that leads to one of the guest's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "weir/net.hpp"

namespace weir::gate {

/// "8080:80", "127.0.0.1:8080:80", "[::1]:8080:80/tcp", "5353:53/udp".
struct published {
  endpoint outside;
  std::uint16_t inside = 0;
  bool udp = false;

  static std::optional<published> parse(std::string_view text);
};

}  // namespace weir::gate

// Whether a descriptor that somebody else opened is what it is taken for.
#pragma once

#include <cstdint>
#include <system_error>

namespace weir::detail::kernel {

enum class adopted : std::uint8_t {
  tcp_stream,
  tcp_listener,
  udp_socket,
  unix_stream,
  unix_listener,
  unix_datagrams,
  pipe,  ///< or a character device
};

/// As weir/descriptor.hpp names the errors. Changes nothing.
std::error_code check_adopted(int fd, adopted what);

}  // namespace weir::detail::kernel

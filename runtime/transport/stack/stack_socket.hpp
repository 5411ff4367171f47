// The sockets of the stack transport, as its source files share them.
#pragma once

#include "transport/stack/stack_transport.hpp"

namespace weir::detail {

/// A connection, from the first SYN on.
struct stack_transport::stream final : socket_base {
  enum class role : std::uint8_t { unused, connecting, connected };

  role kind = role::unused;
  std::uint32_t presented = 0;  // bytes that rx_data showed; what is gone of them was read
  stack::socket_id id = stack::socket_id::none;
  // Each kind has one of these.
  union {
    connect_operation* connector = nullptr;  // connecting
    stream* next_free;                       // unused
  };
};

struct stack_transport::listener final : listener_socket {
  stack::socket_id id = stack::socket_id::none;
};

}  // namespace weir::detail

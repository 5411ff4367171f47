// One socket of the stack transport, as its two source files share it.
#pragma once

#include "transport/stack/stack_transport.hpp"

namespace weir::detail {

struct stack_transport::socket final : socket_base {
  struct accept_queue {
    accept_operation* first;
    accept_operation* last;
  };

  role kind = role::unused;
  bool shutdown_wanted : 1 = false;  // no more writes
  bool fin_waits : 1 = false;        // for the writers' queue to be empty
  std::uint32_t presented = 0;       // bytes that rx_data showed; what is gone of them was read
  stack::socket_id id = stack::socket_id::none;
  // Each kind has one of these.
  union {
    accept_queue acceptors{};      // listener
    connect_operation* connector;  // connecting
    socket* next_free;             // unused
  };
};

/// The socket of a connect that is under way, in its scratch space.
struct connect_progress {
  socket_base* socket;
};

}  // namespace weir::detail

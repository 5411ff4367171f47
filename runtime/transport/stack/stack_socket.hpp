// One socket of the stack transport, as its two source files share it.
#pragma once

#include "transport/stack/stack_transport.hpp"

namespace weir::detail {

struct stack_transport::socket final : socket_base {
  stack::socket_id id = stack::socket_id::none;
  role kind = role::unused;
  bool starved = false;          // its lending read waits for a buffer
  bool shutdown_wanted = false;  // no more writes
  bool fin_waits = false;        // for the writers' queue to be empty
  std::uint32_t presented = 0;   // bytes that rx_data showed; what is gone of them was read
  socket* next_free = nullptr;
  socket* next_starved = nullptr;
  connect_operation* connector = nullptr;
  accept_operation* first_acceptor = nullptr;
  accept_operation* last_acceptor = nullptr;
};

/// The socket of a connect that is under way, in its scratch space.
struct connect_progress {
  socket_base* socket;
};

}  // namespace weir::detail

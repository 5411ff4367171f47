// Which driver and transport a call goes to. A build with several back ends knows it when it runs:
// bound() gives back what it was given, and the calls are virtual. A build with exactly one
// (WEIR_BACKENDS names it, WEIR_BOUND says so) knows it here: bound() gives that back end's own
// classes, which are final, so that a call through them is a direct one.
//
// The one place where the core, otherwise below them, sees drivers and transports; it includes
// them where WEIR_BOUND is set and nowhere else. Owns no state.
#pragma once

#include "core/driver.hpp"
#include "weir/detail/datagram.hpp"
#include "weir/detail/transport.hpp"

#if WEIR_BOUND
#include <stdexcept>
#include <string>
#include <type_traits>
#include <typeinfo>

#if WEIR_WITH_URING
#include "transport/uring/uring_transport.hpp"
#elif WEIR_WITH_ASIO
#include "driver/asio/asio_driver.hpp"
#include "transport/asio/asio_transport.hpp"
#else
#include "driver/virtual/virtual_driver.hpp"
#include "transport/stack/stack_transport.hpp"
#endif
#endif

namespace weir::detail {

#if !WEIR_BOUND
using bound_driver = driver;
using bound_transport = transport;
using bound_datagrams = datagram_transport;

inline void check_bound(const driver&, const transport&) {}
#else
#if WEIR_WITH_URING
using bound_driver = uring_driver;
using bound_transport = uring_transport;
using bound_datagrams = uring_datagrams;
#elif WEIR_WITH_ASIO
using bound_driver = asio_driver;
using bound_transport = asio_transport;
using bound_datagrams = asio_datagrams;
#else
using bound_driver = virtual_driver;
using bound_transport = stack_transport;
using bound_datagrams = stack_datagrams;
#endif
static_assert(std::is_final_v<bound_driver> && std::is_final_v<bound_transport> &&
                  std::is_final_v<bound_datagrams>,
              "a class that may have heirs is called through its table");

/// A shard's pieces must be what its calls are bound to; whoever brings others is told so.
inline void check_bound(const driver& completions, const transport& sockets) {
  if (typeid(completions) == typeid(bound_driver) && typeid(sockets) == typeid(bound_transport))
    return;
  throw std::invalid_argument("this build's shards are bound to one back end: no driver '" +
                              std::string(completions.name()) + "', no transport '" +
                              std::string(sockets.name()) +
                              "' (add a back end to WEIR_BACKENDS to choose at run time)");
}
#endif

inline bound_driver& bound(driver& d) { return static_cast<bound_driver&>(d); }
inline bound_transport& bound(transport& t) { return static_cast<bound_transport&>(t); }
inline bound_datagrams& bound(datagram_transport& t) { return static_cast<bound_datagrams&>(t); }

}  // namespace weir::detail

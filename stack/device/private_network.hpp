// A network namespace of the process's own, in which an ordinary user may make TUN devices,
// addresses and routes without touching the machine's. Nothing is left behind when the process
// ends.
#pragma once

#include <string>
#include <system_error>

namespace weir::stack {

/// Whether a user namespace is made where none is needed: what runs in it is root there and nobody
/// elsewhere, though root started it.
enum class private_user { when_needed, always };

/// Enters a new network namespace (and, where that takes it, a new user namespace in which the
/// caller is root), with `lo` up. Must be called before the process starts a second thread. On
/// failure nothing has changed or the process is in a namespace of no use: `why` says what forbids
/// it and what to do.
std::error_code enter_private_network(std::string& why,
                                      private_user user = private_user::when_needed);

}  // namespace weir::stack

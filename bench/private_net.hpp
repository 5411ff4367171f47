// Network namespaces: a private one for the benchmark, links inside it. Never touches a namespace
// that it did not make.
#pragma once

#include <string>

#include "endpoint.hpp"

namespace weir::bench {

/// Moves this process into a fresh network namespace (as an ordinary user: into a fresh user
/// namespace first, as its root), brings `lo` up, keeps no TIME_WAIT in it, and has its kernel
/// sockets use cubic or reno: what is measured must not depend on the machine's choice. Call before
/// any thread starts. Throws std::system_error that says which step was refused.
void enter_private_network();

/// The same again for the network alone, keeping the namespace that was left: for a peer at the
/// other end of a veth pair. `ours` (in the new namespace) and `theirs` (in the old one) are
/// addresses like 198.18.2.2, in one /24.
void enter_network_behind_veth(const std::string& ours, const std::string& theirs);

/// Creates a TUN device without packet information and returns its descriptor.
int open_tun(const char* name, short extra_flags);
/// Gives `name` an IPv4 address and its netmask's length, and brings it up.
void configure_interface(const std::string& name, const std::string& address,
                         unsigned prefix_length);

/// How many packets may wait in the interface's queue before the kernel drops.
void set_queue_length(const std::string& name, int packets);

/// Raises the soft limit of open files to the hard one.
void raise_file_limit() noexcept;

}  // namespace weir::bench

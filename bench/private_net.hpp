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

/// A network namespace, held by its descriptor.
class network {
 public:
  /// The one that this thread is in.
  static network current();
  /// A fresh one, prepared as enter_private_network() prepares its own; this thread stays where it
  /// is.
  static network fresh();
  network(network&& from) noexcept : fd_(from.fd_) { from.fd_ = -1; }
  network& operator=(network&&) = delete;
  ~network();

  int fd() const noexcept { return fd_; }

 private:
  explicit network(int fd) : fd_(fd) {}
  int fd_ = -1;
};

/// Until the end of the block this thread's new sockets and children are there.
class inside {
 public:
  explicit inside(const network& there);
  ~inside();
  inside(const inside&) = delete;
  inside& operator=(const inside&) = delete;

 private:
  network before_;
};

/// One end of a veth pair: a device called `name` with an IPv4 address, in a /24.
struct link_end {
  const network& where;
  const char* name;
  const char* address;
};
void link_networks(const link_end& one, const link_end& other);

/// In this thread's network: IPv4 `destination` with a prefix of that length goes to `gateway`.
void add_route(const char* destination, unsigned prefix_length, const char* gateway);
/// This thread's network carries packets between its devices.
void allow_forwarding();

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

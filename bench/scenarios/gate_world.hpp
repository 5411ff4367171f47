// The networks of weir-bench gate: a world with the server in it; for each subject a host that is
// linked to the world, and a guest whose only way out the subject is. All of them are made here, in
// a private network, and end with the program.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "private_net.hpp"
#include "process.hpp"

namespace weir::bench {

/// One way out of a guest's network.
struct way_out {
  std::string label;
  std::string program;               ///< "": the kernel's own forwarding
  std::vector<std::string> options;  ///< before the guest's network
  bool takes_netns_option = true;  ///< as pasta and weir-gate do; slirp4netns has a plain argument
  bool steers = false;             ///< the kernel's: packets are received on the subject's core
};

/// The ways out that are compared. `bin_dir` has weir's programs.
std::vector<way_out> ways_out(const std::string& bin_dir);

/// Networks as files, by which programs find them that may not look into our /proc. Moves this
/// process into a mount namespace of its own for it.
class network_folder {
 public:
  network_folder();
  ~network_folder();
  network_folder(const network_folder&) = delete;
  network_folder& operator=(const network_folder&) = delete;
  std::string add(const network& which) const;

 private:
  std::string path_;
};

/// What all subjects share: where the server is, and the cores of the subject and of the load (-1:
/// any).
struct gate_world {
  network world = network::current();
  network_folder files{};
  std::uint16_t echo_port = 0;
  int cpu = -1, load_cpu = -1;
};

class gate_subject {
 public:
  /// `number` tells the networks of subjects apart. Throws when it does not come up; the message
  /// says why.
  gate_subject(const way_out& how, unsigned number, const gate_world& world);
  gate_subject(const gate_subject&) = delete;
  gate_subject& operator=(const gate_subject&) = delete;

  const network& guest() const noexcept { return guest_; }
  /// Where the guest finds the server.
  const std::string& world_address() const noexcept { return world_address_; }
  /// None for the kernel's forwarding.
  const server_process* process() const noexcept { return process_.get(); }

 private:
  void forward_by_kernel(const way_out& how, unsigned number, const gate_world& all);
  void start(const way_out& how, const gate_world& all);
  void wait_for_an_echo(std::uint16_t port) const;

  network host_, guest_;
  std::string world_address_;
  std::unique_ptr<server_process> process_;
};

}  // namespace weir::bench

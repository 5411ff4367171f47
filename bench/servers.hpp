// What can be measured: weir's back ends and the baselines, by name, and the command line that
// starts each one.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scenario.hpp"

namespace weir::bench {

/// One server as the user named it: `uring`, or `uring:busy_poll_us=50:pin=true`. The whole text is
/// its label. `bin=FOLDER` is no key of the server's: its program is there, of another build, say.
struct server_spec {
  std::string label;
  std::string name;
  std::vector<std::pair<std::string, std::string>> settings;
};

/// Throws std::invalid_argument that names what is wrong and what would be right.
server_spec parse_server(std::string_view text);

/// True for servers that need addresses or devices of their own, hence a private network.
bool needs_private_network(const server_spec& spec);

/// True where this server has what the scenario asks for; else `why` says what is missing.
bool serves(const server_spec& spec, scenario kind, std::string& why);

/// Waits until the network device that an earlier server of this name left behind is gone: kernels
/// take devices down after the process has ended. Throws std::runtime_error when it stays.
void wait_for_free_device(const server_spec& spec);

/// Names and one-line descriptions of all that `parse_server` takes.
std::vector<std::pair<std::string, std::string>> known_servers();

/// The command that starts the server. `bin_dir` holds weir's programs; picks a free port for those
/// on loopback.
std::vector<std::string> command_for(const server_spec& spec, const std::string& bin_dir,
                                     scenario kind = scenario::echo);

/// "127.0.0.1:4711", where nobody listens now.
std::string free_loopback_endpoint();

/// The folder that this program runs from.
std::string own_directory();

}  // namespace weir::bench

// What weir-ss prints: the endpoint's JSON as tables in the manner of ss(8). A number that the
// server's back end does not know is a "-", or is left out.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace ss {

struct selection {
  bool listening = false;  ///< -l: listeners instead of connections
  bool tcp = false;        ///< -t: TCP; so it is unless -u is said
  bool udp = false;        ///< -u: UDP sockets
  bool all = false;        ///< -a: all of them
  bool info = false;       ///< -i: a second line with TCP's numbers
  bool processes = false;  ///< -p: who holds the socket
  bool header = true;      ///< -H turns it off
};

/// Throws nlohmann::json::exception for what no admin endpoint of weir says.
std::string to_tables(const nlohmann::json& sockets, const selection& wanted);

}  // namespace ss

// Baseline: kernel TCP on both sides of a link. The raw epoll loop, moved into a network namespace
// of its own behind a veth pair: what a user-space stack on TUN is to be compared with, since
// loopback takes shortcuts that no link has.
#include <arpa/inet.h>

#include "../private_net.hpp"
#include "baselines.hpp"

namespace weir::bench {

void serve_veth_epoll(const baseline_settings& settings) {
  const std::string text = to_string(settings.where);
  const std::string ours = text.substr(0, text.rfind(':'));
  const std::string theirs = ours.substr(0, ours.rfind('.')) + ".1";
  enter_network_behind_veth(ours, theirs);
  serve_raw_epoll(settings);
}

}  // namespace weir::bench

// What a guest may reach: rules by network and port, in the order in which they were given, the
// first that matches decides. Values only, no I/O.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/stack/any_destination.hpp"

namespace weir::gate {

/// "10.0.0.0/8", "10.1.2.3", "[2001:db8::]/32:80-90", "0.0.0.0/0:25", "*", "*:25".
struct rule {
  bool allow = false;
  std::string text;  ///< as it was given
  std::vector<any_destination> where;

  static std::optional<rule> parse(std::string_view text, bool allow);
  bool matches(const endpoint& to) const;
};

/// What becomes of what a guest asks for.
struct verdict {
  enum class kind { allowed, denied, unreachable } what = kind::allowed;
  endpoint real;             ///< where it is carried to
  const rule* by = nullptr;  ///< the rule that denied it; none: it is the host's own loopback
};

struct policy {
  std::vector<rule> rules;
  bool host_loopback = false;      ///< the gateway's address stands for the host's loopback
  std::vector<endpoint> resolver;  ///< the host's: what the guest's resolver address stands for
  std::vector<ip_address> gateway, dns;  ///< of the guest's network, each family's

  /// Ports of IPv4-mapped and other disguises of the host's loopback are never reached.
  verdict judge(const endpoint& to) const;
};

}  // namespace weir::gate

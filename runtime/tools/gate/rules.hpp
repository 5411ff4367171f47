// What a guest may reach: rules by network, name and port, in the order in which they were given,
// the first that matches decides. Values only, no I/O.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/stack/any_destination.hpp"
#include "weir/stack/time.hpp"

namespace weir::gate {

class name_book;

/// "10.0.0.0/8", "10.1.2.3", "[2001:db8::]/32:80-90", "0.0.0.0/0:25", "*", "*:25"; "example.org",
/// "*.example.org:443" (what lies below it), which are about the addresses that the guest was
/// answered for these names.
struct rule {
  bool allow = false;
  std::string text;                    ///< as it was given
  std::vector<any_destination> where;  ///< of a name: any address
  std::string name = {};               ///< empty: the rule is about a network
  bool below = false;                  ///< about names below `name`, not itself

  static std::optional<rule> parse(std::string_view text, bool allow);
  bool is_about(std::string_view host_name) const;
  bool matches(const endpoint& to, const name_book& names, instant now) const;
};

/// Which addresses the guest was answered for names that rules are about.
class name_book {
 public:
  static constexpr std::size_t most = 16'384;  ///< addresses; beyond it the oldest are forgotten
  /// Who was answered may connect a little later than the answer lives.
  static constexpr duration least_lifetime = std::chrono::minutes(10);

  void note(const std::string& name, std::span<const ip_address> addresses, duration lifetime,
            instant now);
  bool answered(const ip_address& address, const rule& by, instant now) const;
  std::size_t size() const { return known_.size(); }
  std::uint64_t forgotten() const { return forgotten_; }

 private:
  struct entry {
    std::string name;
    instant until;
  };
  static constexpr std::size_t most_names = 16;  // of one address
  std::map<ip_address, std::vector<entry>> known_;
  std::uint64_t forgotten_ = 0;
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
  verdict judge(const endpoint& to, const name_book& names, instant now) const;
  /// Whether a rule is about this name.
  bool knows(std::string_view host_name) const;
  bool has_names() const;
  /// Whether this is where the guest asks for names.
  bool is_resolver(const endpoint& to) const;
};

}  // namespace weir::gate

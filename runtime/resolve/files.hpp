// The two files that say how a machine finds names: resolv.conf(5) and hosts(5). Text in, values
// out; what cannot be understood is passed over, as everybody does.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "weir/resolve.hpp"

namespace weir::detail {

/// Bounds of what is taken from them.
inline constexpr std::size_t max_servers = 8, max_search = 8;
inline constexpr std::size_t max_file = 1 << 20;  // bytes that are read

/// Adds servers, search domains and ndots.
void read_resolv_conf(std::string_view text, resolver_settings& into);

class hosts_table {
 public:
  hosts_table() = default;
  explicit hosts_table(std::string_view text);
  /// In the file's order; empty when it does not have the name.
  std::vector<ip_address> addresses(const std::string& name) const;
  std::vector<std::string> names(const ip_address& address) const;

 private:
  std::multimap<std::string, ip_address> addresses_;
  std::multimap<ip_address, std::string> names_;
};

/// The file's beginning; empty when there is none.
std::string read_small_file(const char* path);

}  // namespace weir::detail

// A line for each flow, when it is over: what asked for what, what became of it, how much it
// carried and for how long.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir::gate {

struct flow_line {
  std::string_view protocol;  ///< "tcp", "udp", "icmp"
  endpoint from, to;
  instant begun;
  std::uint64_t out = 0, in = 0;  ///< bytes, away from the guest and towards it
};

class flow_log {
 public:
  /// Where lines go: a file, "-" for stderr, or nowhere (empty). Throws config_error.
  explicit flow_log(const std::string& path);
  ~flow_log();
  flow_log(const flow_log&) = delete;
  flow_log& operator=(const flow_log&) = delete;

  /// Whether lines are written at all.
  bool wanted() const { return file_ != nullptr; }
  void over(const flow_line& flow, instant now, std::string_view how);

 private:
  std::FILE* file_ = nullptr;
};

}  // namespace weir::gate

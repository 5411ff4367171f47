// /metrics: Prometheus' text exposition format, version 0.0.4. A family is named once, with its
// HELP and TYPE, and all of its samples follow, in whatever order they were added.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/observe/collector.hpp"
#include "runtime/observe/kernel_counts.hpp"
#include "runtime/observe/process_usage.hpp"
#include "runtime/tasks/stall_watch.hpp"

namespace weir::detail {

class exposition {
 public:
  enum class kind : std::uint8_t { counter, gauge, histogram };
  using labels = std::vector<std::pair<std::string_view, std::string>>;

  void add(const std::string& name, kind what, std::string_view help, const labels& with,
           std::uint64_t value);
  void add(const std::string& name, kind what, std::string_view help, const labels& with,
           double value);
  /// `counts` are of the values up to each bound and beyond the one before; the last of those
  /// beyond all.
  void add_histogram(const std::string& name, std::string_view help, const labels& with,
                     std::span<const double> bounds, std::span<const std::uint64_t> counts,
                     double sum);
  std::string text() const;

 private:
  struct family {
    std::string name;
    std::string head;
    std::string samples;
  };
  family& family_of(const std::string& name, kind what, std::string_view help);
  static void add_line(family& to, const std::string& name, const labels& with,
                       const std::string& value);

  std::vector<family> families_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// What the endpoint knows of the process and counts of itself.
struct process_facts {
  std::string program;
  std::string version;
  std::int64_t pid = 0;
  double started = 0;  ///< seconds since 1970
  std::uint64_t requests = 0, refused_requests = 0, questions = 0;
  std::uint64_t refused_clients = 0, displaced_clients = 0;
  std::vector<kernel_count> kernel = {};  ///< of the whole network namespace
  std::vector<stall_count> stalls = {};
  duration stall_limit{};  ///< zero: nobody watches
  process_usage usage = {};
};

/// The kernel's counts are shown where a shard has kernel sockets.
std::string to_metrics(const process_snapshot& from, const process_facts& process);

}  // namespace weir::detail

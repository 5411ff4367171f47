// What the coroutines of a shard wait for, gathered piece by piece: all of them counted by place,
// and those that have waited longest one by one. As words for stderr; observe/ makes JSON of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/core/task_walk.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

struct task_told {
  bool ready = false;  ///< its wait is over; it goes on in the next turn
  wait_told wait;      ///< pointers in it are not followed any more
  chain_told chain;
  endpoint local, remote;
  instant since;
};

/// Those that wait for the same, at the same places.
struct task_group {
  task_told sample;  ///< the one that has waited longest
  std::uint64_t count = 0;
};

struct task_bounds {
  std::size_t listed = 1000;  ///< tasks one by one, those that wait longest
  duration at_least{};        ///< tasks that have waited for less are only counted in `all`
  std::size_t groups = 1000;
};

struct task_report {
  unsigned shard = 0;
  instant taken;             ///< when it was begun
  std::uint64_t all = 0;     ///< tasks
  std::uint64_t waited = 0;  ///< those for at_least
  std::uint64_t ready = 0;   ///< of these, such as go on
  std::uint64_t apart = 0;   ///< in more groups than there is room for
  std::vector<task_told> listed;
  std::vector<task_group> groups;
  duration longest_pause{};  ///< of the shard, for one piece
  unsigned pieces = 0;
};

/// Of runtime/core/shard.cpp: the time now, not that of the turn.
instant clock_of(shard& of);

/// Makes a report in pieces. On the shard's thread, outside every coroutine.
class task_reporter {
 public:
  /// Of everything on the shard; or of what is under `top` only.
  task_reporter(shard& of, const task_bounds& bounds);
  task_reporter(shard& of, cancel_state& top, const task_bounds& bounds);

  /// Goes on for some 300 us. True: it is complete.
  bool go_on();
  /// Once it is complete.
  task_report take();

 private:
  using key = std::array<const void*, 8>;
  void look_at_ready();
  void see(const wait_told& wait, bool ready);
  void count(const wait_told& wait, task_told& told);
  void list(task_told&& told);

  shard& of_;
  task_bounds bounds_;
  task_cursor cursor_;
  task_report out_;
  std::map<key, std::size_t> groups_;
};

/// The place that the program's author knows: of the first coroutine that is not weir's own.
source_at authors_place(const chain_told& chain);
/// "read_some 10.0.0.1:80", "channel send (4 of 4)".
std::string what_it_waits_for(const task_told& task);
/// "scope sessions (echo.cpp:9, 3 tasks)", "shard 0".
std::string where_it_belongs(const task_told& task, unsigned shard);
/// "12.3 s".
std::string for_people(duration d);

/// Of what is under `top`, the most first: "3 x session, echo.cpp:9: read_some, up to 12.3 s".
std::vector<std::string> lines_by_place(shard& of, cancel_state& top, std::size_t most);
std::vector<std::string> lines_by_place(const task_report& report, std::size_t most);
/// Every task with its chain.
std::vector<std::string> lines_by_task(const task_report& report, std::size_t most);

}  // namespace weir::detail

// The last events of the shards, printed when the program dies of a signal (a fault, an abort, an
// exception that nobody caught). It dies of it all the same, with the core dump that it would have.
#pragma once

#include <memory>
#include <span>
#include <vector>

namespace weir {
class shard;
}

namespace weir::detail {

class flight_recorder;

/// While it lives. A signal that the program, or a sanitizer, handles itself is left alone. Shards
/// beyond most_recorders of a process are not printed.
class crash_notes {
 public:
  static constexpr std::size_t most_recorders = 64;
  static constexpr std::size_t most_events = 20;  ///< of each shard

  explicit crash_notes(std::span<shard* const> shards);
  ~crash_notes();
  crash_notes(const crash_notes&) = delete;
  crash_notes& operator=(const crash_notes&) = delete;

 private:
  std::vector<std::shared_ptr<flight_recorder>> of_;
};

}  // namespace weir::detail

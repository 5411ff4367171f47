// When requests of an open loop are due, of one shard among several: constant, Poisson, in bursts,
// or as they were recorded. The schedule never looks at the server.
#pragma once

#include <cstddef>
#include <cstdint>

#include "load/plan.hpp"
#include "schedule.hpp"

namespace weir::load {

class arrivals_of_shard {
 public:
  arrivals_of_shard(const plan& of, unsigned shard, unsigned shards, std::int64_t start);

  /// The next instant, in ns; INT64_MAX: there is none.
  std::int64_t next() const;
  void pop();

 private:
  const plan& plan_;
  unsigned shards_;
  std::int64_t start_;
  bench::arrival_schedule schedule_;
  unsigned left_of_burst_;
  std::size_t recorded_;
};

}  // namespace weir::load

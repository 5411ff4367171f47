// See arrivals.hpp.
#include "load/arrivals.hpp"

#include <algorithm>

namespace weir::load {
namespace {

double rate_of_shard(const plan& of, unsigned shards) {
  const double bursts = of.arrivals == arrival::bursts ? of.burst : 1;
  return std::max(1e-9, of.rate / shards / bursts);
}

/// Constant arrivals of several shards interleave.
std::int64_t offset_of(const plan& of, unsigned shard) {
  return of.arrivals == arrival::poisson || of.rate <= 0
             ? 0
             : static_cast<std::int64_t>(1e9 / of.rate * shard * of.burst);
}

}  // namespace

arrivals_of_shard::arrivals_of_shard(const plan& of, unsigned shard, unsigned shards,
                                     std::int64_t start)
    : plan_(of),
      shards_(shards),
      start_(start + offset_of(of, shard)),
      schedule_(
          of.arrivals == arrival::poisson ? bench::arrivals::poisson : bench::arrivals::constant,
          rate_of_shard(of, shards), static_cast<std::uint64_t>(start_),
          of.seed * 0x9e3779b97f4a7c15u + shard),
      left_of_burst_(of.burst),
      recorded_(shard) {}

std::int64_t arrivals_of_shard::next() const {
  if (plan_.arrivals != arrival::recorded) return static_cast<std::int64_t>(schedule_.next());
  if (recorded_ >= plan_.instants.size()) return INT64_MAX;
  return start_ + static_cast<std::int64_t>(plan_.instants[recorded_]);
}

void arrivals_of_shard::pop() {
  if (plan_.arrivals == arrival::recorded) {
    recorded_ += shards_;
  } else if (plan_.arrivals == arrival::bursts && --left_of_burst_ > 0) {
    return;
  } else {
    left_of_burst_ = plan_.burst;
    schedule_.pop();
  }
}

}  // namespace weir::load

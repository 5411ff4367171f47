// The simulator's random numbers: xoshiro256** (Blackman and Vigna), seeded through splitmix64.
// Integers and one multiplication only, so that a seed means the same run everywhere.
#include <bit>

#include "weir/stack/sim.hpp"

namespace weir::sim {
namespace {

std::uint64_t splitmix64(std::uint64_t& state) {
  auto z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

}  // namespace

random_source::random_source(std::uint64_t seed) {
  for (auto& word : state_) word = splitmix64(seed);
}

random_source random_source::derived(std::uint64_t seed, std::uint64_t stream) {
  auto mixed = seed;
  auto first = splitmix64(mixed);
  std::uint64_t other = stream ^ 0xa0761d6478bd642full;
  return random_source(first ^ splitmix64(other));
}

std::uint64_t random_source::next() {
  auto out = std::rotl(state_[1] * 5, 7) * 9;
  auto shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return out;
}

std::uint64_t random_source::below(std::uint64_t bound) {
  if (bound == 0) return 0;
  // Rejecting the tail keeps it even; for the small bounds of a simulation that hardly ever
  // happens.
  auto limit = UINT64_MAX - UINT64_MAX % bound;
  for (;;) {
    auto value = next();
    if (value < limit) return value % bound;
  }
}

bool random_source::chance(double probability) {
  if (probability <= 0) return false;
  if (probability >= 1) return true;
  // 53 bits, exactly representable: no rounding that could differ between machines.
  return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
}

duration random_source::up_to(duration limit) {
  if (limit.count() <= 0) return {};
  return duration(static_cast<std::int64_t>(below(static_cast<std::uint64_t>(limit.count()) + 1)));
}

}  // namespace weir::sim

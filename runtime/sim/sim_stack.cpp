// See sim_stack.hpp.
#include "runtime/sim/sim_stack.hpp"

#include "weir/stack/sim.hpp"

namespace weir::detail {

stack_settings simulated_stack(const config& settings, std::uint64_t seed, unsigned index) {
  auto out = stack_settings_from(settings);
  out.name = "sim";
  auto secrets = sim::random_source::derived(seed, 0x7365637265740000ull + index);
  for (std::size_t i = 0; i < out.host.secret.size(); i += 8) {
    auto word = secrets.next();
    for (std::size_t k = 0; k < 8; ++k)
      out.host.secret[i + k] = static_cast<std::uint8_t>(word >> 8 * k);
  }
  return out;
}

}  // namespace weir::detail

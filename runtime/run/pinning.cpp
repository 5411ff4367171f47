// See pinning.hpp.
#include "runtime/run/pinning.hpp"

#include <pthread.h>
#include <sched.h>

#include <cstring>

#include <fmt/format.h>

#include "weir/config.hpp"

namespace weir::detail {

std::vector<int> cores_for(unsigned shards, bool dedicated_stack) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof usable, &usable) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &usable)) cores.push_back(core);
  const auto others = dedicated_stack ? std::size_t{1} : std::size_t{0};
  if (cores.size() < shards + others)
    throw config_error(fmt::format(
        "pin = true: {} shards{} need a core each, and {} can be used here; {}", shards,
        dedicated_stack ? " and the dedicated stack" : "", cores.size(),
        cores.size() > others ? fmt::format("set shards to at most {}", cores.size() - others)
                              : "set stack.placement to inline"));
  cores.resize(shards + others);
  return cores;
}

void pin_this_thread(int core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  if (int error = pthread_setaffinity_np(pthread_self(), sizeof one, &one); error != 0)
    throw config_error(fmt::format("pin = true: core {}: {}", core, std::strerror(error)));
}

}  // namespace weir::detail

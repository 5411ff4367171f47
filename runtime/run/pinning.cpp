// See pinning.hpp.
#include "run/pinning.hpp"

#include <pthread.h>
#include <sched.h>

#include <cstring>

#include <fmt/format.h>

#include "weir/config.hpp"

namespace weir::detail {

std::vector<int> cores_for(unsigned shards) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof usable, &usable) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &usable)) cores.push_back(core);
  if (cores.size() < shards)
    throw config_error(fmt::format(
        "pin = true: {} shards need a core each, and {} can be used here; set shards to at most {}",
        shards, cores.size(), cores.size()));
  cores.resize(shards);
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

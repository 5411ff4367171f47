// Which baselines this build holds, by name.
#include "baselines.hpp"

#include <fmt/core.h>

#include <stdexcept>

namespace weir::bench {
namespace {

struct row {
  std::string_view name;
  void (*serve)(const baseline_settings&);
};

constexpr row rows[] = {
    {"raw-epoll", serve_raw_epoll},
#if defined(WEIR_BENCH_URING)
    {"raw-uring", serve_raw_uring},
#endif
    {"asio-epoll", serve_asio},
#if defined(WEIR_BENCH_LIBUV)
    {"libuv", serve_libuv},
#endif
    {"veth-epoll", serve_veth_epoll}, {"tun-reflector", serve_tun_reflector},
};

}  // namespace

std::vector<std::string> baseline_names() {
  std::vector<std::string> out;
  for (const row& r : rows) out.emplace_back(r.name);
  return out;
}

void serve_baseline(std::string_view name, const baseline_settings& settings) {
  for (const row& r : rows)
    if (r.name == name) r.serve(settings);
  throw std::invalid_argument(fmt::format("this build has no baseline called `{}`", name));
}

}  // namespace weir::bench

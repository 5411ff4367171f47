// The registry of back ends: which were built in, whether they can be used here, what "auto"
// becomes, and how a shard is put together from a driver and a transport.
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/factories.hpp"
#include "runtime/backend/family.hpp"
#include "runtime/backend/limits.hpp"
#include "runtime/backend/local_transport.hpp"
#include "runtime/core/log.hpp"
#include "runtime/run/backends.hpp"
#include "runtime/run/offload_pool.hpp"
#include "runtime/run/tun_probe.hpp"
#if WEIR_WITH_STACK
#include "runtime/run/dedicated_thread.hpp"
#include "runtime/transport/stack/dedicated/dedicated_transport.hpp"
#endif
#include "runtime/backend/transport.hpp"
#include "runtime/config/keys.hpp"
#include "weir/detail/surroundings.hpp"
#include "weir/runtime.hpp"

namespace weir {
namespace {

using pieces = std::pair<std::unique_ptr<detail::driver>, std::unique_ptr<detail::transport>>;

using maker = pieces (*)(const config&, unsigned index, const detail::family_ref& family);

struct backend {
  std::string_view name;
  availability (*probe)(const config&);
  maker make;
};

/// Makes what all shards will have, at the same time, since most limits are on the process or its
/// user. What was made goes again.
availability prove(maker make, const config& settings, unsigned shards, availability probed) {
  if (!probed.usable) return probed;
  const auto family = std::make_shared<shard_family>();
  std::vector<pieces> made;
  try {
    while (made.size() < shards)
      made.push_back(make(settings, static_cast<unsigned>(made.size()), family));
  } catch (const std::system_error& error) {
    const bool files = error.code().value() == EMFILE;  // Asio has a category of its own
    return {false,
            fmt::format("{}{}{}", made.empty() ? "" : fmt::format("shard {}: ", made.size()),
                        error.what(), files ? " (" + detail::limit_on_open_files() + ")" : "")};
  }
  return probed;
}

#if WEIR_WITH_URING
pieces make_uring(const config& settings, unsigned, const detail::family_ref& family) {
  auto driver = detail::make_uring_driver(settings);
  auto transport = detail::make_uring_transport(*driver, settings, family);
  return {std::move(driver), std::move(transport)};
}
availability prove_uring(const config& settings, unsigned rings) {
  return prove(&make_uring, settings, rings, detail::probe_uring(settings));
}
availability probe_uring(const config& settings) {
  return prove_uring(settings, settings.shard_count());
}
#endif

#if WEIR_WITH_ASIO
pieces make_asio(const config& settings, unsigned, const detail::family_ref& family) {
  auto driver = detail::make_asio_driver(settings);
  auto transport = detail::make_asio_transport(*driver, settings, family);
  return {std::move(driver), std::move(transport)};
}
availability probe_asio(const config& settings) {
  return prove(&make_asio, settings, settings.shard_count(), detail::probe_asio(settings));
}
#endif

#if WEIR_WITH_STACK
using driver_maker = std::unique_ptr<detail::driver> (*)(const config&);

/// The same on every shard of a family; chosen by the first.
struct device_driver {
  std::mutex mutex;
  driver_maker make = nullptr;
};

unsigned device_drivers(const config& settings) {
  return settings.shard_count() + (settings.stack.placement == placement::dedicated ? 1 : 0);
}

/// What the device's packets go through: io_uring where there is enough of it.
driver_maker choose_device_driver(const config& settings, detail::family& inside) {
  auto& all = inside.part<device_driver>();
  std::lock_guard lock(all.mutex);
#if WEIR_WITH_URING && WEIR_WITH_ASIO
  if (all.make == nullptr) {
    const auto uring = prove_uring(settings, device_drivers(settings));
    if (!uring.usable)
      detail::log_line("backend stack: packets go through Asio (no uring: " + uring.reason + ")");
    all.make = uring.usable ? &detail::make_uring_driver : &detail::make_asio_driver;
  }
#elif WEIR_WITH_URING
  all.make = &detail::make_uring_driver;
#else
  all.make = &detail::make_asio_driver;
#endif
  return all.make;
}

/// The first shard starts the stack's thread.
pieces make_dedicated(const config& settings, detail::family& inside) {
  const auto make_driver = choose_device_driver(settings, inside);
  auto& all = inside.part<detail::dedicated_family>();
  std::lock_guard lock(all.mutex);
  if (all.stack == nullptr)
    all.stack = std::make_shared<detail::dedicated_thread>(settings, make_driver, all.core);
  return {make_driver(settings),
          std::make_unique<detail::dedicated_transport>(all.stack, settings.listen)};
}

pieces make_stack(const config& settings, unsigned index, const detail::family_ref& family) {
  if (settings.stack.placement == placement::dedicated)
    return make_dedicated(settings, family->inside());
  auto driver = choose_device_driver(settings, family->inside())(settings);
  auto transport = detail::make_stack_transport(*driver, settings, index, family);
  return {std::move(driver), std::move(transport)};
}
availability probe_stack(const config& settings) {
  auto device = detail::probe_tun(settings.stack, "stack.device");
#if !WEIR_WITH_ASIO
  if (device.usable) return prove_uring(settings, device_drivers(settings));
#endif
  return device;
}
#endif

#if WEIR_WITH_STACK && (WEIR_WITH_URING || WEIR_WITH_ASIO)
/// The machine's own sockets beside the stack's, through the same driver.
std::unique_ptr<detail::transport> make_kernel(detail::driver& driver, const config& settings,
                                               const detail::family_ref& family) {
#if WEIR_WITH_URING
  if (driver.name() == "uring") return detail::make_uring_transport(driver, settings, family);
#endif
#if WEIR_WITH_ASIO
  return detail::make_asio_transport(driver, settings, family);
#else
  return nullptr;  // there is no other driver
#endif
}
#endif

#if WEIR_WITH_SIM
availability probe_sim(const config&) { return {true, "in simulations only (weir/sim.hpp)"}; }
pieces make_sim(const config&, unsigned, const detail::family_ref&) {
  throw config_error(
      "backend = 'sim': a shard of a simulated network is made by weir::sim::network "
      "(weir/sim.hpp)");
}
#endif

// In the order of preference, which is also what "auto" tries: the two on kernel sockets.
constexpr auto registry = std::to_array<backend>({
#if WEIR_WITH_URING
    {"uring", &probe_uring, &make_uring},
#endif
#if WEIR_WITH_ASIO
    {"asio", &probe_asio, &make_asio},
#endif
#if WEIR_WITH_STACK
    {"stack", &probe_stack, &make_stack},
#endif
#if WEIR_WITH_SIM
    {"sim", &probe_sim, &make_sim},
#endif
});

const backend* find_backend(std::string_view name) {
  auto found =
      std::find_if(registry.begin(), registry.end(), [&](auto& b) { return b.name == name; });
  return found == registry.end() ? nullptr : &*found;
}

std::string not_here(std::string_view name) {
  constexpr std::string_view all[] = {"uring", "asio", "stack", "sim"};
  if (std::find(std::begin(all), std::end(all), name) == std::end(all))
    return fmt::format("there is no back end '{}' (uring, asio, stack, sim, auto)", name);
  std::string built;
  for (auto& b : registry) built += (built.empty() ? "" : ", ") + std::string(b.name);
  return fmt::format("was left out of this build, which has {}; build with it in WEIR_BACKENDS",
                     built);
}

void resolve_auto(config& settings, std::string& why) {
  std::string refused;
  for (auto* name : {"uring", "asio"}) {
    auto* candidate = find_backend(name);
    if (candidate == nullptr) continue;
    auto probed = candidate->probe(settings);
    if (probed.usable) {
      settings.backend = name;
      why = fmt::format("backend auto: {} ({})", name,
                        !refused.empty()             ? "no uring: " + refused
                        : settings.backend == "asio" ? "uring was left out of this build"
                                                     : "a real ring and a no-op succeed");
      return;
    }
    refused += (refused.empty() ? "" : "; ") + probed.reason;
  }
  throw config_error(fmt::format("backend = 'auto': no back end on kernel sockets can be used: {}",
                                 refused.empty() ? "none was built in" : refused));
}

}  // namespace

availability probe_backend(std::string_view name, const config& settings) {
  auto* found = find_backend(name);
  if (found == nullptr) return {false, not_here(name)};
  return found->probe(settings);
}

std::vector<std::string> built_backends() {
  std::vector<std::string> names;
  names.reserve(std::size(registry));
  for (auto& b : registry) names.emplace_back(b.name);
  return names;
}

namespace {

/// The stacks beside the back end's own. Whether there are any.
bool probe_networks(const config& settings) {
  bool any = false;
  for (const auto& one : settings.networks) {
    if (one.backend == "kernel" || one.name == settings.default_network) continue;
    any = true;
    const auto section = "network." + one.name;
    if (settings.backend == "sim") continue;
#if WEIR_WITH_STACK
    if (const auto probed = detail::probe_tun(one.stack, section + ".device"); !probed.usable)
      throw config_error(fmt::format("{}: {}", section, probed.reason));
#else
    throw config_error(fmt::format("{}: the stack {}", section, not_here("stack")));
#endif
  }
  return any;
}

/// Both programs must see the device.
void check_handover(const config& settings) {
  if (settings.stack.handover.empty() || !settings.stack.private_net) return;
  throw config_error(fmt::format(
      "stack.handover = '{}': with stack.private_net the next program would be in a network of its "
      "own; start both in one that is there already (unshare --user --map-root-user --net)",
      settings.stack.handover));
}

}  // namespace

config detail::resolve_backend(config given, std::string& why) {
  auto settings = with_default_network(std::move(given));
  const bool automatic = settings.backend == "auto";
  if (automatic) resolve_auto(settings, why);
  const bool other_stacks = probe_networks(settings);
  if (!settings.observe.pcap.empty() && !other_stacks &&
      (settings.backend == "uring" || settings.backend == "asio"))
    throw config_error(
        fmt::format("observe.pcap = '{}': on back end {} the kernel has the packets: use tcpdump, "
                    "or set backend to stack",
                    settings.observe.pcap, settings.backend));
  if (automatic) return settings;
  if (settings.backend == "sim")
    throw config_error(
        "backend = 'sim': a simulated network exists only inside a test, which makes it with "
        "weir::sim::network "
        "(weir/sim.hpp) and runs this server's coroutine in it; a program needs uring, asio or "
        "stack");
  if (settings.backend == "stack" && settings.stack.placement == placement::dedicated &&
      settings.stack.queues > 1)
    throw config_error(
        fmt::format("stack.queues = {}: with stack.placement = 'dedicated' one thread reads the "
                    "device, which takes one queue; leave the key out",
                    settings.stack.queues));
  if (settings.backend == "stack") check_handover(settings);
  if (auto probed = probe_backend(settings.backend, settings); !probed.usable)
    throw config_error(fmt::format("backend = '{}': {}", settings.backend, probed.reason));
  return settings;
}

config resolve_backend(config settings) {
  std::string why;
  return detail::resolve_backend(std::move(settings), why);
}

namespace {

#if WEIR_WITH_URING || WEIR_WITH_ASIO
/// The [network.NAME]s. A network of the kernel's is another name for "kernel".
void add_networks(shard& to, [[maybe_unused]] unsigned index, const config& settings,
                  [[maybe_unused]] const detail::family_ref& family) {
  for (const auto& one : settings.networks) {
    if (one.name == settings.default_network) {
      to.offer_network(one.name);
    } else if (one.backend == "kernel") {
      to.name_network(one.name, "kernel");
    } else {
#if WEIR_WITH_STACK
      to.add_network(one.name,
                     detail::make_stack_transport(to.driver(), one, settings, index, family));
#endif
    }
  }
}
#endif

std::unique_ptr<shard> assemble(std::string_view name, unsigned index, const config& settings,
                                const detail::family_ref& family, pieces of) {
  auto made = std::make_unique<shard>(index, settings, std::move(of.first), std::move(of.second));
#if WEIR_WITH_URING || WEIR_WITH_ASIO
#if WEIR_WITH_STACK
  if (name == "stack")
    made->offer_network("kernel", [&completions = made->driver(), &settings, family] {
      return make_kernel(completions, settings, family);
    });
#endif
  if (name == "uring" || name == "asio") made->offer_network("kernel");
  add_networks(*made, index, settings, family);
  std::shared_ptr locals = detail::make_watched_transport(made->driver(), settings, family);
  locals->attach(*made);
  made->around().locals = std::move(locals);
#endif
  made->around().files = detail::make_posix_files();
  made->around().file_calls = made->driver().file_calls();
  made->around().pool = family->inside().part<detail::program_pool>().of(settings);
  return made;
}

}  // namespace

std::unique_ptr<shard> make_shard(unsigned index, const config& settings,
                                  std::shared_ptr<shard_family> family) {
  auto name = settings.backend == "auto" ? resolve_backend(settings).backend : settings.backend;
  auto* found = find_backend(name);
  if (found == nullptr) throw config_error(fmt::format("backend = '{}': {}", name, not_here(name)));
  if (family == nullptr) family = std::make_shared<shard_family>();
  return assemble(name, index, settings, family, found->make(settings, index, family));
}

std::unique_ptr<shard> detail::make_shard_on(void* io_context, const config& settings) {
#if WEIR_WITH_ASIO
  if (settings.backend == "asio") {
    const auto family = std::make_shared<shard_family>();
    auto driver = make_asio_driver_on(io_context);
    auto transport = make_asio_transport(*driver, settings, family);
    return assemble("asio", 0, settings, family, {std::move(driver), std::move(transport)});
  }
#endif
  (void)io_context;
  throw io_error(std::make_error_code(std::errc::operation_not_supported),
                 "backend " + settings.backend + " in an io_context: it takes asio");
}

}  // namespace weir

// How run() gets at the back ends without knowing them: one factory and one probe for each piece,
// implemented in the piece's own folder (driver/uring, driver/asio, transport/uring,
// transport/asio, transport/stack). A factory is only called where WEIR_WITH_<NAME> says that the
// piece was built in, on the thread that will run the shard, and after the probe of its back end
// said yes. It throws config_error or io_error with one line that says what to do.
//
// A transport is made with the driver that it will use; it learns its shard through
// transport::attach().
#pragma once

#include <memory>

#include "weir/config.hpp"
#include "weir/runtime.hpp"

namespace weir::detail {
class driver;
class file_system;
class local_transport;
class transport;
using family_ref = std::shared_ptr<shard_family>;

// runtime/driver/uring, runtime/transport/uring. The probe makes a real ring and runs a no-op
// through it.
availability probe_uring(const config& settings);
std::unique_ptr<driver> make_uring_driver(const config& settings);
std::unique_ptr<transport> make_uring_transport(driver& completions, const config& settings,
                                                family_ref family = nullptr);

// runtime/driver/asio, runtime/transport/asio.
availability probe_asio(const config& settings);
std::unique_ptr<driver> make_asio_driver(const config& settings);
/// On somebody's asio::io_context, which outlives it.
std::unique_ptr<driver> make_asio_driver_on(void* io_context);
std::unique_ptr<transport> make_asio_transport(driver& completions, const config& settings,
                                               family_ref family = nullptr);

// runtime/files
std::shared_ptr<file_system> make_posix_files();

// runtime/transport/watched: Unix sockets, pipes and character devices, with either driver.
std::unique_ptr<local_transport> make_watched_transport(driver& completions, const config& settings,
                                                        family_ref family);

// runtime/transport/stack, on a TUN device; works with either driver. run/tun_probe.hpp has said
// that a device can be had, and private_net was entered where it is set. The transport of shard
// `index` opens queue `index` of settings.stack.device; that of shard 0, which is made first,
// creates and configures the device. A shard beyond stack.queues reads nothing: it writes to
// another's queue, and gets from its neighbours what is its own.
std::unique_ptr<transport> make_stack_transport(driver& completions, const config& settings,
                                                unsigned index, family_ref family = nullptr);
/// The same for a [network.NAME] on a device of its own.
std::unique_ptr<transport> make_stack_transport(driver& completions,
                                                const config::network_section& network,
                                                const config& settings, unsigned index,
                                                family_ref family);

}  // namespace weir::detail

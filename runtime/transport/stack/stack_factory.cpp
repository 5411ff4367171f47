// backend = "stack": a stack transport on a queue of a TUN device. Shard 0 makes and configures the
// device; the others, made later, add a queue each. The only place where the stack back end meets
// the system.
#include <sys/random.h>

#include <cerrno>
#include <ctime>
#include <mutex>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "device/tun_device.hpp"
#include "observe/pcapng.hpp"
#include "run/factories.hpp"
#include "transport/stack/stack_transport.hpp"
#include "weir/error.hpp"

namespace weir::detail {
namespace {

// What a transport keeps alive until it goes, in this order: its capture, then its queue of the
// device.
struct device_and_capture {
  explicit device_and_capture(stack::tun_device d) : device(std::move(d)) {}
  stack::tun_device device;
  std::unique_ptr<pcapng_file> capture;
};

void fill_secret(std::array<std::uint8_t, 32>& secret) {
  std::size_t done = 0;
  while (done < secret.size()) {
    auto n = ::getrandom(secret.data() + done, secret.size() - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw io_error({errno, std::generic_category()}, "getrandom");
    done += static_cast<std::size_t>(n);
  }
}

// From the driver's clock to the time of day.
std::int64_t wall_clock_offset_ns(instant now) {
  timespec wall{};
  ::clock_gettime(CLOCK_REALTIME, &wall);
  return std::int64_t{wall.tv_sec} * 1'000'000'000 + wall.tv_nsec - now.ns();
}

// trace.pcapng for shard 0, trace.1.pcapng for shard 1: no two threads share a file.
std::string capture_path(const std::string& path, unsigned index) {
  if (index == 0) return path;
  auto slash = path.rfind('/');
  auto dot = path.rfind('.');
  if (dot == std::string::npos || (slash != std::string::npos && dot < slash)) dot = path.size();
  return fmt::format("{}.{}{}", path.substr(0, dot), index, path.substr(dot));
}

stack::tun_device open_queue(const config& settings, unsigned index) {
  stack::tun_options how;
  how.name = settings.stack.device;
  how.mtu = settings.stack.mtu;
  how.multi_queue = settings.shard_count() > 1;
  how.checksum_offload = how.segmentation_offload = settings.stack.offload;
  // Only the shard that makes the device gives it addresses; the later ones join it.
  if (index == 0) {
    how.host_addresses = settings.stack_host_addresses();
    // Addresses of the stack that lie in none of the kernel's subnets are reached by routes of
    // their own.
    for (const auto& own : settings.stack_addresses()) {
      bool reached = false;
      for (const auto& subnet : how.host_addresses)
        reached |= subnet.address.family() == own.address.family() && subnet.contains(own.address);
      if (!reached)
        how.routes.push_back(
            {own.address, static_cast<std::uint8_t>(own.address.is_v4() ? 32 : 128)});
    }
  }
  std::string why;
  auto device = stack::tun_device::open(how, why);
  if (!device) throw config_error(fmt::format("stack.device = '{}': {}", how.name, why));
  return std::move(*device);
}

}  // namespace

std::unique_ptr<transport> make_stack_transport(driver& completions, const config& settings,
                                                unsigned index) {
  auto kept = std::make_shared<device_and_capture>(open_queue(settings, index));
  // io_uring waits in the kernel for a blocking descriptor; a reactor reads until there is nothing
  // left.
  if (auto error = kept->device.set_nonblocking(completions.name() != "uring"))
    throw io_error(error, "stack.device: " + settings.stack.device);

  auto how = stack_settings_from(settings);
  fill_secret(how.host.secret);
  how.device = kept->device.fd();
  how.host.mtu = kept->device.mtu();
  how.host.transmit_checksum_offload = kept->device.checksum_offload();
  how.host.transmit_segmentation_offload = kept->device.segmentation_offload();
  if (!settings.observe.pcap.empty()) {
    kept->capture = std::make_unique<pcapng_file>(capture_path(settings.observe.pcap, index),
                                                  wall_clock_offset_ns(completions.now()));
    how.tap = kept->capture->add_interface(fmt::format("{} shard {}", kept->device.name(), index));
  }
  how.device_owner = std::move(kept);
  return std::make_unique<stack_transport>(completions, std::move(how));
}

}  // namespace weir::detail

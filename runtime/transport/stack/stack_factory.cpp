// backend = "stack": a stack transport on a queue of a TUN device. Shard 0 makes and configures the
// device; the others, made later, add a queue each. The only place where the stack back end meets
// the system.
#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/backend/factories.hpp"
#include "runtime/backend/family.hpp"
#include "runtime/observe/pcapng.hpp"
#include "runtime/transport/stack/handover/device_handover.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "stack/device/tun_device.hpp"
#include "weir/error.hpp"

namespace weir::detail {
namespace {

// What a transport keeps alive until it goes, in this order: its capture, then its queue of the
// device.
struct device_and_capture {
  family_ref all;
  std::shared_ptr<stack::tun_device> device;
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

// trace.pcapng with a mark: trace.1.pcapng for shard 1, trace.lan.pcapng for [network.lan]. No two
// transports share a file.
std::string marked(const std::string& path, std::string_view mark) {
  auto slash = path.rfind('/');
  auto dot = path.rfind('.');
  if (dot == std::string::npos || (slash != std::string::npos && dot < slash)) dot = path.size();
  return fmt::format("{}.{}{}", path.substr(0, dot), mark, path.substr(dot));
}
std::string capture_path(const std::string& path, unsigned index) {
  return index == 0 ? path : marked(path, std::to_string(index));
}

/// How many shards read the device.
unsigned queues_of(const config& settings) {
  const auto shards = settings.shard_count();
  return settings.stack.queues == 0 ? shards : std::min(settings.stack.queues, shards);
}

stack::tun_device open_queue(const config& settings, unsigned index) {
  stack::tun_options how;
  how.name = settings.stack.device;
  how.mtu = settings.stack.mtu;
  const auto link = settings.stack.link;
  if (link == device_link::ethernet) how.kind = stack::device_kind::ethernet;
  how.multi_queue = queues_of(settings) > 1;
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
    how.routes.insert(how.routes.end(), settings.stack.route.begin(), settings.stack.route.end());
  }
  std::string why;
  auto device = stack::tun_device::open(how, why);
  if (!device) throw config_error(fmt::format("stack.device = '{}': {}", how.name, why));
  if (link != device_link::as_device && device->kind() != how.kind)
    throw config_error(fmt::format(
        "stack.link = '{}': the device '{}' is there already and carries {}; set stack.link = "
        "'auto', or give another stack.device",
        link == device_link::ip ? "ip" : "ethernet", how.name,
        link == device_link::ip ? "Ethernet frames (TAP)" : "IP packets (TUN)"));
  return std::move(*device);
}

/// The stack's end of an Ethernet link. The kernel's end is the router to everybody else.
stack::link_options link_of(const config& settings) {
  stack::link_options out;
  out.addresses = settings.stack_addresses();
  out.mac = stack::mac_for(out.addresses.front().address);
  for (const auto& each : settings.stack_host_addresses()) {
    auto& router = each.address.is_v4() ? out.router_v4 : out.router_v6;
    if (!router) router = each.address;
  }
  return out;
}

/// What the shards of one device share. They join one after the other.
struct device_family {
  std::shared_ptr<stack::shard_set> shards;
  std::vector<std::weak_ptr<stack::tun_device>> queues;  ///< that were opened, each its shard's
  std::array<std::uint8_t, 32> secret{};                 ///< of all
  // Of a device that goes from program to program.
  std::weak_ptr<device_handover> handover;
  std::shared_ptr<device_handover> made;     ///< the same, until the first transport has it
  std::vector<stack::tun_device> inherited;  ///< from the program before, queue by queue
};
struct device_families {
  std::mutex mutex;
  std::map<std::string, device_family> by_device;
};

/// What two programs must agree on for one to take the device over from the other.
device_facts facts_of(const config& settings) {
  std::vector<std::string> addresses;
  for (const auto& each : settings.stack_addresses()) addresses.push_back(each.to_string());
  std::ranges::sort(addresses);
  device_facts out;
  out.agreed = {{"stack.device", settings.stack.device},
                {"stack.address", fmt::format("{}", fmt::join(addresses, ","))},
                {"stack.mtu", std::to_string(settings.stack.mtu)},
                {"stack.offload", settings.stack.offload ? "true" : "false"}};
  out.queues = queues_of(settings);
  return out;
}

unique_fd copy_of(int descriptor) {
  unique_fd out(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!out) throw io_error({errno, std::generic_category()}, "stack.handover");
  return out;
}

/// Takes the device over from the program that has it, if one runs: `all` has its queues then, and
/// its secret, so that sequence numbers and timestamps go on.
void take_over(device_family& all, const unix_endpoint& at, const config& settings) {
  auto facts = facts_of(settings);
  auto before = take_device(at, facts);
  if (!before) return;
  all.secret = before->facts.secret;
  std::string why;
  for (const auto& queue : before->queues) {
    auto device = stack::tun_device::adopt(stack::descriptor(copy_of(queue.device.get()).release()),
                                           before->facts.checksum_offload,
                                           before->facts.segmentation_offload, why);
    if (!device) throw config_error(fmt::format("stack.handover = '{}': {}", at.to_string(), why));
    all.inherited.push_back(std::move(*device));
  }
  all.made = std::make_shared<device_handover>(std::move(before->place), before->facts);
  for (auto& queue : before->queues) all.made->add(std::move(queue));
}

/// Of a device that this program opened: from now on the next one may ask for it.
std::shared_ptr<device_handover> offer_device(const unix_endpoint& at, const config& settings,
                                              const stack::tun_device& device,
                                              const std::array<std::uint8_t, 32>& secret) {
  auto facts = facts_of(settings);
  facts.secret = secret;
  facts.checksum_offload = device.checksum_offload();
  facts.segmentation_offload = device.segmentation_offload();
  return std::make_shared<device_handover>(open_asking_place(at), std::move(facts));
}

/// For a shard beyond the last queue: another shard's, to write to.
stack::tun_device borrow_queue(const device_family& all, unsigned index) {
  std::string why = "the shard whose queue this one writes to has gone";
  if (const auto queue = all.queues[index % all.queues.size()].lock())
    if (auto device = queue->duplicate(why)) return std::move(*device);
  throw config_error(why);
}

/// Its queue of the device: of the program before, or opened here.
stack::tun_device own_queue(device_family& all, const config& settings, unsigned index) {
  const auto queue = all.queues.size();
  return queue < all.inherited.size() ? std::move(all.inherited[queue])
                                      : open_queue(settings, index);
}

/// What the transport has of the handing over.
void join_handover(device_family& all, const config& settings, stack_settings& how,
                   const stack::tun_device& device) {
  const auto at = unix_endpoint::parse(settings.stack.handover);
  if (!at) return;
  if (device.kind() == stack::device_kind::ethernet)
    throw config_error(fmt::format(
        "stack.handover = '{}': the device '{}' is a TAP device, which cannot be handed "
        "over; give a TUN device, or leave the key out",
        at->to_string(), device.name()));
  const bool first = all.queues.size() == 1 && !how.writes_only;
  if (first && all.made == nullptr) all.made = offer_device(*at, settings, device, all.secret);
  how.handover = first ? std::move(all.made) : all.handover.lock();
  auto& handover = static_cast<device_handover&>(*how.handover);
  if (first) all.handover = std::static_pointer_cast<device_handover>(how.handover);
  how.queue = static_cast<unsigned>(how.writes_only ? how.shard % all.queues.size()
                                                    : all.queues.size() - 1);
  if (!how.writes_only && all.inherited.empty()) handover.add({copy_of(device.fd()), {}});
  if (auto links = handover.links_of(how.queue); !links.empty())
    how.predecessors = std::make_unique<predecessor_links>(std::move(links));
}

}  // namespace

std::unique_ptr<transport> make_stack_transport(driver& completions, const config& settings,
                                                unsigned index, family_ref family) {
  auto how = stack_settings_from(settings);
  auto kept = std::make_shared<device_and_capture>();
  kept->all = family != nullptr ? std::move(family) : std::make_shared<shard_family>();
  auto& families = kept->all->inside().part<device_families>();
  std::lock_guard lock(families.mutex);
  auto& all = families.by_device[settings.stack.device];
  if (all.queues.empty()) {
    fill_secret(all.secret);
    if (const auto at = unix_endpoint::parse(settings.stack.handover))
      take_over(all, *at, settings);
  }
  how.host.secret = all.secret;
  if (const auto shards = settings.shard_count(); shards > 1) {
    if (shards > stack::shard_set::max_shards)
      throw config_error(fmt::format("shards = {}: one device serves at most {}", shards,
                                     stack::shard_set::max_shards));
    if (all.shards == nullptr)
      all.shards = std::make_shared<stack::shard_set>(shards, how.host.secret);
    how.shards = all.shards;
    how.shard = index;
  }
  how.writes_only = all.queues.size() >= queues_of(settings);
  kept->device = std::make_shared<stack::tun_device>(
      how.writes_only ? borrow_queue(all, index) : own_queue(all, settings, index));
  if (!how.writes_only) all.queues.push_back(kept->device);
  auto& device = *kept->device;
  if (device.kind() == stack::device_kind::ethernet) {
    if (settings.shard_count() > 1)
      throw config_error(
          fmt::format("stack.device = '{}': it is a TAP device, which one shard can have; set "
                      "shards = 1, or give a TUN device",
                      device.name()));
    how.link = link_of(settings);
  }
  join_handover(all, settings, how, device);
  how.device = device.fd();
  how.host.mtu = device.mtu();
  how.host.transmit_checksum_offload = device.checksum_offload();
  how.host.transmit_segmentation_offload = device.segmentation_offload();
  if (!settings.observe.pcap.empty()) {
    kept->capture = std::make_unique<pcapng_file>(capture_path(settings.observe.pcap, index),
                                                  wall_clock_offset_ns(completions.now()));
    how.tap = kept->capture->add_interface(fmt::format("{} shard {}", device.name(), index));
  }
  how.device_owner = std::move(kept);
  return std::make_unique<stack_transport>(completions, std::move(how));
}

std::unique_ptr<transport> make_stack_transport(driver& completions,
                                                const config::network_section& network,
                                                const config& settings, unsigned index,
                                                family_ref family) {
  auto own = settings;
  own.stack = network.stack;
  if (!own.observe.pcap.empty()) own.observe.pcap = marked(own.observe.pcap, network.name);
  return make_stack_transport(completions, own, index, std::move(family));
}

}  // namespace weir::detail

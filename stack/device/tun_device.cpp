// Linux's TUN and TAP (Documentation/networking/tuntap.rst).
#include "stack/device/tun_device.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "stack/device/netlink.hpp"
#include "stack/device/vnet_header.hpp"

namespace weir::stack {
namespace {

constexpr const char* clone_device = "/dev/net/tun";
constexpr std::uint16_t least_mtu_v4 = 68;
constexpr std::uint16_t least_mtu_v6 = 1280;

std::error_code last_error() { return {errno, std::system_category()}; }

std::error_code refuse(std::errc code, std::string& why, std::string text) {
  why = std::move(text);
  return std::make_error_code(code);
}

std::error_code check(const tun_options& options, std::string& why) {
  const auto& name = options.name;
  auto quoted = "TUN device '" + name + "': ";
  if (name.empty())
    return refuse(std::errc::invalid_argument, why, "TUN device: its name is empty");
  if (name.size() >= IFNAMSIZ)
    return refuse(std::errc::invalid_argument, why,
                  quoted + "the name has " + std::to_string(name.size()) +
                      " characters; a network device's may have at most 15");
  bool odd = std::any_of(name.begin(), name.end(), [](unsigned char c) {
    return c == '/' || c == ':' || c == '%' || std::isspace(c) || !std::isprint(c);
  });
  if (odd || name == "." || name == "..")
    return refuse(std::errc::invalid_argument, why,
                  quoted + "a device's name has no space, '/', ':' or '%' in it");
  bool v6 = false;
  for (const auto& address : options.host_addresses) {
    v6 = v6 || address.address.is_v6();
    if (address.address.is_unspecified() || address.address.is_multicast() ||
        address.address.is_loopback() || address.broadcast() == address.address)
      return refuse(std::errc::invalid_argument, why,
                    quoted + address.to_string() + " cannot be the address of a device");
  }
  auto least = v6 ? least_mtu_v6 : least_mtu_v4;
  if (options.mtu < least)
    return refuse(std::errc::invalid_argument, why,
                  quoted + "an MTU of " + std::to_string(options.mtu) +
                      " is under the least that " + (v6 ? "IPv6" : "IPv4") + " allows, " +
                      std::to_string(least));
  return {};
}

std::string explain_open(std::error_code error) {
  std::string text = std::string("cannot open ") + clone_device + " (" + error.message() + "): ";
  if (error == std::errc::permission_denied || error == std::errc::operation_not_permitted)
    return text +
           "it should be readable and writable for all, as udev makes it; as root: chmod 0666 " +
           clone_device;
  if (error == std::errc::no_such_file_or_directory || error == std::errc::no_such_device ||
      error == std::errc::no_such_device_or_address)
    return text +
           "load the module (modprobe tun), or give the container the device (docker run "
           "--device " +
           clone_device + ")";
  return text + "the stack needs a TUN device; use another back end";
}

std::string explain_attach(const std::string& name, bool existed, std::error_code error) {
  auto text = "cannot use TUN device '" + name + "' (" + error.message() + "): ";
  if (error == std::errc::operation_not_permitted || error == std::errc::permission_denied) {
    if (existed) return text + "it belongs to another user";
    return text +
           "making one takes CAP_NET_ADMIN: set stack.private_net = true, run as root, or have it "
           "made with 'ip "
           "tuntap add dev " +
           name + " mode tun user $USER'";
  }
  if (error == std::errc::device_or_resource_busy) return text + "another process has it open";
  if (error == std::errc::invalid_argument && existed)
    return text +
           "a device of that name exists and is no TUN device, or has another number of queues";
  return text + "choose another name, or another back end";
}

// The kernel finishes IPv6 addresses in a worker of its own, in about a millisecond. Packets that
// came before would be lost, so this waits for it; should it never happen, the device is used all
// the same.
void wait_until_local(netlink& routes, const std::vector<ip_prefix>& addresses) {
  constexpr int most_tries = 1000;
  constexpr timespec pause{0, 1'000'000};
  for (const auto& address : addresses)
    for (int i = 0; i < most_tries && !routes.is_local(address.address); ++i)
      ::nanosleep(&pause, nullptr);
}

}  // namespace

std::error_code tun_device::attach(const tun_options& options, std::string& why) {
  file_ = descriptor(::open(clone_device, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!file_) {
    auto error = last_error();
    why = explain_open(error);
    return error;
  }
  bool existed = ::if_nametoindex(options.name.c_str()) != 0;
  const auto other = options.kind == device_kind::ip ? device_kind::ethernet : device_kind::ip;
  // A device that exists is what it is, and says EINVAL to who takes it for the other kind.
  if (!attach_as(options.kind, options) &&
      !(existed && errno == EINVAL && attach_as(other, options))) {
    auto error = last_error();
    why = explain_attach(options.name, existed, error);
    return error;
  }
  index_ = static_cast<int>(::if_nametoindex(name_.c_str()));
  multi_queue_ = options.multi_queue;
  created_ = !existed;
  checksum_offload_ = options.checksum_offload;
  segmentation_offload_ = options.segmentation_offload && options.checksum_offload;
  return negotiate(why);
}

// False: errno says why.
bool tun_device::attach_as(device_kind kind, const tun_options& options) {
  ifreq request{};
  std::memcpy(request.ifr_name, options.name.data(), options.name.size());
  request.ifr_flags =
      static_cast<short>((kind == device_kind::ip ? IFF_TUN : IFF_TAP) | IFF_NO_PI | IFF_VNET_HDR |
                         (options.multi_queue ? IFF_MULTI_QUEUE : 0));
  if (::ioctl(file_.get(), TUNSETIFF, &request) != 0) return false;
  kind_ = kind;
  name_ = request.ifr_name;
  return true;
}

// The kernel refuses the whole set for one unknown bit: tried downwards.
std::error_code tun_device::negotiate(std::string& why) {
  int header_size = static_cast<int>(vnet_header_size);
  if (::ioctl(file_.get(), TUNSETVNETHDRSZ, &header_size) != 0) {
    auto error = last_error();
    why = "TUN device '" + name_ + "': the kernel offers no packet headers of 10 bytes (" +
          error.message() + ")";
    return error;
  }
  constexpr unsigned long segmentation = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (segmentation_offload_ &&
      (::ioctl(file_.get(), TUNSETOFFLOAD, segmentation | TUN_F_TSO_ECN) == 0 ||
       ::ioctl(file_.get(), TUNSETOFFLOAD, segmentation) == 0))
    return {};
  segmentation_offload_ = false;
  if (checksum_offload_ && ::ioctl(file_.get(), TUNSETOFFLOAD, TUN_F_CSUM) == 0) return {};
  checksum_offload_ = false;
  if (::ioctl(file_.get(), TUNSETOFFLOAD, 0ul) == 0) return {};
  auto error = last_error();
  why = "TUN device '" + name_ + "': offloads cannot be switched off (" + error.message() + ")";
  return error;
}

std::error_code tun_device::configure(const tun_options& options, std::string& why) {
  netlink routes;
  auto failed = [&](std::error_code error, const std::string& what) {
    why = "TUN device '" + name_ + "': cannot " + what + " (" + error.message() + ")";
    return error;
  };
  if (routes.error()) return failed(routes.error(), "open a routing socket");
  if (created_) {
    if (auto error = routes.set_link(index_, options.mtu, options.queue_length))
      return failed(error, "set its MTU and queue length");
    // Older kernels know no such mode: the link then has one address more, which does no harm. On
    // Ethernet neighbour discovery needs it.
    if (kind_ == device_kind::ip) (void)routes.no_generated_addresses(index_);
    for (const auto& address : options.host_addresses)
      if (auto error = routes.add_address(index_, address)) {
        auto hint =
            address.address.is_v6() ? std::string("; is IPv6 switched off here?") : std::string();
        return failed(error, "give it the address " + address.to_string() + hint);
      }
  }
  auto state = routes.query(index_);
  if (!state) return failed(std::make_error_code(std::errc::no_such_device), "ask for its state");
  if (!state->up)
    if (auto error = routes.set_up(index_))
      return failed(error, "bring it up; as root: ip link set " + name_ + " up");
  if (created_)
    for (const auto& route : options.routes)
      if (auto error = routes.add_route(
              index_, route, route.address.is_v4() ? options.router_v4 : options.router_v6))
        return failed(error, "add a route to " + route.to_string());
  if (created_) wait_until_local(routes, options.host_addresses);
  mtu_ = state->mtu;
  return {};
}

result<tun_device> tun_device::open(const tun_options& options, std::string& why) {
  if (auto error = check(options, why)) return error;
  tun_device device;
  if (auto error = device.attach(options, why)) return error;
  if (auto error = device.configure(options, why)) return error;
  return device;
}

result<tun_device> tun_device::adopt(descriptor queue, bool checksum_offload,
                                     bool segmentation_offload, std::string& why) {
  ifreq about{};
  if (::ioctl(queue.get(), TUNGETIFF, &about) != 0)
    return refuse(std::errc::no_such_device, why, "what was handed over is no TUN device");
  tun_device device;
  device.file_ = std::move(queue);
  device.name_ = about.ifr_name;
  device.kind_ = (about.ifr_flags & IFF_TAP) != 0 ? device_kind::ethernet : device_kind::ip;
  device.multi_queue_ = (about.ifr_flags & IFF_MULTI_QUEUE) != 0;
  device.checksum_offload_ = checksum_offload;
  device.segmentation_offload_ = segmentation_offload;
  device.index_ = static_cast<int>(::if_nametoindex(device.name_.c_str()));
  netlink routes;
  const auto state = routes.query(device.index_);
  if (!state)
    return refuse(std::errc::no_such_device, why,
                  "TUN device '" + device.name_ +
                      "' is not in this network namespace, from which it was handed over");
  device.mtu_ = state->mtu;
  return device;
}

result<tun_device> tun_device::another_queue(std::string& why) const {
  if (!multi_queue_) {
    return refuse(std::errc::operation_not_supported, why,
                  "TUN device '" + name_ + "': it was opened with a single queue");
  }
  tun_options options;
  options.name = name_;
  options.multi_queue = true;
  options.kind = kind_;
  options.checksum_offload = checksum_offload_;
  options.segmentation_offload = segmentation_offload_;
  tun_device queue;
  if (auto error = queue.attach(options, why)) return error;
  queue.mtu_ = mtu_;
  queue.created_ = created_;
  return queue;
}

result<tun_device> tun_device::duplicate(std::string& why) const {
  tun_device same;
  same.file_ = descriptor(::fcntl(fd(), F_DUPFD_CLOEXEC, 0));
  if (!same.file_) {
    auto error = last_error();
    why = "TUN device '" + name_ + "': no descriptor for another writer (" + error.message() + ")";
    return error;
  }
  same.name_ = name_;
  same.index_ = index_;
  same.kind_ = kind_;
  same.mtu_ = mtu_;
  same.multi_queue_ = multi_queue_;
  same.created_ = created_;
  same.checksum_offload_ = checksum_offload_;
  same.segmentation_offload_ = segmentation_offload_;
  return same;
}

std::optional<std::uint64_t> tun_device::kernel_drops() const {
  netlink routes;
  auto state = routes.query(index_);
  if (!state) return std::nullopt;
  return state->dropped;
}

}  // namespace weir::stack

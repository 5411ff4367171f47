// Looks at what the stack's device needs: /dev/net/tun, and either a device that exists or the
// right to make one. It makes no device: that would be seen by everybody in the network namespace.
#include "runtime/run/tun_probe.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace weir::detail {
namespace {

constexpr const char* device_file = "/dev/net/tun";

std::string why_not_opened(int error) {
  if (error == ENOENT || error == ENODEV || error == ENXIO)
    return fmt::format(
        "{}: {}: load the kernel's module (modprobe tun), or give the container its device "
        "(--device {})",
        device_file, std::strerror(error), device_file);
  if (error != EACCES && error != EPERM)
    return fmt::format("{}: {}", device_file, std::strerror(error));
  struct stat about{};
  auto mode = ::stat(device_file, &about) == 0
                  ? fmt::format(" (its mode is {:04o})", about.st_mode & 07777)
                  : "";
  return fmt::format(
      "{}: {}{}: run as root, or let every user open it as udev does (chmod 0666 {}); opening it "
      "gives no "
      "right over the machine's network",
      device_file, std::strerror(error), mode, device_file);
}

bool may_administer_network() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  return (data[0].effective >> CAP_NET_ADMIN & 1u) != 0;
}

}  // namespace

availability probe_tun(const config::stack_section& stack, const std::string& key) {
  int file = ::open(device_file, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return {false, why_not_opened(errno)};
  ::close(file);

  auto& device = stack.device;
  if (::if_nametoindex(device.c_str()) != 0) {
    auto flags = "/sys/class/net/" + device + "/tun_flags";
    // In a network namespace of one's own /sys still shows the old one's devices: only a clear
    // answer counts.
    struct stat about{};
    if (::stat(("/sys/class/net/" + device).c_str(), &about) == 0 &&
        ::stat(flags.c_str(), &about) != 0)
      return {false,
              fmt::format("{} exists and is not a TUN device: choose another {}", device, key)};
    return {true, fmt::format("device {} exists", device)};
  }
  if (may_administer_network()) return {true, fmt::format("device {} can be made", device)};
  return {
      false,
      fmt::format("device {} does not exist, and making it needs CAP_NET_ADMIN: set "
                  "stack.private_net (a network "
                  "namespace of its own needs no root), run as root, or let root make the device: "
                  "ip tuntap add dev {} mode tun vnet_hdr user {}",
                  device, device, ::getuid())};
}

}  // namespace weir::detail

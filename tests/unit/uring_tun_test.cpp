// The packet port on a real TUN device, in a network namespace of this program's own: what the
// kernel routes there arrives, and what is sent there reaches the kernel's sockets.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "support/refused_calls.hpp"
#include "uring_world.hpp"

using namespace std::chrono_literals;
using weir::detail::packet_receiver;
using weir::detail::uring_driver;

namespace {

constexpr std::size_t net_header = 10;  // virtio_net_hdr

/// Enters a network namespace of our own; false, with the reason said, where that is forbidden.
bool enter_namespace() {
  if (::unshare(CLONE_NEWNET) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) return true;
  std::printf("SKIPPED: no network namespace of our own: %s\n", std::strerror(errno));
  return false;
}

/// A TUN device that is up as 198.18.0.1/24; -1, with the reason said, where that is forbidden.
int open_device() {
  int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  ifreq request{};
  std::strcpy(request.ifr_name, "port0");
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (fd < 0 || ::ioctl(fd, TUNSETIFF, &request) != 0) {
    std::printf("SKIPPED: /dev/net/tun: %s\n", std::strerror(errno));
    if (fd >= 0) ::close(fd);
    return -1;
  }
  int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  auto set_address = [&](unsigned long what, const char* text) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    ::inet_pton(AF_INET, text, &address.sin_addr);
    std::memcpy(&request.ifr_addr, &address, sizeof address);
    return ::ioctl(control, what, &request) == 0;
  };
  bool up = set_address(SIOCSIFADDR, "198.18.0.1") && set_address(SIOCSIFNETMASK, "255.255.255.0");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  up = up && ::ioctl(control, SIOCSIFFLAGS, &request) == 0;
  ::close(control);
  REQUIRE(up);
  return fd;
}

std::uint16_t checksum(const void* data, std::size_t size) {
  std::uint32_t sum = 0;
  auto* bytes = static_cast<const std::uint8_t*>(data);
  for (std::size_t i = 0; i + 1 < size; i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<std::uint16_t>(~sum));
}

/// Answers each UDP datagram with itself, straight from the packet.
struct reflector : packet_receiver {
  void receive(std::span<const std::span<const std::byte>> frames) override {
    for (auto frame : frames) reflect(frame);
  }
  void reflect(std::span<const std::byte> frame) {
    if (frame.size() < net_header + sizeof(iphdr) + sizeof(udphdr)) return;
    std::vector<std::byte> packet(frame.begin() + net_header, frame.end());
    iphdr ip;
    std::memcpy(&ip, packet.data(), sizeof ip);
    if (ip.version != 4 || ip.protocol != IPPROTO_UDP) return;
    udphdr udp;
    std::memcpy(&udp, packet.data() + sizeof ip, sizeof udp);
    std::swap(ip.saddr, ip.daddr);
    std::swap(udp.source, udp.dest);
    udp.check = 0;  // none, which IPv4 permits
    ip.check = 0;
    ip.check = checksum(&ip, sizeof ip);
    std::memcpy(packet.data(), &ip, sizeof ip);
    std::memcpy(packet.data() + sizeof ip, &udp, sizeof udp);
    std::array<std::byte, net_header> header{};
    std::array<std::span<const std::byte>, 2> parts{std::span<const std::byte>(header),
                                                    std::span<const std::byte>(packet)};
    sent += port->send(parts);
    ++seen;
  }
  void device_failed(std::error_code) override { failed = true; }
  weir::detail::packet_port* port = nullptr;
  unsigned seen = 0, sent = 0;
  bool failed = false;
};

void reflect_datagrams(const uring_driver::options& options, int device) {
  uring_driver driver(options);
  reflector mirror;
  auto port = driver.open_packet_port(device, 65'550, mirror);
  REQUIRE(port);
  mirror.port = port->get();
  int user = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_port = htons(7);
  ::inet_pton(AF_INET, "198.18.0.2", &there.sin_addr);
  REQUIRE(::connect(user, reinterpret_cast<sockaddr*>(&there), sizeof there) == 0);
  for (unsigned round = 0; round < 50; ++round) {
    for (unsigned i = 0; i < 20; ++i) {
      auto text = std::to_string(round * 20 + i);
      REQUIRE(::send(user, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    }
    while (mirror.seen < (round + 1) * 20) driver.turn(weir::instant::never());
    while ((*port)->counters().frames_out < (round + 1) * 20) driver.turn(driver.now() + 10ms);
    for (unsigned i = 0; i < 20; ++i) {
      char back[32];
      auto n = ::recv(user, back, sizeof back, MSG_DONTWAIT);
      CHECK(std::string(back, n > 0 ? static_cast<std::size_t>(n) : 0) ==
            std::to_string(round * 20 + i));
    }
  }
  CHECK(mirror.sent == 1000);
  CHECK(!mirror.failed);
  ::close(user);
}

}  // namespace

TEST_CASE("datagrams_pass_a_tun_device_both_ways") {
  if (!uring_test::allowed() || !enter_namespace()) return;
  int device = open_device();
  if (device < 0) return;
  uring_driver::options oldest;
  oldest.rules = weir::detail::ring_rules::oldest();
  reflect_datagrams({}, device);
  reflect_datagrams(oldest, device);
  ::close(device);
}

namespace {

/// A datagram to a port of the stack's where nobody listens: the answer says so. Gives errno.
int ask_a_closed_port(const char* address) {
  int user = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_port = htons(9);
  ::inet_pton(AF_INET, address, &there.sin_addr);
  timeval patience{20, 0};
  ::setsockopt(user, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  int error = 0;
  if (::connect(user, reinterpret_cast<sockaddr*>(&there), sizeof there) != 0) error = errno;
  if (error == 0 && ::send(user, "?", 1, 0) != 1) error = errno;
  char answer;
  if (error == 0 && ::recv(user, &answer, 1, 0) < 0) error = errno;
  ::close(user);
  return error;
}

}  // namespace

// Kernels before 6.7. The fallback reads until the device has nothing more, and must then go on.
TEST_CASE("a_stack_serves_on_a_device_without_multishot_reads") {
  if (!uring_test::allowed() || !enter_namespace()) return;
  weir::config settings;
  settings.backend = "stack";
  settings.stack.device = "port1";
  if (auto usable = weir::probe_backend("stack", settings); !usable.usable) {
    std::printf("SKIPPED: %s\n", usable.reason.c_str());
    return;
  }
  std::promise<weir::shard*> made;
  bool over = false;  // the shard's thread only
  std::thread old_kernel([&] {
    const bool filtered = support::refuse_call(__NR_io_uring_register, 1, BPF_JEQ,
                                               IORING_REGISTER_PROBE, true, EINVAL);
    auto shard = filtered ? weir::make_shard(0, settings) : nullptr;
    made.set_value(shard.get());
    if (shard != nullptr) shard->run_until([&] { return over; });
  });
  auto* shard = made.get_future().get();
  if (shard == nullptr) std::printf("SKIPPED: this kernel has no seccomp filters\n");
  for (int round = 0; shard != nullptr && round < 3; ++round) {
    if (int error = ask_a_closed_port("198.18.0.2"); error != ECONNREFUSED) {
      std::fprintf(stderr, "the shard stands still: %s\n", std::strerror(error));
      std::abort();  // its thread cannot be ended
    }
  }
  if (shard != nullptr) shard->post([&] { over = true; });
  old_kernel.join();
}

TEST_CASE("a_tun_device_that_is_down_costs_frames_and_nothing_else") {
  if (!uring_test::allowed() || !enter_namespace()) return;
  int device = open_device();
  if (device < 0) return;
  uring_driver driver({});
  reflector mirror;
  auto port = driver.open_packet_port(device, 65'550, mirror);
  REQUIRE(port);
  int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "port0");
  REQUIRE(::ioctl(control, SIOCSIFFLAGS, &request) == 0);
  ::close(control);
  std::vector<std::byte> small(100), longer(9000);
  std::array<std::span<const std::byte>, 1> parts{small};
  CHECK((*port)->send(parts));  // queued; its failure is counted when the device answers
  parts[0] = longer;
  CHECK(!(*port)->send(parts));
  while ((*port)->counters().send_failed < 2) driver.turn(driver.now() + 10ms);
  CHECK((*port)->counters().frames_out == 0);
  CHECK(!mirror.failed);
  port->reset();
  ::close(device);
}

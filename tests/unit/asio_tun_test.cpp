// The Asio driver's packet port on a real TUN device, in a child process with a network namespace
// of its own: datagrams of the kernel come in as frames and, turned round, go back to it.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string>

#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "stack/device/private_network.hpp"
#include "stack/device/tun_device.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::size_t vnet_header = 10;

/// Sends every IPv4 UDP frame back to where it came from. Addresses and ports change places, so the
/// sums stay right.
class reflector : public weir::detail::packet_receiver {
 public:
  weir::detail::packet_port* port = nullptr;
  int reflected = 0;

  void receive(std::span<const std::span<const std::byte>> frames) override {
    for (auto frame : frames) reflect(frame);
  }
  void reflect(std::span<const std::byte> frame) {
    if (frame.size() < vnet_header + 28 || (frame[vnet_header] >> 4) != std::byte{4}) return;
    std::array<std::byte, 2048> copy;
    if (frame.size() > copy.size()) return;
    std::memcpy(copy.data(), frame.data(), frame.size());
    auto* ip = copy.data() + vnet_header;
    if (ip[9] != std::byte{17}) return;
    std::swap_ranges(ip + 12, ip + 16, ip + 16);
    std::swap_ranges(ip + 20, ip + 22, ip + 22);
    std::array<std::span<const std::byte>, 2> parts{
        std::span(copy).first(vnet_header),
        std::span(copy).subspan(vnet_header, frame.size() - vnet_header)};
    reflected += port->send(parts);
  }
  void device_failed(std::error_code) override {}
};

/// Nothing on success, else what went wrong; a text that starts with SKIPPED where the machine
/// forbids the test.
std::string reflect_datagrams() {
  std::string why;
  if (weir::stack::enter_private_network(why)) return "SKIPPED: " + why;
  weir::stack::tun_options options;
  options.name = "asio0";
  options.host_addresses = {*weir::ip_prefix::parse("198.18.0.1/24")};
  options.checksum_offload = options.segmentation_offload = false;
  auto device = weir::stack::tun_device::open(options, why);
  if (!device) return "SKIPPED: " + why;
  weir::detail::asio_driver driver(0ns);
  reflector back;
  auto port = driver.open_packet_port(device->fd(), 2048, back);
  if (!port) return "no port: " + port.error().message();
  back.port = port->get();

  weir::detail::kernel::unique_fd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  weir::detail::kernel::socket_address to({"198.18.0.2", 4000});
  if (::connect(udp.get(), to.data(), to.size) != 0)
    return "connect: " + std::string(std::strerror(errno));
  int answered = 0;
  for (int i = 0; i < 1000; ++i) {
    if (::send(udp.get(), &i, sizeof i, 0) != sizeof i)
      return "send: " + std::string(std::strerror(errno));
    int echoed = -1;
    while (::recv(udp.get(), &echoed, sizeof echoed, 0) < 0) driver.turn(weir::instant::never());
    answered += echoed == i;
  }
  if (answered != 1000) return "datagrams came back changed";
  // Many at once, more than one turn reads.
  for (int i = 0; i < 400; ++i) ::send(udp.get(), &i, sizeof i, 0);
  while (back.reflected < 1400) driver.turn(weir::instant::never());
  auto& seen = (*port)->counters();
  if (seen.frames_out != 1400 || seen.frames_in < 1400 || seen.send_failed != 0)
    return "the counters are wrong";
  return "";
}

}  // namespace

TEST_CASE("datagrams_pass_a_tun_device_both_ways") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto verdict = reflect_datagrams();
    auto n = ::write(ends[1], verdict.data(), verdict.size());
    ::_exit(n == static_cast<ssize_t>(verdict.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string verdict;
  std::array<char, 1024> buffer;
  for (ssize_t n; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
    verdict.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (verdict.starts_with("SKIPPED: ")) {
    std::puts(verdict.c_str());
    return;
  }
  CHECK(verdict == "");
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

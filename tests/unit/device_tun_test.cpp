// TUN devices and private networks, each test in a child process with a network namespace of its
// own: the machine's own network is never touched. Where the machine forbids it the test says so
// and counts as skipped.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <thread>

#include "stack/device/private_network.hpp"
#include "stack/device/tun_device.hpp"
#include "stack/device/vnet_header.hpp"
#include "stack/ip/ip_layer.hpp"
#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;
using namespace weir::stack;

namespace {

constexpr const char* skip_mark = "SKIPPED: ";

// A child tells its verdict through a pipe: nothing for success, a text for what went wrong.
using child_body = std::function<std::string()>;

std::string in_child(const child_body& body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    std::string verdict;
    try {
      verdict = body();
    } catch (const std::exception& error) {
      verdict = std::string("exception: ") + error.what();
    }
    auto n = ::write(ends[1], verdict.data(), verdict.size());
    ::_exit(n == static_cast<ssize_t>(verdict.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string verdict;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
    verdict.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return "the child died: " + verdict;
  return verdict;
}

// A failure fails the test; a reason to skip is printed for the test runner to see.
void judge(const std::string& verdict) {
  if (verdict.starts_with(skip_mark)) {
    std::cout << verdict << std::endl;
    return;
  }
  CHECK(verdict == "");
}

// From here on the child has no privileges. Linux takes /proc/self away from a process that changed
// its user; an ordinary user's program, which never changed, has it.
bool become_nobody() {
  if (::geteuid() != 0) return true;
  return ::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0 &&
         ::prctl(PR_SET_DUMPABLE, 1) == 0;
}

std::string enter() {
  std::string why;
  if (enter_private_network(why)) return skip_mark + why;
  return {};
}

std::string with_network(const child_body& body) {
  return in_child([&]() -> std::string {
    if (auto skip = enter(); !skip.empty()) return skip;
    return body();
  });
}

// As with_network, and a machine without a usable /dev/net/tun is a reason to skip.
std::string with_device(const tun_options& options,
                        const std::function<std::string(tun_device&)>& body) {
  return with_network([&]() -> std::string {
    if (::access("/dev/net/tun", R_OK | W_OK) != 0)
      return std::string(skip_mark) + "no usable /dev/net/tun";
    std::string why;
    auto device = tun_device::open(options, why);
    if (!device) return why;
    return body(*device);
  });
}

std::string expect(bool condition, const char* what) { return condition ? "" : what; }

tun_options some_options() {
  tun_options o;
  o.name = "t0";
  o.host_addresses = {*ip_prefix::parse("198.18.0.1/24"), *ip_prefix::parse("2001:db8::1/64")};
  return o;
}

// An open that must fail, before anything is touched: its sentence.
std::string refused(tun_options o) {
  std::string why;
  auto device = tun_device::open(o, why);
  CHECK(!device);
  return why;
}

class one_packet_sink final : public packet_sink {
 public:
  explicit one_packet_sink(int fd) : fd_(fd) {}
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const transmit_meta& meta) override {
    bytes out(vnet_header_size);
    write_vnet_header(out.data(), meta);
    for (auto& part : parts) out = out + part;
    return ::write(fd_, out.data(), out.size()) == static_cast<ssize_t>(out.size());
  }

 private:
  int fd_;
};

host_options stack_options(const tun_device& device) {
  host_options o;
  o.addresses = {*ip_prefix::parse("198.18.0.2/24"), *ip_prefix::parse("2001:db8::2/64")};
  o.mtu = device.mtu();
  o.transmit_checksum_offload = device.checksum_offload();
  o.transmit_segmentation_offload = device.segmentation_offload();
  return o;
}

// Reads packets into the layer until `done` says so of what was delivered; false after five seconds
// without.
bool pump(tun_device& device, ip_layer& ip, const std::function<bool(const delivery&)>& done) {
  bytes buffer(vnet_header_size + 65536);
  pollfd wait{device.fd(), POLLIN, 0};
  while (::poll(&wait, 1, 5000) == 1) {
    auto n = ::read(device.fd(), buffer.data(), buffer.size());
    if (n <= 0) return false;
    auto frame = std::span(buffer).first(static_cast<std::size_t>(n));
    auto meta = read_vnet_header(frame);
    if (!meta) return false;
    if (done(ip.input(instant{}, frame.subspan(vnet_header_size), *meta))) return true;
  }
  return false;
}

struct any_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

any_address socket_address(const char* text, std::uint16_t port) {
  any_address out;
  auto address = addr(text);
  if (address.is_v4()) {
    sockaddr_in a{};
    a.sin_family = AF_INET, a.sin_port = htons(port);
    std::memcpy(&a.sin_addr, address.bytes().data(), 4);
    std::memcpy(&out.storage, &a, sizeof a);
    out.size = sizeof a;
  } else {
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6, a.sin6_port = htons(port);
    std::memcpy(&a.sin6_addr, address.bytes().data(), 16);
    std::memcpy(&out.storage, &a, sizeof a);
    out.size = sizeof a;
  }
  return out;
}

}  // namespace

TEST_CASE("private_network_has_only_its_own_loopback") {
  judge(with_network([]() -> std::string {
    auto* all = ::if_nameindex();
    std::string names;
    for (auto* i = all; i != nullptr && i->if_index != 0; ++i)
      names += std::string(i->if_name) + " ";
    ::if_freenameindex(all);
    if (names.find("lo ") != 0) return "interfaces: " + names;
    // lo is up: a socket can be bound to it and connected.
    int s = ::socket(AF_INET, SOCK_DGRAM, 0);
    auto to = socket_address("127.0.0.1", 9);
    auto done = ::connect(s, reinterpret_cast<sockaddr*>(&to.storage), to.size);
    return expect(done == 0, "lo is not up");
  }));
}

TEST_CASE("private_network_is_entered_by_an_ordinary_user") {
  judge(in_child([]() -> std::string {
    if (!become_nobody()) return std::string(skip_mark) + "cannot become another user";
    if (auto skip = enter(); !skip.empty()) return skip;
    return expect(::geteuid() == 0, "not root inside");
  }));
}

TEST_CASE("private_network_is_refused_once_a_second_thread_runs") {
  judge(in_child([]() -> std::string {
    std::thread other([] { ::pause(); });
    std::string why;
    auto error = enter_private_network(why);
    other.detach();
    return expect(
        error == std::errc::operation_not_permitted && why.find("thread") != std::string::npos,
        "not refused");
  }));
}

TEST_CASE("tun_names_and_addresses_that_cannot_be_are_refused_in_words") {
  auto o = some_options();
  o.name = "";
  CHECK(refused(o).find("empty") != std::string::npos);
  o.name = "sixteen_letters_";
  CHECK(refused(o).find("16 characters") != std::string::npos);
  for (auto bad : {"a/b", "a b", "a:b", "t%d", ".", ".."}) {
    o.name = bad;
    CHECK(refused(o).find("no space") != std::string::npos);
  }
  o = some_options();
  for (auto bad :
       {"0.0.0.0/8", "224.0.0.1/4", "127.0.0.1/8", "198.18.0.255/24", "::/0", "ff02::1/8", "::1"}) {
    o.host_addresses = {*ip_prefix::parse(bad)};
    CHECK(refused(o).find("cannot be the address") != std::string::npos);
  }
  o = some_options();
  o.mtu = 1279;
  CHECK(refused(o).find("1280") != std::string::npos);
}

TEST_CASE("tun_device_is_made_with_addresses_mtu_and_offloads") {
  auto o = some_options();
  o.mtu = 1400;
  judge(with_device(o, [](tun_device& d) -> std::string {
    if (!d.created() || d.name() != "t0" || d.mtu() != 1400) return "wrong name, mtu or created";
    if (!d.checksum_offload() || !d.segmentation_offload()) return "no offloads";
    if (d.kernel_drops() != 0u) return "drops at the start";
    int s = ::socket(AF_INET6, SOCK_STREAM, 0);
    auto here = socket_address("2001:db8::1", 4000);
    return expect(::bind(s, reinterpret_cast<sockaddr*>(&here.storage), here.size) == 0,
                  "no IPv6 address");
  }));
}

TEST_CASE("tun_offloads_can_be_switched_off_one_by_one") {
  for (bool checksum : {false, true}) {
    auto o = some_options();
    o.checksum_offload = checksum, o.segmentation_offload = !checksum;
    judge(with_device(o, [&](tun_device& d) {
      return expect(d.checksum_offload() == checksum && !d.segmentation_offload(), "not as asked");
    }));
  }
}

TEST_CASE("tun_device_that_is_in_use_or_no_tun_is_refused_in_words") {
  judge(with_device(some_options(), [](tun_device&) -> std::string {
    std::string why;
    auto o = some_options();
    if (tun_device::open(o, why) || why.find("another process has it open") == std::string::npos)
      return "in use: " + why;
    o.name = "lo";
    if (tun_device::open(o, why) || why.find("no TUN device") == std::string::npos)
      return "lo: " + why;
    return {};
  }));
}

TEST_CASE("tap_device_is_made_with_addresses_and_offloads") {
  auto o = some_options();
  o.kind = device_kind::ethernet;
  judge(with_device(o, [](tun_device& d) -> std::string {
    if (d.kind() != device_kind::ethernet) return "no Ethernet";
    return expect(d.created() && d.checksum_offload() && d.segmentation_offload(), "no offloads");
  }));
}

TEST_CASE("tun_device_gets_no_ipv6_address_that_the_kernel_makes_up") {
  for (const auto kind : {device_kind::ip, device_kind::ethernet}) {
    auto o = some_options();
    o.kind = kind;
    judge(with_device(o, [&](tun_device&) -> std::string {
      const auto mode_of = [](const std::string& device) {
        int mode = -1;
        std::ifstream("/proc/sys/net/ipv6/conf/" + device + "/addr_gen_mode") >> mode;
        return mode;
      };
      if (mode_of("t0") < 0) return std::string(skip_mark) + "no addr_gen_mode here";
      // On Ethernet neighbour discovery needs one: it is left as it is.
      const auto wanted = kind == device_kind::ip ? IN6_ADDR_GEN_MODE_NONE : mode_of("default");
      return expect(mode_of("t0") == wanted, "addresses are made in another way");
    }));
  }
}

TEST_CASE("device_that_exists_is_joined_as_what_it_is") {
  for (const auto kind : {device_kind::ip, device_kind::ethernet}) {
    auto o = some_options();
    o.kind = kind;
    judge(with_device(o, [&](tun_device& d) -> std::string {
      if (::ioctl(d.fd(), TUNSETPERSIST, 1ul) != 0) return "it cannot be kept";
      {
        const auto gone = std::move(d);
      }
      for (const auto asked : {device_kind::ip, device_kind::ethernet}) {
        auto again = some_options();
        again.kind = asked;
        std::string why;
        auto joined = tun_device::open(again, why);
        if (!joined) return why;
        if (joined->created() || joined->kind() != kind) return "joined as another kind";
      }
      return {};
    }));
  }
}

TEST_CASE("tun_device_without_the_right_to_make_one_says_what_to_do") {
  judge(in_child([]() -> std::string {
    // Without privileges and outside a namespace of its own: one of the two sentences, by the
    // machine.
    if (!become_nobody()) return std::string(skip_mark) + "cannot become another user";
    std::string why;
    auto device = tun_device::open(some_options(), why);
    bool told = why.find("chmod 0666") != std::string::npos ||
                why.find("private_net") != std::string::npos ||
                why.find("modprobe") != std::string::npos;
    return expect(!device && told, why.c_str());
  }));
}

TEST_CASE("tun_queues_of_one_device_are_opened_side_by_side") {
  auto o = some_options();
  o.multi_queue = true;
  judge(with_device(o, [](tun_device& d) -> std::string {
    std::string why;
    auto second = d.another_queue(why);
    if (!second) return why;
    return expect(second->fd() != d.fd() && second->name() == d.name() &&
                      second->mtu() == d.mtu() && second->segmentation_offload(),
                  "not the same device");
  }));
  judge(with_device(some_options(), [](tun_device& d) {
    std::string why;
    return expect(!d.another_queue(why) && why.find("single queue") != std::string::npos,
                  "not refused");
  }));
}

TEST_CASE("tun_device_disappears_with_its_last_queue") {
  judge(with_network([]() -> std::string {
    if (::access("/dev/net/tun", R_OK | W_OK) != 0)
      return std::string(skip_mark) + "no usable /dev/net/tun";
    std::string why;
    {
      auto device = tun_device::open(some_options(), why);
      if (!device || ::if_nametoindex("t0") == 0) return why + " not there";
    }
    return expect(::if_nametoindex("t0") == 0, "left behind");
  }));
}

TEST_CASE("tun_carries_the_kernels_datagrams_to_the_ip_layer_and_its_answers_back") {
  for (bool offload : {true, false}) {
    auto o = some_options();
    o.checksum_offload = o.segmentation_offload = offload;
    judge(with_device(o, [](tun_device& d) -> std::string {
      auto options = stack_options(d);
      one_packet_sink sink(d.fd());
      host_counters counters;
      ip_layer ip(options, sink, counters);
      for (const char* to_text : {"198.18.0.2", "2001:db8::2"}) {
        auto to = socket_address(to_text, 7);
        int s = ::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (::connect(s, reinterpret_cast<sockaddr*>(&to.storage), to.size) != 0) return "no route";
        auto sent = pattern(1200);
        if (::send(s, sent.data(), sent.size(), 0) != 1200) return "send";
        // The layer echoes it: addresses turned round.
        bool echoed = pump(d, ip, [&](const delivery& got) {
          auto* u = std::get_if<wire::udp_datagram>(&got);
          if (u == nullptr) return false;
          auto back = *u;
          std::swap(back.source, back.destination);
          std::swap(back.source_port, back.destination_port);
          std::span<const std::byte> parts[] = {u->payload.first(500), u->payload.subspan(500)};
          return ip.send_udp(instant{}, back, parts);
        });
        if (!echoed) return std::string("not delivered: ") + to_text;
        pollfd wait{s, POLLIN, 0};
        bytes received(2000);
        if (::poll(&wait, 1, 5000) != 1) return "the kernel dropped the answer";
        auto n = ::recv(s, received.data(), received.size(), 0);
        received.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
        ::close(s);
        if (received != sent) return "other bytes came back";
      }
      return expect(counters[counter::drop_udp_checksum] == 0, "checksums");
    }));
  }
}

TEST_CASE("tun_device_full_of_the_kernels_packets_counts_the_drops") {
  auto o = some_options();
  o.queue_length = 8;
  judge(with_device(o, [](tun_device& d) -> std::string {
    int s = ::socket(AF_INET, SOCK_DGRAM, 0);
    auto to = socket_address("198.18.0.2", 7);
    for (int i = 0; i < 50; ++i)
      (void)::sendto(s, "x", 1, 0, reinterpret_cast<sockaddr*>(&to.storage), to.size);
    auto drops = d.kernel_drops();
    return expect(drops && *drops >= 30, "not counted");
  }));
}

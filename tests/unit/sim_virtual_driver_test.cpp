// The virtual driver: frames in and out of a simulated network, time that it never moves, and its
// bound.
#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "runtime/driver/virtual/virtual_driver.hpp"
#include "stack/device/vnet_header.hpp"
#include "stack/wire/ip.hpp"

using namespace std::chrono_literals;
using weir::ip_address;
using weir::detail::virtual_driver;
namespace wire = weir::stack::wire;

namespace {

const auto here = ip_address::v4(0x0a000001), there = ip_address::v4(0x0a000002);

struct frames final : weir::detail::packet_receiver {
  void receive(std::span<const std::span<const std::byte>> some) override {
    for (auto frame : some) got.emplace_back(frame.begin(), frame.end());
  }
  void device_failed(std::error_code) override {}
  std::vector<std::vector<std::byte>> got;
};

struct driven {
  driven() {
    net.join(left.node(), right.node(), {.delay = 1ms});
    from = std::move(*left.open_packet_port(-1, 2000, at_left));
    to = std::move(*right.open_packet_port(-1, 2000, at_right));
  }
  bool send(std::size_t size = 40, std::uint8_t flags = 0) {
    weir::stack::vnet::layout header;
    header.flags = flags;
    std::vector<std::byte> packet(size);
    wire::ipv4_fields ip;
    ip.source = here, ip.destination = there;
    ip.total_length = static_cast<std::uint16_t>(size);
    wire::emit_ipv4(packet.data(), ip);
    std::span<const std::byte> parts[] = {std::as_bytes(std::span(&header, 1)), packet};
    return from->send(parts);
  }

  weir::sim::fabric net{1};
  virtual_driver left{net, "left", {here}}, right{net, "right", {there}};
  frames at_left, at_right;
  std::unique_ptr<weir::detail::packet_port> from, to;
};

}  // namespace

TEST_CASE("a_frame_arrives_when_the_driver_is_turned_and_not_before") {
  driven world;
  CHECK(world.send());
  world.net.advance_to(weir::instant() + 1ms);
  CHECK(world.right.has_packets());
  CHECK(world.at_right.got.empty());
  world.right.turn(weir::instant() + 1h);
  REQUIRE(world.at_right.got.size() == 1);
  CHECK(world.at_right.got[0].size() == weir::stack::vnet_header_size + 40);
  CHECK(world.right.now() == weir::instant() + 1ms);  // turning moved no clock
  CHECK(world.from->counters().frames_out == 1);
  CHECK(world.to->counters().frames_in == 1);
}

TEST_CASE("a_driver_that_is_not_turned_drops_what_is_over_its_bound") {
  driven world;
  for (std::size_t i = 0; i < virtual_driver::max_inbox + 10; ++i) REQUIRE(world.send());
  world.net.advance_to(weir::instant() + 1s);
  CHECK(world.right.inbox_overflows() == 10);
  world.right.turn({});
  CHECK(world.at_right.got.size() == virtual_driver::max_inbox);
}

TEST_CASE("a_simulated_device_refuses_offloads_and_frames_over_its_limit") {
  driven world;
  CHECK_FALSE(world.send(40, weir::stack::vnet::needs_checksum));
  CHECK_FALSE(world.send(1995));
  CHECK_FALSE(world.from->send({}));
  CHECK(world.from->counters().send_failed == 3);
  CHECK(world.net.in_flight() == 0);
}

TEST_CASE("a_second_port_on_one_node_is_refused") {
  driven world;
  auto second = world.left.open_packet_port(-1, 2000, world.at_left);
  REQUIRE(!second);
  CHECK(second.error() == std::errc::device_or_resource_busy);
}

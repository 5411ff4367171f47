// The simulated network's links, one property at a time, with bare packets.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "stack/wire/icmp.hpp"
#include "stack/wire/ip.hpp"
#include "weir/stack/sim.hpp"

using namespace std::chrono_literals;
using weir::duration;
using weir::instant;
using weir::ip_address;
namespace sim = weir::sim;
namespace wire = weir::stack::wire;

namespace {

using bytes = std::vector<std::byte>;

const auto left_address = ip_address::v4(0x0a000001);
const auto right_address = ip_address::v4(0x0a000002);

// A numbered IPv4 packet of `size` bytes.
bytes packet_to(const ip_address& to, std::uint32_t number, std::size_t size = 100) {
  bytes out(size, std::byte{0x5a});
  wire::ipv4_fields ip;
  ip.source = left_address;
  ip.destination = to;
  ip.protocol = 253;  // for experiments, RFC 3692
  ip.total_length = static_cast<std::uint16_t>(size);
  wire::emit_ipv4(out.data(), ip);
  std::memcpy(out.data() + 20, &number, sizeof number);
  return out;
}

struct got {
  instant when;
  std::uint32_t number;
  bytes packet;
};

struct pair {
  explicit pair(const sim::link_options& options, std::uint64_t seed = 1) : net(seed) {
    left = net.add_node("left", {left_address}, [this](auto packet) { take(at_left, packet); });
    right = net.add_node("right", {right_address}, [this](auto packet) { take(at_right, packet); });
    link = &net.join(left, right, options);
  }
  void take(std::vector<got>& into, std::span<const std::byte> packet) {
    std::uint32_t number = 0;
    if (packet.size() >= 24) std::memcpy(&number, packet.data() + 20, sizeof number);
    into.push_back({net.now(), number, bytes(packet.begin(), packet.end())});
  }
  void send(std::uint32_t number, std::size_t size = 100) {
    auto packet = packet_to(right_address, number, size);
    std::span<const std::byte> part(packet);
    net.send(left, std::span(&part, 1));
  }
  void run(duration time = 1h) { net.advance_to(net.now() + time); }

  sim::fabric net;
  sim::node_id left{}, right{};
  sim::link* link = nullptr;
  std::vector<got> at_left, at_right;
};

}  // namespace

TEST_CASE("a_packet_arrives_after_the_delay_and_as_it_was_sent") {
  pair two({.delay = 10ms});
  two.send(1);
  CHECK(two.net.next_event() == instant::from_ns(10'000'000));
  two.net.advance_to(instant::from_ns(9'999'999));
  CHECK(two.at_right.empty());
  two.net.advance_to(instant::from_ns(10'000'000));
  REQUIRE(two.at_right.size() == 1);
  CHECK(two.at_right[0].packet == packet_to(right_address, 1));
  CHECK(two.net.next_event().is_never());
  CHECK(two.link->counters(0).delivered == 1);
  CHECK(two.link->counters(1).sent == 0);
}

TEST_CASE("jitter_varies_the_delay_and_keeps_the_order") {
  pair two({.delay = 10ms, .jitter = 5ms});
  for (std::uint32_t i = 0; i < 200; ++i) two.send(i), two.run(1ms);
  two.run();
  REQUIRE(two.at_right.size() == 200);
  bool varies = false;
  for (std::size_t i = 0; i < two.at_right.size(); ++i) {
    REQUIRE(two.at_right[i].number == i);
    auto took = two.at_right[i].when - instant::from_ns(static_cast<std::int64_t>(i) * 1'000'000);
    CHECK((took >= 10ms && took <= 15ms));
    varies |= took > 11ms;
  }
  CHECK(varies);
}

TEST_CASE("loss_drops_its_share_and_counts_it") {
  pair two({.delay = 1ms, .loss = 0.2});
  for (std::uint32_t i = 0; i < 5000; ++i) two.send(i);
  two.run();
  auto lost = two.link->counters(0).lost;
  CHECK((lost > 850 && lost < 1150));
  CHECK(two.at_right.size() + lost == 5000);
}

TEST_CASE("reordering_lets_later_packets_overtake_and_loses_none") {
  pair two({.delay = 5ms, .reorder = 0.1, .reorder_delay = 3ms});
  for (std::uint32_t i = 0; i < 1000; ++i) two.send(i), two.run(1ms);
  two.run();
  REQUIRE(two.at_right.size() == 1000);
  std::size_t inversions = 0;
  for (std::size_t i = 1; i < 1000; ++i)
    inversions += two.at_right[i].number < two.at_right[i - 1].number;
  CHECK(inversions > 50);
  CHECK(two.link->counters(0).reordered > 50);
}

TEST_CASE("duplicates_arrive_twice_and_are_the_same") {
  pair two({.delay = 1ms, .duplicate = 0.5});
  for (std::uint32_t i = 0; i < 1000; ++i) two.send(i);
  two.run();
  CHECK(two.at_right.size() == 1000 + two.link->counters(0).duplicated);
  CHECK(two.link->counters(0).duplicated > 400);
  for (const auto& one : two.at_right) REQUIRE(one.packet == packet_to(right_address, one.number));
}

TEST_CASE("corruption_flips_exactly_one_bit") {
  pair two({.delay = 1ms, .corrupt = 1});
  two.send(9);
  two.run();
  REQUIRE(two.at_right.size() == 1);
  auto sent = packet_to(right_address, 9);
  int bits = 0;
  for (std::size_t i = 0; i < sent.size(); ++i)
    for (auto changed = std::to_integer<unsigned>(sent[i] ^ two.at_right[0].packet[i]);
         changed != 0; changed >>= 1)
      bits += changed & 1;
  CHECK(bits == 1);
}

TEST_CASE("a_rate_spaces_packets_and_a_full_queue_drops_them") {
  // 100,000 bytes a second: 1 ms for each packet of 100 bytes; ten of them may wait.
  pair two({.delay = 0ms, .rate = 100'000, .queue = 1000});
  for (std::uint32_t i = 0; i < 20; ++i) two.send(i);
  two.run();
  REQUIRE(two.at_right.size() == 10);
  for (std::size_t i = 0; i < 10; ++i)
    CHECK(two.at_right[i].when == instant::from_ns(static_cast<std::int64_t>(i + 1) * 1'000'000));
  CHECK(two.link->counters(0).queue_full == 10);
  two.send(100);  // the queue has drained
  two.run();
  CHECK(two.at_right.size() == 11);
}

TEST_CASE("what_travels_in_one_direction_is_bounded") {
  pair two({.delay = 1h});
  constexpr std::size_t size = 65000;
  for (std::uint32_t i = 0; i < sim::fabric::max_in_flight / size + 10; ++i) two.send(i, size);
  CHECK(two.link->counters(0).queue_full == 10);
}

TEST_CASE("a_partition_loses_what_is_sent_and_not_what_travels") {
  pair two({.delay = 10ms});
  two.send(1);
  two.link->set_down(true);
  two.send(2);
  two.run();
  REQUIRE(two.at_right.size() == 1);
  CHECK(two.at_right[0].number == 1);
  CHECK(two.link->counters(0).down == 1);
  two.link->set_down(false);
  two.send(3);
  two.run();
  CHECK(two.at_right.size() == 2);
}

TEST_CASE("a_packet_over_the_links_mtu_is_answered_by_icmp") {
  pair two({.delay = 1ms, .mtu = 576});
  two.send(1, 1000);
  two.run();
  CHECK(two.at_right.empty());
  CHECK(two.link->counters(0).too_long == 1);
  REQUIRE(two.at_left.size() == 1);
  auto header = wire::parse_ip(two.at_left[0].packet);
  REQUIRE(header.status == wire::ip_status::ok);
  CHECK(header.destination == left_address);
  wire::icmp_message message;
  REQUIRE(wire::parse_icmp(header.payload, header.source, header.destination, message) ==
          wire::parse_status::ok);
  CHECK(message.type == wire::icmp4::unreachable);
  CHECK(message.code == 4);
  CHECK(message.rest == 576);
  auto quoted = wire::parse_quoted(message.body);
  CHECK(quoted.source == left_address);
  CHECK(quoted.destination == right_address);
}

TEST_CASE("a_black_hole_says_nothing") {
  pair two({.delay = 1ms, .mtu = 576, .announce_mtu = false});
  two.send(1, 1000);
  two.run();
  CHECK(two.at_left.empty());
  CHECK(two.at_right.empty());
}

TEST_CASE("a_packet_for_nobody_is_counted") {
  pair two({});
  auto packet = packet_to(ip_address::v4(0x01020304), 1);
  std::span<const std::byte> part(packet);
  two.net.send(two.left, std::span(&part, 1));
  part = part.first(3);  // no header at all
  two.net.send(two.left, std::span(&part, 1));
  two.net.send(two.left, {});
  CHECK(two.net.unroutable() == 3);
  CHECK(two.net.next_event().is_never());
}

TEST_CASE("equal_seeds_give_equal_traces_and_others_do_not") {
  auto trace = [](std::uint64_t seed) {
    pair two({.delay = 1ms,
              .jitter = 1ms,
              .loss = 0.1,
              .reorder = 0.1,
              .duplicate = 0.1,
              .corrupt = 0.1},
             seed);
    for (std::uint32_t i = 0; i < 100; ++i) two.send(i), two.run(100us);
    two.run();
    return two.net.trace();
  };
  CHECK(trace(7) == trace(7));
  CHECK(trace(7) != trace(8));
}

TEST_CASE("trace_tells_who_sent_what_when_and_when_it_arrived") {
  struct run {
    duration sent_at, delay;
    std::uint32_t number;
    std::size_t size, from;
  };
  const auto trace = [](const run& what) {
    sim::fabric net(1);
    const std::array senders{net.add_node("a", {left_address}, [](auto) {}),
                             net.add_node("b", {ip_address::v4(0x0a000003)}, [](auto) {})};
    const auto target = net.add_node("c", {right_address}, [](auto) {});
    for (const auto each : senders) net.join(each, target, {.delay = what.delay});
    net.advance_to(instant() + what.sent_at);
    const auto packet = packet_to(right_address, what.number, what.size);
    const std::span<const std::byte> part(packet);
    net.send(senders[what.from], std::span(&part, 1));
    net.advance_to(instant() + 1h);
    return net.trace();
  };
  const std::vector<run> runs = {{0us, 1000us, 1, 100, 0}, {1us, 999us, 1, 100, 0},
                                 {0us, 1001us, 1, 100, 0}, {0us, 1000us, 2, 100, 0},
                                 {0us, 1000us, 1, 101, 0}, {0us, 1000us, 1, 100, 1}};
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (std::size_t k = 0; k < runs.size(); ++k) {
      CAPTURE(i);
      CAPTURE(k);
      CHECK((trace(runs[i]) == trace(runs[k])) == (i == k));
    }
}

TEST_CASE("one_direction_can_be_worse_than_the_other") {
  pair two({.delay = 1ms});
  two.link->set_options(1, {.delay = 1ms, .loss = 1});
  two.send(1);
  auto back = packet_to(left_address, 2);
  std::span<const std::byte> part(back);
  two.net.send(two.right, std::span(&part, 1));
  two.run();
  CHECK(two.at_right.size() == 1);
  CHECK(two.at_left.empty());
  CHECK(two.link->counters(1).lost == 1);
}

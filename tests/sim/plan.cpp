// See plan.hpp. Every range is one that a real path or program has; the odd ones (one byte a write,
// a buffer of a few kilobytes, a black hole) are drawn less often, and never so many at once that a
// seed takes long.
#include "sim/plan.hpp"

#include <algorithm>
#include <sstream>

namespace sim_test {

using namespace std::chrono_literals;
using weir::duration;
using weir::sim::link_options;
using weir::sim::random_source;
using weir::stack::host_options;
using weir::stack::tcp_options;

namespace {

template <class T>
T one_of(random_source& dice, std::initializer_list<T> choices) {
  return choices.begin()[dice.below(choices.size())];
}

// Up to `limit`, small ones as likely as large ones.
std::uint64_t spread(random_source& dice, std::uint64_t limit) {
  std::uint64_t bits = 0;
  while (bits < 63 && (1ull << bits) < limit) ++bits;
  return std::min(limit, dice.below(2ull << dice.below(bits + 1)));
}

link_options draw_way(random_source& dice) {
  link_options how;
  how.delay = duration(static_cast<std::int64_t>(spread(dice, 200'000'000)));
  if (dice.chance(0.4)) how.jitter = dice.up_to(20ms);
  if (dice.chance(0.6)) how.loss = static_cast<double>(dice.below(101)) / 1000;
  if (dice.chance(0.4)) {
    how.reorder = static_cast<double>(dice.below(101)) / 1000;
    how.reorder_delay = 1ms + dice.up_to(30ms);
  }
  if (dice.chance(0.4)) how.duplicate = static_cast<double>(dice.below(51)) / 1000;
  if (dice.chance(0.4)) how.corrupt = static_cast<double>(dice.below(31)) / 1000;
  if (dice.chance(0.4)) {
    how.rate = 20'000 + spread(dice, 12'500'000);
    how.queue = 8192 + static_cast<std::uint32_t>(dice.below(256 << 10));
  }
  return how;
}

tcp_options draw_tcp(random_source& dice) {
  tcp_options o;
  o.nodelay = dice.chance(0.7);
  o.sack = dice.chance(0.8);
  o.timestamps = dice.chance(0.7);
  o.window_scaling = dice.chance(0.8);
  o.congestion = dice.chance(0.5) ? weir::stack::congestion_algorithm::reno
                                  : weir::stack::congestion_algorithm::cubic;
  if (dice.chance(0.3)) o.receive_buffer = static_cast<std::uint32_t>(2048 + spread(dice, 1 << 20));
  if (dice.chance(0.3)) o.send_buffer = static_cast<std::uint32_t>(2048 + spread(dice, 1 << 20));
  using weir::stack::ecn_mode;
  o.ecn = one_of(dice, {ecn_mode::off, ecn_mode::accept, ecn_mode::request, ecn_mode::request});
  o.keep_alive = dice.chance(0.2);
  if (o.keep_alive) o.keep_alive_idle = 1s + dice.up_to(10s), o.keep_alive_interval = 5s;
  o.delayed_ack = one_of<duration>(dice, {40ms, 40ms, 5ms, 200ms});
  o.time_wait = one_of<duration>(dice, {60s, 60s, 1s, 5s});
  // More patience than a handshake through the worst of these links needs.
  o.syn_retries = 12;
  return o;
}

end_plan draw_end(random_source& dice, bool heavy) {
  end_plan end;
  if (heavy)
    end.size = spread(dice, 1'500'000);
  else if (dice.chance(0.85))
    end.size = spread(dice, 8'000);
  // Never so small a chunk that one seed is a million calls.
  auto least = static_cast<std::uint32_t>(1 + end.size / 3000);
  end.write_chunk = least + static_cast<std::uint32_t>(spread(dice, 65'536));
  if (dice.chance(0.25)) end.write_pause = dice.up_to(30ms);
  return end;
}

// How `end` reads the `coming` bytes of its peer.
void draw_reading(random_source& dice, end_plan& end, std::uint64_t coming) {
  auto least = static_cast<std::uint32_t>(1 + coming / 3000);
  end.read_chunk = least + static_cast<std::uint32_t>(spread(dice, 65'536));
  if (dice.chance(0.25)) end.read_pause = dice.up_to(20ms);
  if (coming > 0 && dice.chance(0.2)) {
    end.stall_after = dice.below(coming);
    end.stall = dice.up_to(40s);
  }
  end.peeks = dice.chance(0.4);
  end.corks = dice.chance(0.1);
  end.changes_options = dice.chance(0.1);
}

connection_plan draw_connection(random_source& dice, bool rough) {
  connection_plan c;
  c.client = static_cast<int>(dice.below(2));
  c.v6 = dice.chance(0.3);
  c.simultaneous = dice.chance(0.1);
  c.start = dice.up_to(3s);
  c.options = draw_tcp(dice);
  auto heavy = dice.chance(0.25);
  c.ends = {draw_end(dice, heavy), draw_end(dice, heavy && dice.chance(0.6))};
  draw_reading(dice, c.ends[0], c.ends[1].size);
  draw_reading(dice, c.ends[1], c.ends[0].size);
  for (std::size_t i = 0; i < 2; ++i)
    c.ends[i].lingers = c.ends[i ^ 1].stall > 5s || dice.chance(0.3);
  if (rough) {
    auto& end = c.ends[dice.below(2)];
    end.leaves = dice.chance(0.5) ? ending::abort_on_time : ending::close_early;
    end.abort_at = dice.up_to(3s);
  }
  return c;
}

void draw_events(random_source& dice, world_plan& plan) {
  auto count = dice.chance(0.6) ? dice.below(5) : 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    link_event e;
    e.at = dice.up_to(8s);
    e.direction = static_cast<int>(dice.below(2));
    e.both = dice.chance(0.5);
    switch (dice.below(3)) {
      case 0: e.options = draw_way(dice); break;
      case 1:
        e.what = link_event::kind::mtu;
        e.mtu = one_of<std::uint16_t>(dice, {1280, 1300, 1400, 1492, 0});
        break;
      default: {
        e.what = link_event::kind::down;
        auto back = e;
        back.what = link_event::kind::up;
        // Mostly short of what a handshake's retransmissions bridge.
        auto is_long = dice.chance(0.1);
        back.at = e.at + dice.up_to(is_long ? 400s : 8s);
        if (is_long) plan.connections_may_fail = true;
        plan.events.push_back(back);
      }
    }
    plan.events.push_back(e);
  }
  // An insertion sort keeps what happens at one instant in the order in which it was drawn.
  for (std::size_t i = 1; i < plan.events.size(); ++i)
    for (auto k = i; k > 0 && plan.events[k].at < plan.events[k - 1].at; --k)
      std::swap(plan.events[k], plan.events[k - 1]);
}

host_options draw_host(random_source& dice, int number) {
  host_options o;
  auto n = std::to_string(number + 1);
  o.addresses = {*weir::ip_prefix::parse("10.0.0." + n + "/24"),
                 *weir::ip_prefix::parse("fd00::" + n + "/64")};
  o.mtu = one_of<std::uint16_t>(dice, {1500, 1500, 1500, 1280, 9000});
  for (std::size_t i = 0; i < o.secret.size(); ++i)
    o.secret[i] = static_cast<std::uint8_t>(dice.next());
  o.tcp = draw_tcp(dice);
  if (dice.chance(0.15)) {
    // Whoever is short of memory resets nobody: every byte must arrive all the same.
    o.limits.memory = (128u << 10) + dice.below(1u << 20);
    o.limits.shortage = weir::stack::shortage_policy::refuse;
  }
  return o;
}

}  // namespace

namespace {

/// Dice of their own, so that what is drawn here leaves every other world as it was.
void draw_path_and_pace(world_plan& plan) {
  using weir::stack::path_probing;
  auto dice = random_source::derived(plan.seed, 0x70616365ull);
  for (std::size_t i = 0; i < 2; ++i) {
    plan.hosts[i].tcp.pacing = dice.chance(0.3);
    if (dice.chance(0.3)) plan.hosts[i].tcp.probing = path_probing::always;
    plan.hosts[i].tcp.user_timeout_option = dice.chance(0.2);
    plan.ways[i].announce_mtu = !dice.chance(0.2);  // a black hole
  }
}

}  // namespace

world_plan draw_world(std::uint64_t seed) {
  auto dice = random_source::derived(seed, 0x776f726c64ull);
  world_plan plan;
  plan.seed = seed;
  plan.acknowledges_first = dice.chance(0.3);
  for (int i = 0; i < 2; ++i) {
    auto at = static_cast<std::size_t>(i);
    plan.hosts[at] = draw_host(dice, i);
    plan.ways[at] = draw_way(dice);
    if (dice.chance(0.3)) plan.congestion[at] = static_cast<double>(dice.below(101)) / 1000;
    if (dice.chance(0.2)) plan.accept_delay[at] = 1ms + dice.up_to(2s);
    if (dice.chance(0.1)) {
      // Queues that overflow: what they turn away is told nothing, or with a reset, and half-open
      // entries expire while the client believes itself connected.
      plan.listening[at].backlog = 1 + static_cast<std::uint32_t>(dice.below(3));
      plan.listening[at].syn_backlog = 1 + static_cast<std::uint32_t>(dice.below(2));
      if (dice.chance(0.5)) plan.listening[at].overflow = weir::stack::overflow_policy::reset;
      plan.connections_may_fail = true;
    }
  }
  auto rough = dice.chance(0.4);
  auto count = 1 + dice.below(16);
  for (std::uint64_t i = 0; i < count; ++i)
    plan.connections.push_back(draw_connection(dice, rough && dice.chance(0.5)));
  draw_events(dice, plan);
  draw_path_and_pace(plan);
  return plan;
}

std::string describe(const world_plan& plan) {
  std::ostringstream out;
  auto ms = [](duration d) { return static_cast<double>(d.count()) * 1e-6; };
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& w = plan.ways[i];
    const auto& h = plan.hosts[i];
    out << "  way " << i << ": delay " << ms(w.delay) << " ms, jitter " << ms(w.jitter) << ", loss "
        << w.loss << ", reorder " << w.reorder << ", duplicate " << w.duplicate << ", corrupt "
        << w.corrupt << ", rate " << w.rate << ", queue " << w.queue << "\n  host " << i << ": mtu "
        << h.mtu << ", memory " << h.limits.memory << ", buffers " << h.tcp.receive_buffer << '/'
        << h.tcp.send_buffer << ", sack " << h.tcp.sack << ", timestamps " << h.tcp.timestamps
        << ", scaling " << h.tcp.window_scaling << ", ecn " << static_cast<int>(h.tcp.ecn)
        << ", marked " << plan.congestion[i] << ", paced " << h.tcp.pacing << ", probing "
        << static_cast<int>(h.tcp.probing) << ", silent " << !w.announce_mtu << '\n';
  }
  for (const auto& e : plan.events)
    out << "  at " << ms(e.at) << " ms: event " << static_cast<int>(e.what) << ", way "
        << (e.both ? 2 : e.direction) << ", mtu " << e.mtu << '\n';
  for (std::size_t i = 0; i < plan.connections.size(); ++i) {
    const auto& c = plan.connections[i];
    out << "  connection " << i << ": by host " << c.client << " at " << ms(c.start) << " ms, "
        << c.ends[0].size << " and " << c.ends[1].size << " bytes"
        << (c.simultaneous ? ", simultaneous" : "") << ", leaving "
        << static_cast<int>(c.ends[0].leaves) << ' ' << static_cast<int>(c.ends[1].leaves) << '\n';
  }
  return out.str();
}

}  // namespace sim_test

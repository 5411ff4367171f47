// The simulated network's links, clock and event queue. Events are packets that arrive; their order
// is (instant, number of the event), so that nothing depends on addresses in memory or on hashing.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "stack/sim/icmp_too_big.hpp"
#include "weir/stack/sim.hpp"

namespace weir::sim {
namespace {

using bytes = std::vector<std::byte>;

// Eight bytes a step; good enough to tell runs apart and fast enough to be always on.
class trace_hash {
 public:
  void add(std::uint64_t word) {
    state_ = (state_ ^ word) * 0x9fb21c651e98df25ull;
    state_ ^= state_ >> 32;
  }
  void add(std::span<const std::byte> data) {
    add(data.size());
    for (; data.size() >= 8; data = data.subspan(8)) {
      std::uint64_t word = 0;
      for (std::size_t i = 0; i < 8; ++i) word |= std::to_integer<std::uint64_t>(data[i]) << 8 * i;
      add(word);
    }
    std::uint64_t rest = 0;
    for (auto byte : data) rest = rest << 8 | std::to_integer<std::uint64_t>(byte);
    add(rest);
  }
  std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0x2545f4914f6cdd1dull;
};

struct arrival {
  instant when;
  std::uint64_t number = 0;
  link* over = nullptr;
  int direction = 0;
  bool later(const arrival& other) const {
    return when != other.when ? when > other.when : number > other.number;
  }
  bytes packet;
};

bool earlier_on_top(const arrival& a, const arrival& b) { return a.later(b); }

struct node {
  std::string name;
  std::vector<ip_address> addresses;
  fabric::receiver deliver;
  std::vector<link*> links;
  link* otherwise = nullptr;  // to a gateway
};

// The destination as the header says; nothing when there is no header.
bool destination_of(std::span<const std::byte> packet, ip_address& out) {
  if (packet.empty()) return false;
  auto version = std::to_integer<unsigned>(packet[0]) >> 4;
  if (version == 4 && packet.size() >= 20) {
    std::array<std::uint8_t, 4> raw;
    std::memcpy(raw.data(), packet.data() + 16, raw.size());
    out = ip_address::v4(raw);
    return true;
  }
  if (version == 6 && packet.size() >= 40) {
    std::array<std::uint8_t, 16> raw;
    std::memcpy(raw.data(), packet.data() + 24, raw.size());
    out = ip_address::v6(raw);
    return true;
  }
  return false;
}

}  // namespace

std::string_view name(fate f) {
  constexpr std::string_view names[] = {"sent",       "delivered",  "lost",
                                        "corrupted",  "duplicated", "reordered",
                                        "queue_full", "too_long",   "down"};
  return names[static_cast<std::size_t>(f)];
}

link::link(node_id a, node_id b, const link_options& options, std::uint64_t seed,
           std::uint64_t number)
    : ends_{a, b},
      ways_{one_way{options, {}, random_source::derived(seed, number * 2), {}, {}, 0, false},
            one_way{options, {}, random_source::derived(seed, number * 2 + 1), {}, {}, 0, false}} {}

void link::set_options(const link_options& options) {
  for (auto& way : ways_) way.options = options;
}

struct fabric::impl {
  std::uint64_t seed = 0;
  instant now;
  std::vector<node> nodes;
  std::vector<std::unique_ptr<link>> links;
  std::vector<arrival> queue;  // a heap, the earliest on top
  std::vector<bytes> spare;
  std::uint64_t next_number = 0;
  std::uint64_t unroutable = 0;
  trace_hash trace;
  tap watcher;

  node& at(node_id id) { return nodes[static_cast<std::size_t>(id)]; }

  bytes take_buffer() {
    if (spare.empty()) return {};
    auto out = std::move(spare.back());
    spare.pop_back();
    out.clear();
    return out;
  }
  void give_back(bytes&& buffer) {
    if (spare.size() < 4096) spare.push_back(std::move(buffer));
  }
  void tell(const link& over, int direction, fate what, const bytes& packet) {
    if (watcher) watcher(now, over, direction, what, packet);
  }

  link* route(node_id from, const ip_address& destination, int& direction);
  void enter(node_id from, bytes packet);
  void travel(link& over, int direction, bytes packet);
  bool admit(link& over, int direction, const bytes& packet);
  void schedule(link& over, int direction, instant when, bytes packet);
  void arrive(arrival what);
};

// The neighbour that owns the destination. A node has a handful of links, so a walk is enough.
link* fabric::impl::route(node_id from, const ip_address& destination, int& direction) {
  for (auto* candidate : at(from).links) {
    direction = candidate->ends_[0] == from ? 0 : 1;
    const auto& owned = at(candidate->ends_[direction == 0 ? 1u : 0u]).addresses;
    if (std::find(owned.begin(), owned.end(), destination) != owned.end()) return candidate;
  }
  auto* const otherwise = at(from).otherwise;
  if (otherwise != nullptr) direction = otherwise->ends_[0] == from ? 0 : 1;
  return otherwise;
}

void fabric::impl::enter(node_id from, bytes packet) {
  ip_address destination;
  int direction = 0;
  link* over = nullptr;
  if (destination_of(packet, destination)) over = route(from, destination, direction);
  if (over == nullptr) {
    ++unroutable;
    give_back(std::move(packet));
    return;
  }
  trace.add(static_cast<std::uint64_t>(now.ns()));
  trace.add(static_cast<std::uint64_t>(from));
  trace.add(packet);
  travel(*over, direction, std::move(packet));
}

// Whether the packet gets on the link at all.
bool fabric::impl::admit(link& over, int direction, const bytes& packet) {
  auto& way = over.ways_[link::way(direction)];
  const auto& how = way.options;
  auto refuse = [&](std::uint64_t& count, fate why) {
    ++count;
    tell(over, direction, why, packet);
    return false;
  };
  if (way.down) return refuse(way.counters.down, fate::down);
  if (how.mtu != 0 && packet.size() > how.mtu) {
    if (how.announce_mtu) {
      auto answer = take_buffer();
      if (make_too_big(packet, how.mtu, answer))
        schedule(over, 1 - direction, now + how.delay, std::move(answer));
    }
    return refuse(way.counters.too_long, fate::too_long);
  }
  if (way.random.chance(how.loss)) return refuse(way.counters.lost, fate::lost);
  auto waiting = std::uint64_t{0};
  if (how.rate != 0 && way.free_at > now) {
    auto ahead = static_cast<double>((way.free_at - now).count()) * 1e-9;
    waiting = static_cast<std::uint64_t>(ahead * static_cast<double>(how.rate));
  }
  if ((how.rate != 0 && waiting + packet.size() > how.queue) ||
      way.in_flight + packet.size() > max_in_flight)
    return refuse(way.counters.queue_full, fate::queue_full);
  return true;
}

void fabric::impl::travel(link& over, int direction, bytes packet) {
  auto& way = over.ways_[link::way(direction)];
  const auto& how = way.options;
  ++way.counters.sent;
  tell(over, direction, fate::sent, packet);
  if (!admit(over, direction, packet)) return give_back(std::move(packet));

  auto start = now;
  if (how.rate != 0) {
    start = std::max(now, way.free_at);
    auto ns = packet.size() * 1'000'000'000ull / how.rate;
    start += duration(static_cast<std::int64_t>(ns));
    way.free_at = start;
  }
  auto hold = how.reorder_delay.count() > 0
                  ? how.reorder_delay
                  : std::max<duration>(how.delay, std::chrono::milliseconds(1));
  auto when = start + how.delay + way.random.up_to(how.jitter);
  if (way.random.chance(how.reorder)) {
    when += hold;
    ++way.counters.reordered;
    tell(over, direction, fate::reordered, packet);
  } else {
    when = way.last_arrival = std::max(when, way.last_arrival);
  }
  if (way.random.chance(how.duplicate)) {
    auto copy = take_buffer();
    copy.assign(packet.begin(), packet.end());
    ++way.counters.duplicated;
    tell(over, direction, fate::duplicated, packet);
    schedule(over, direction, when + way.random.up_to(hold), std::move(copy));
  }
  if (way.random.chance(how.corrupt)) {
    auto bit = way.random.below(packet.size() * 8);
    packet[bit / 8] ^= std::byte{1} << bit % 8;
    ++way.counters.corrupted;
    tell(over, direction, fate::corrupted, packet);
  }
  schedule(over, direction, when, std::move(packet));
}

void fabric::impl::schedule(link& over, int direction, instant when, bytes packet) {
  over.ways_[link::way(direction)].in_flight += packet.size();
  arrival next;
  next.when = std::max(when, now);
  next.number = next_number++;
  next.over = &over;
  next.direction = direction;
  next.packet = std::move(packet);
  queue.push_back(std::move(next));
  std::push_heap(queue.begin(), queue.end(), earlier_on_top);
}

void fabric::impl::arrive(arrival what) {
  auto& way = what.over->ways_[link::way(what.direction)];
  way.in_flight -= what.packet.size();
  ++way.counters.delivered;
  way.counters.bytes += what.packet.size();
  auto target = what.over->ends_[what.direction == 0 ? 1u : 0u];
  trace.add(static_cast<std::uint64_t>(now.ns()));
  trace.add(static_cast<std::uint64_t>(target) << 32 | what.packet.size());
  tell(*what.over, what.direction, fate::delivered, what.packet);
  at(target).deliver(what.packet);
  give_back(std::move(what.packet));
}

fabric::fabric(std::uint64_t seed) : impl_(std::make_unique<impl>()) { impl_->seed = seed; }
fabric::~fabric() = default;

std::uint64_t fabric::seed() const { return impl_->seed; }
instant fabric::now() const { return impl_->now; }
std::uint64_t fabric::trace() const { return impl_->trace.value(); }
std::uint64_t fabric::unroutable() const { return impl_->unroutable; }
std::size_t fabric::in_flight() const { return impl_->queue.size(); }
void fabric::set_tap(tap t) { impl_->watcher = std::move(t); }

node_id fabric::add_node(std::string name, std::vector<ip_address> addresses, receiver deliver) {
  node added;
  added.name = std::move(name);
  added.addresses = std::move(addresses);
  added.deliver = std::move(deliver);
  impl_->nodes.push_back(std::move(added));
  return static_cast<node_id>(impl_->nodes.size() - 1);
}

std::string_view fabric::node_name(node_id node) const { return impl_->at(node).name; }

link& fabric::join(node_id a, node_id b, const link_options& options) {
  assert(a != b && "a link joins two nodes");
  impl_->links.push_back(std::make_unique<link>(a, b, options, impl_->seed, impl_->links.size()));
  auto* made = impl_->links.back().get();
  impl_->at(a).links.push_back(made);
  impl_->at(b).links.push_back(made);
  return *made;
}

void fabric::send_others_by(node_id from, link& over) { impl_->at(from).otherwise = &over; }

void fabric::send(node_id from, std::span<const std::span<const std::byte>> parts) {
  auto packet = impl_->take_buffer();
  for (auto part : parts) packet.insert(packet.end(), part.begin(), part.end());
  impl_->enter(from, std::move(packet));
}

instant fabric::next_event() const {
  return impl_->queue.empty() ? instant::never() : impl_->queue.front().when;
}

void fabric::advance_to(instant t) {
  auto& self = *impl_;
  while (!self.queue.empty() && self.queue.front().when <= t) {
    std::pop_heap(self.queue.begin(), self.queue.end(), earlier_on_top);
    auto next = std::move(self.queue.back());
    self.queue.pop_back();
    self.now = std::max(self.now, next.when);
    self.arrive(std::move(next));
  }
  self.now = std::max(self.now, t);
}

}  // namespace weir::sim

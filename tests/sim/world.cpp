// See world.hpp.
#include "sim/world.hpp"

#include <algorithm>

#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace sim_test {

namespace wire = weir::stack::wire;

using namespace std::chrono_literals;
using weir::endpoint;
using weir::instant;
using weir::stack::ready;
using weir::stack::socket_id;
using weir::stack::tcp_info;

namespace {

// Far beyond every retransmission and TIME_WAIT that a plan can lead to: what has not ended by then
// never will.
constexpr weir::duration longest_run = std::chrono::hours(6);
constexpr std::uint64_t most_steps = 20'000'000;
constexpr int most_rounds = 100'000;

}  // namespace

/// What a host sends through.
class world::card final : public weir::stack::packet_sink {
 public:
  card(world& in, std::size_t host)
      : in_(in),
        host_(host),
        dice_(weir::sim::random_source::derived(in.plan_.seed, 0x6365 + host)) {}
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const weir::stack::transmit_meta&) override {
    packet_.clear();
    for (auto part : parts) packet_.insert(packet_.end(), part.begin(), part.end());
    auto wrong = in_.watch_.sent(packet_, in_.plan_.hosts[host_].mtu);
    if (!wrong.empty()) in_.fail(in_.name(host_) + " breaks a promise on the wire: " + wrong);
    if (in_.taps_[host_])
      in_.taps_[host_]->packet(in_.now_, weir::detail::packet_direction::sent, parts);
    if (dice_.chance(in_.plan_.congestion[host_])) mark();
    const std::span<const std::byte> whole[] = {packet_};
    in_.wires_.send(in_.nodes_[host_], whole);
    return true;
  }

 private:
  // A router in congestion (RFC 3168 5): only what says that it understands is marked.
  void mark() {
    auto* at = packet_.data();
    bool v6 = std::to_integer<unsigned>(at[0]) >> 4 == 6;
    auto field = v6 ? std::to_integer<unsigned>(at[1]) >> 4 : std::to_integer<unsigned>(at[1]);
    if ((field & 3) == 0) return;
    at[1] |= v6 ? std::byte{0x30} : std::byte{0x03};
    if (v6) return;
    wire::put16(at + 10, 0);
    wire::put16(at + 10, wire::checksum_of(std::span(packet_).first(wire::min_ipv4_header)));
  }

  world& in_;
  std::size_t host_;
  weir::sim::random_source dice_;
  std::vector<std::byte> packet_;
};

world::world(const world_plan& plan, const std::string& pcap) : plan_(plan), wires_(plan.seed) {
  wires_.advance_to(now_);
  if (!pcap.empty()) {
    capture_ = std::make_unique<weir::detail::pcapng_file>(pcap);
    for (std::size_t i = 0; i < 2; ++i) taps_[i] = capture_->add_interface(name(i));
  }
  add_hosts();
  for (std::size_t i = 0; i < plan_.connections.size(); ++i)
    conversations_.emplace_back(plan_.connections[i], plan_.seed * 100 + i);
}

world::~world() = default;

void world::add_hosts() {
  for (std::size_t i = 0; i < 2; ++i) {
    cards_[i] = std::make_unique<card>(*this, i);
    hosts_[i] = std::make_unique<weir::stack::host>(plan_.hosts[i], *cards_[i]);
    std::vector<weir::ip_address> owned;
    for (const auto& prefix : plan_.hosts[i].addresses) owned.push_back(prefix.address);
    nodes_[i] = wires_.add_node(name(i), owned, [this, i](std::span<const std::byte> packet) {
      touched_[i] = true;
      watch_.delivered(packet);
      const std::span<const std::byte> parts[] = {packet};
      if (taps_[i]) taps_[i]->packet(now_, weir::detail::packet_direction::received, parts);
      hosts_[i]->input(now_, packet);
    });
    for (std::size_t family = 0; family < 2; ++family) {
      auto made = hosts_[i]->listen(address(i, family == 1, port), plan_.listening[i]);
      if (!made) return fail("listen: " + made.error().message());
      listeners_[i][family] = *made;
    }
  }
  link_ = &wires_.join(nodes_[0], nodes_[1]);
  for (int way = 0; way < 2; ++way)
    link_->set_options(way, plan_.ways[static_cast<std::size_t>(way)]);
}

endpoint world::address(std::size_t host, bool v6, std::uint16_t at_port) const {
  return {plan_.hosts[host].addresses[v6 ? 1 : 0].address, at_port};
}

void world::happen(const link_event& event) {
  for (int way = 0; way < 2; ++way) {
    if (!event.both && way != event.direction) continue;
    auto how = link_->options(way);
    switch (event.what) {
      case link_event::kind::options: {
        auto mtu = how.mtu;
        how = event.options;
        how.mtu = mtu;
        break;
      }
      case link_event::kind::mtu: how.mtu = event.mtu; break;
      case link_event::kind::down: link_->set_down(way, true); break;
      case link_event::kind::up: link_->set_down(way, false); break;
    }
    link_->set_options(way, how);
  }
}

void world::open(std::size_t index, std::size_t end, weir::stack::tcp_options options) {
  auto& c = conversations_[index];
  auto from = host_of(c, end), to = from ^ 1;
  // A port of its own for both ends of a simultaneous open; else the host chooses one.
  auto fixed = static_cast<std::uint16_t>(1000 + index);
  endpoint local, remote = address(to, c.plan.v6, c.plan.simultaneous ? fixed : port);
  if (c.plan.simultaneous) local = address(from, c.plan.v6, fixed);
  auto made = hosts_[from]->connect(now_, remote, local, options);
  touched_[from] = true;
  if (!made) {
    c.refused = made.error();
    return;
  }
  owners_[from][*made] = {index, end};
  c.users[end].open(now_, *made, false);
  if (!c.plan.simultaneous) by_client_[hosts_[from]->local_endpoint(*made)] = index;
}

void world::start(std::size_t index) {
  auto& c = conversations_[index];
  c.started = true;
  open(index, 0, c.plan.options);
  if (c.plan.simultaneous) open(index, 1, c.plan.options);
}

void world::accept(std::size_t host) {
  acceptable_[host] = false;
  for (auto listener : listeners_[host]) {
    for (;;) {
      auto made = hosts_[host]->accept(listener);
      if (!made) break;
      auto peer = hosts_[host]->remote_endpoint(*made);
      auto known = by_client_.find(peer);
      if (known == by_client_.end()) return fail("a connection from nobody: " + peer.to_string());
      auto& user = conversations_[known->second].users[1];
      // A client whose first attempt was given up halfway may be back: the first connection is
      // dead.
      if (user.opened() && !plan_.connections_may_fail)
        return fail("one client was accepted twice: " + peer.to_string());
      if (user.opened()) {
        hosts_[host]->abort(now_, *made);
        continue;
      }
      owners_[host][*made] = {known->second, 1};
      user.open(now_, *made, true);
    }
  }
}

bool world::take_events(std::size_t host) {
  weir::stack::event event;
  bool any_came = false;
  while (hosts_[host]->next_event(event)) {
    any_came = true;
    if (any(event.what, ready::acceptable)) {
      acceptable_[host] = true;
      accept_at_[host] = now_ + plan_.accept_delay[host];
      continue;
    }
    auto found = owners_[host].find(event.socket);
    if (found == owners_[host].end()) continue;  // aborted in accept()
    conversations_[found->second.conversation].users[found->second.end].on_event(event.what);
  }
  return any_came;
}

// One look at everything that can happen now; false when nothing did.
bool world::turn() {
  bool any_moved = wires_.next_event() <= now_;
  wires_.advance_to(now_);
  while (next_event_ < plan_.events.size() && began_ + plan_.events[next_event_].at <= now_)
    happen(plan_.events[next_event_++]);
  for (std::size_t i = 0; i < conversations_.size(); ++i)
    if (!conversations_[i].started && began_ + conversations_[i].plan.start <= now_) {
      any_moved = true;
      start(i);
    }
  for (std::size_t h = 0; h < 2; ++h) {
    if (hosts_[h]->next_deadline() <= now_) {
      any_moved = true;
      hosts_[h]->advance(now_);
      touched_[h] = true;
    }
    if (plan_.acknowledges_first && touched_[h]) hosts_[h]->flush(now_);
    any_moved = take_events(h) || any_moved;
    if (acceptable_[h] && accept_at_[h] <= now_) {
      any_moved = true;
      accept(h);
    }
  }
  for (auto& c : conversations_)
    for (std::size_t end = 0; end < 2; ++end) {
      auto& user = c.users[end];
      if (user.next() > now_) continue;
      any_moved = true;
      user.run(now_, *hosts_[host_of(c, end)]);
      auto silently = plan_.connections_may_fail;  // an orphan that nobody reached is given up
      if (user.over() && (user.left_early() || user.error() || silently))
        c.users[end ^ 1].peer_left(now_);
      touched_[host_of(c, end)] = true;
    }
  for (std::size_t h = 0; h < 2; ++h) {
    if (touched_[h]) hosts_[h]->flush(now_);
    touched_[h] = false;
  }
  return any_moved;
}

void world::settle() {
  for (int round = 0; round < most_rounds; ++round) {
    ++steps_;
    if (!turn()) return;
    check_step();
    if (!failure_.empty()) return;
  }
  fail("the clock does not get past this instant: something is ready again and again");
}

instant world::next() const {
  auto out = wires_.next_event();
  for (std::size_t h = 0; h < 2; ++h) {
    out = std::min(out, hosts_[h]->next_deadline());
    if (acceptable_[h]) out = std::min(out, accept_at_[h]);
  }
  if (next_event_ < plan_.events.size()) out = std::min(out, began_ + plan_.events[next_event_].at);
  for (const auto& c : conversations_) {
    if (!c.started) out = std::min(out, began_ + c.plan.start);
    for (const auto& user : c.users) out = std::min(out, user.next());
  }
  return out;
}

bool world::all_over() const {
  return std::all_of(conversations_.begin(), conversations_.end(), [](const conversation& c) {
    return c.started && (c.refused || !c.users[0].opened() || c.users[0].over()) &&
           (!c.users[1].opened() || c.users[1].over());
  });
}

std::string world::run() {
  while (failure_.empty()) {
    settle();
    if (!failure_.empty()) break;
    auto upcoming = next();
    if (upcoming.is_never()) {
      if (!all_over()) fail("nothing can happen any more, but a connection has not ended");
      break;
    }
    if (upcoming - began_ > longest_run || steps_ > most_steps) {
      fail(all_over() ? "the network never comes to rest" : "a connection never ends");
      break;
    }
    now_ = std::max(now_, upcoming);
  }
  if (failure_.empty()) check_end();
  if (failure_.empty()) return {};
  for (std::size_t h = 0; h < 2; ++h)
    hosts_[h]->for_each_connection([&](const tcp_info& i) {
      failure_ += "\n  " + name(h) + ": " + i.local.to_string() + " to " + i.remote.to_string() +
                  ", " + std::string(weir::stack::name(i.state)) + ", " +
                  std::to_string(i.send_queued) + " queued, " + std::to_string(i.unacknowledged) +
                  " in flight, window " + std::to_string(i.send_window) + ", " +
                  std::to_string(i.receive_queued) + " to read, " + std::to_string(i.out_of_order) +
                  " beyond a gap, " + std::to_string(i.memory) + " bytes held";
    });
  for (std::size_t h = 0; h < 2; ++h) {
    failure_ += "\n  " + name(h) + " dropped:";
    for (std::size_t i = 0; i < weir::stack::host_counters::size; ++i) {
      auto which = static_cast<weir::stack::counter>(i);
      if (auto n = hosts_[h]->counters()[which];
          n != 0 && weir::stack::name(which).starts_with("drop_"))
        failure_ += ' ' + std::string(weir::stack::name(which).substr(5)) + ' ' + std::to_string(n);
    }
  }
  for (std::size_t i = 0; i < conversations_.size(); ++i)
    for (std::size_t end = 0; end < 2; ++end)
      if (const auto& user = conversations_[i].users[end]; user.opened() && !user.over())
        failure_ += "\n  connection " + std::to_string(i) + ", end " + std::to_string(end) +
                    ": sent " + std::to_string(user.sent()) + ", received " +
                    std::to_string(user.received()) + (user.saw_end() ? ", saw the end" : "");
  return failure_ + " (at " + std::to_string((now_ - began_).count() / 1000) + " us)\n" +
         describe(plan_);
}

void world::check_host(std::size_t h) {
  const auto& host = *hosts_[h];
  std::uint64_t held = 0;
  host.for_each_connection([&](const tcp_info& info) {
    held += info.memory;
    if (info.unacknowledged > info.send_queued)
      fail(name(h) + " has more in flight than it has queued");
  });
  if (held > host.memory_in_use()) fail(name(h) + " holds more than it counts");
  // Half-open and TIME_WAIT entries are counted beside the queues' bound; they have bounds of their
  // own, and there are few here.
  if (host.memory_in_use() > plan_.hosts[h].limits.memory + 64 * 1024)
    fail(name(h) + " holds " + std::to_string(host.memory_in_use()) + " bytes, over its limit");
}

void world::check_conversation(std::size_t index) {
  const auto& c = conversations_[index];
  for (std::size_t end = 0; end < 2; ++end) {
    const auto& user = c.users[end];
    const auto& peer = c.users[end ^ 1];
    auto who = "connection " + std::to_string(index) + ", end " + std::to_string(end) + ": ";
    if (!user.wrong().empty()) return fail(who + user.wrong());
    if (user.received() > peer.sent()) return fail(who + "more bytes than were sent");
    if (user.saw_end() && user.received() != peer.sent())
      return fail(who + "the stream ended after " + std::to_string(user.received()) + " of " +
                  std::to_string(peer.sent()) + " bytes");
    if (!user.opened() || user.over()) continue;
    auto info = hosts_[host_of(c, end)]->info(user.id());
    if (!info) return fail(who + "its id died before it left");
    // Bounds of an accepted connection are its host's. A bound that is lowered on the way applies
    // to what comes.
    const auto& options =
        end == 0 || c.plan.simultaneous ? c.plan.options : plan_.hosts[host_of(c, end)].tcp;
    auto receive_bound = std::uint64_t{options.receive_buffer} + (1u << info->receive_window_shift);
    if (info->receive_queued + std::uint64_t{info->out_of_order} > receive_bound)
      return fail(who + "holds " + std::to_string(info->receive_queued + info->out_of_order) +
                  " received bytes, over " + std::to_string(receive_bound));
    if (info->send_queued > options.send_buffer)
      return fail(who + "queued " + std::to_string(info->send_queued) + " bytes to send, over " +
                  std::to_string(options.send_buffer));
  }
}

void world::check_step() {
  for (std::size_t h = 0; h < 2; ++h) check_host(h);
  for (std::size_t i = 0; i < conversations_.size(); ++i) check_conversation(i);
}

void world::check_end() {
  check_step();
  for (std::size_t h = 0; h < 2; ++h) {
    std::size_t connections = 0;
    hosts_[h]->for_each_connection([&](const tcp_info&) { ++connections; });
    if (connections != 0)
      fail(name(h) + " still has " + std::to_string(connections) + " connections");
    if (auto bytes = hosts_[h]->memory_in_use(); bytes != 0)
      fail(name(h) + " still holds " + std::to_string(bytes) + " bytes");
    hosts_[h]->for_each_listener([&](const weir::stack::listener_info& l) {
      if (l.syn_queue != 0 || l.accept_queue != 0) fail(name(h) + "'s listener still has entries");
    });
  }
  for (std::size_t i = 0; i < conversations_.size(); ++i) {
    const auto& c = conversations_[i];
    auto who = "connection " + std::to_string(i) + " ";
    if (c.refused) fail(who + "was not even started: " + c.refused.message());
    auto orderly = c.plan.ends[0].leaves == ending::orderly &&
                   c.plan.ends[1].leaves == ending::orderly && !plan_.connections_may_fail;
    if (!orderly) continue;
    for (const auto& user : c.users) {
      if (!user.opened()) fail(who + "never reached its server");
      if (user.error()) fail(who + "failed: " + user.error().message());
      if (!user.saw_end()) fail(who + "did not see the end of the stream");
    }
    for (std::size_t end = 0; end < 2; ++end)
      if (c.users[end].received() != c.plan.ends[end ^ 1].size) fail(who + "is short of bytes");
  }
}

}  // namespace sim_test

// Sequences of a user's calls and of packets: two hosts, every call of the socket API on either of
// them with live, dead and made-up ids, and a wire whose packets the input delivers, drops,
// doubles, holds back or damages. Whatever the order, bounds hold, counters grow, ids that died
// stay dead, and a reader gets the bytes of its peer, in order, each once.
#include <algorithm>
#include <deque>

#include "fuzz/live_host.hpp"

using namespace weir;
using namespace weir::fuzz;
using namespace std::chrono_literals;
using stack::socket_id;

namespace {

constexpr std::size_t most_sockets = 24;
constexpr std::size_t most_in_flight = 256;
constexpr std::size_t most_lent = 32;

/// One direction of a connection: what its writer has sent.
struct stream {
  std::uint32_t seed = 0;
  std::uint64_t sent = 0;
  std::byte at(std::uint64_t offset) const {
    return stream_byte(seed + static_cast<std::uint32_t>(offset));
  }
};

struct held {
  socket_id id = socket_id::none;
  bool listener = false, dead = false;
  endpoint local, remote;
  std::uint64_t read = 0;
};

/// What a reader was lent, and what it said then.
struct loan {
  stack::lent_chunk lent;
  std::vector<std::byte> bytes;
};

class world {
 public:
  world() {
    for (std::size_t i = 0; i < 2; ++i) {
      cards_[i].in = this;
      cards_[i].to = i ^ 1;
      hosts_[i] = std::make_unique<stack::host>(options(i), cards_[i]);
    }
  }

  void play(input& in) {
    while (!in.empty()) {
      step(in);
      for (std::size_t i = 0; i < 2; ++i) claims_[i].check(*hosts_[i]);
    }
    finish();
  }

 private:
  struct card final : stack::packet_sink {
    bool transmit(std::span<const std::span<const std::byte>> parts,
                  const stack::transmit_meta&) override {
      std::vector<std::byte> packet;
      for (auto part : parts) packet.insert(packet.end(), part.begin(), part.end());
      auto ip = wire::parse_ip(packet);
      claim(ip.status == wire::ip_status::ok, "what is sent parses");
      wire::tcp_segment s;
      s.source = ip.source, s.destination = ip.destination;
      if (ip.protocol == wire::tcp_protocol)
        claim(wire::parse_tcp(ip.payload, true, s) == wire::parse_status::ok, "segments parse");
      if (in->wire_[to].size() >= most_in_flight) return false;
      in->wire_[to].push_back(std::move(packet));
      return true;
    }
    world* in = nullptr;
    std::size_t to = 0;
  };

  static ip_address address(std::size_t host, bool v6) {
    return *ip_address::parse(v6 ? (host == 0 ? "fd00::1" : "fd00::2")
                                 : (host == 0 ? "10.0.0.1" : "10.0.0.2"));
  }

  static stack::host_options options(std::size_t host) {
    stack::host_options o;
    o.addresses = {{address(host, false), 24}, {address(host, true), 64}};
    o.secret[0] = static_cast<std::uint8_t>(host);
    o.tcp.receive_buffer = 64 << 10;
    o.tcp.send_buffer = 32 << 10;
    o.limits.memory = 128 << 10;
    o.limits.connections = 16;
    o.limits.listeners = 6;
    o.limits.time_wait = 4;
    return o;
  }

  static stack::tcp_options tcp(input& in) {
    stack::tcp_options o;
    auto bits = in.number8();
    o.nodelay = (bits & 1) != 0;
    o.sack = (bits & 2) != 0;
    o.timestamps = (bits & 4) != 0;
    o.window_scaling = (bits & 8) != 0;
    o.keep_alive = (bits & 16) != 0;
    o.keep_alive_idle = 1s;
    if ((bits & 32) != 0) o.receive_buffer = in.number16();
    if ((bits & 64) != 0) o.send_buffer = in.number16();
    if ((bits & 128) != 0) o.user_timeout = std::chrono::milliseconds(in.number16());
    o.receive_buffer = std::min(o.receive_buffer, 64u << 10);
    o.send_buffer = std::min(o.send_buffer, 32u << 10);
    return o;
  }

  held& pick(std::size_t host, input& in) {
    static held nobody;
    auto& all = held_[host];
    auto n = in.number8();
    if (all.empty() || n == 0xff) {
      nobody = {};
      nobody.id = static_cast<socket_id>(in.number16());
      nobody.dead = true;
      return nobody;
    }
    return all[n % all.size()];
  }

  stream& stream_of(const endpoint& from, const endpoint& to) {
    auto& s = streams_[{from, to}];
    if (s.seed == 0) s.seed = static_cast<std::uint32_t>(streams_.size()) * 7919;
    return s;
  }

  void keep(std::size_t host, socket_id id, bool listener) {
    held h;
    h.id = id;
    h.listener = listener;
    h.local = hosts_[host]->local_endpoint(id);
    h.remote = hosts_[host]->remote_endpoint(id);
    if (held_[host].size() >= most_sockets) {
      hosts_[host]->close(now_, held_[host].front().id);
      held_[host].erase(held_[host].begin());
    }
    held_[host].push_back(h);
  }

  void step(input& in) {
    auto what = in.number8();
    std::size_t h = what >> 7;
    auto& host = *hosts_[h];
    switch (what & 31) {
      case 0: listen(h, in); break;
      case 1: accept(h, in); break;
      case 2: connect(h, in); break;
      case 3:
      case 4: send(h, in); break;
      case 5:
      case 6: receive(h, in, false); break;
      case 7: receive(h, in, true); break;
      case 8: (void)host.shutdown_send(now_, pick(h, in).id); break;
      case 9: end(h, pick(h, in), false); break;
      case 10: end(h, pick(h, in), true); break;
      case 11: {
        auto& s = pick(h, in);
        (void)host.set_options(now_, s.id, tcp(in));
        break;
      }
      case 12: {
        auto& s = pick(h, in);
        (void)host.set_cork(now_, s.id, in.number8() % 2 == 0);
        break;
      }
      case 13: look(h, pick(h, in)); break;
      case 14: pass(std::chrono::milliseconds(in.number16())); break;
      case 15: pass(std::chrono::milliseconds(in.number8()) * 1000); break;
      case 16: events(h); break;
      case 17: damage(h, in); break;
      case 18: drop(h, in); break;
      case 19: again(h, in); break;
      case 20: last_first(h); break;
      case 21: lend(h, in); break;
      case 22: give_back(h, in); break;
      case 23: send_kept(h, in); break;
      case 24: listen_any(h, in); break;
      default: deliver(h, 1 + in.number8() % 16u); break;
    }
    if ((what & 64) == 0)
      for (auto& each : hosts_) each->flush(now_);
  }

  void listen(std::size_t h, input& in) {
    auto bits = in.number8();
    stack::listen_options o;
    o.backlog = bits & 3;
    o.syn_backlog = bits >> 2 & 3;
    o.overflow = (bits & 16) != 0 ? stack::overflow_policy::reset : stack::overflow_policy::drop;
    auto where = address((bits & 128) != 0 ? h ^ 1 : h, (bits & 32) != 0);
    auto made = hosts_[h]->listen({where, static_cast<std::uint16_t>(in.number8() % 4)}, o);
    if (!made) return;
    claim((bits & 128) == 0, "nobody listens on another's address");
    keep(h, *made, true);
  }

  // For a network that the other host lies in, or for all of a family, and any range of ports.
  void listen_any(std::size_t h, input& in) {
    auto bits = in.number8();
    stack::listen_options o;
    o.backlog = bits & 3;
    o.syn_backlog = bits >> 2 & 3;
    auto network = address((bits & 16) != 0 ? h ^ 1 : h, (bits & 32) != 0);
    auto length = (bits & 64) != 0 ? 0 : network.is_v4() ? 32 - (bits >> 7) : 128 - (bits >> 7);
    auto first = static_cast<std::uint16_t>(in.number8() % 5);
    auto last = static_cast<std::uint16_t>(in.number8() % 5);
    auto made =
        hosts_[h]->listen_any({{network, static_cast<std::uint8_t>(length)}, {first, last}}, o);
    if (!made) return;
    claim(first != 0 && first <= last, "nobody listens on port 0, or on none");
    keep(h, *made, true);
  }

  void accept(std::size_t h, input& in) {
    auto& l = pick(h, in);
    auto made = hosts_[h]->accept(l.id);
    if (!made) return;
    claim(l.listener && !l.dead, "only a listener accepts");
    keep(h, *made, false);
    fresh(h);
  }

  // A pair of endpoints that was used before starts new streams.
  void fresh(std::size_t h) {
    auto& s = held_[h].back();
    for (auto& other : held_[h])
      if (&other != &s && other.local == s.local && other.remote == s.remote) s.dead = true;
    if (s.local.port < 4 || s.remote.port < 4) {
      if (used_[h].insert({s.local, s.remote}).second) return;
      s.dead = true;  // whose bytes it reads cannot be told any more
    }
  }

  void connect(std::size_t h, input& in) {
    auto bits = in.number8();
    bool v6 = (bits & 1) != 0;
    endpoint remote{address((bits & 2) != 0 ? h : h ^ 1, v6),
                    static_cast<std::uint16_t>(in.number8() % 4)};
    endpoint local;
    if ((bits & 4) != 0) local = {address(h, v6), static_cast<std::uint16_t>(in.number8() % 4)};
    auto made = hosts_[h]->connect(now_, remote, local, tcp(in));
    if (!made) return;
    keep(h, *made, false);
    fresh(h);
  }

  void send(std::size_t h, input& in) {
    auto& s = pick(h, in);
    auto size = in.number16() % 20'000u;
    auto& out = stream_of(s.local, s.remote);
    std::vector<std::byte> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = out.at(out.sent + i);
    auto half = std::span<const std::byte>(data).first(size / 2);
    const std::span<const std::byte> parts[] = {half,
                                                std::span<const std::byte>(data).subspan(size / 2)};
    auto taken = hosts_[h]->send(now_, s.id, parts);
    if (!taken) return;
    claim(*taken <= size, "no more is taken than was offered");
    out.sent += *taken;
  }

  void receive(std::size_t h, input& in, bool peek) {
    auto& s = pick(h, in);
    auto size = in.number16() % 20'000u;
    auto& from = stream_of(s.remote, s.local);
    auto check = [&](std::span<const std::byte> bytes) {
      if (s.dead) return;
      for (auto byte : bytes) claim(byte == from.at(s.read++), "bytes in order, each once");
      claim(s.read <= from.sent, "no byte that was never sent");
    };
    if (peek) {
      auto head = hosts_[h]->peek(s.id);
      head = head.first(std::min<std::size_t>(head.size(), size));
      check(head);
      hosts_[h]->consume(now_, s.id, head.size());
      return;
    }
    std::vector<std::byte> into(size);
    auto n = hosts_[h]->receive(now_, s.id, into);
    if (!n) return;
    check(std::span<const std::byte>(into).first(*n));
  }

  void lend(std::size_t h, input& in) {
    auto& s = pick(h, in);
    auto& all = lent_[h];
    if (all.size() >= most_lent) give_back(h, in);
    auto lent = hosts_[h]->lend(now_, s.id);
    if (!lent || lent->size == 0) return;
    auto& from = stream_of(s.remote, s.local);
    for (auto byte : lent->bytes())
      if (!s.dead) claim(byte == from.at(s.read++), "bytes in order, each once");
    all.push_back({*lent, {lent->bytes().begin(), lent->bytes().end()}});
  }

  // Whatever happened to its socket meanwhile, what was lent is as it was.
  void give_back(std::size_t h, input& in) {
    auto& all = lent_[h];
    if (all.empty()) return;
    auto one = all.begin() + static_cast<std::ptrdiff_t>(in.number8() % all.size());
    claim(std::ranges::equal(one->lent.bytes(), one->bytes), "lent bytes stay as they are");
    hosts_[h]->release(now_, one->lent);
    all.erase(one);
  }

  // Memory of the user's, which is freed when it is given back: not before its last use.
  void send_kept(std::size_t h, input& in) {
    auto& s = pick(h, in);
    auto size = 1 + in.number16() % 20'000u;
    auto& out = stream_of(s.local, s.remote);
    auto* data = new std::vector<std::byte>(size);
    for (std::size_t i = 0; i < size; ++i) (*data)[i] = out.at(out.sent + i);
    auto free = [](void* memory) noexcept { delete static_cast<std::vector<std::byte>*>(memory); };
    auto kept = hosts_[h]->keep(*data, free, data);
    if (!kept) {
      claim(kept.error() == std::errc::not_enough_memory, "only memory may lack");
      return free(data);
    }
    auto taken = hosts_[h]->send_lent(now_, s.id, *kept, kept->bytes());
    if (taken) {
      claim(*taken <= size, "no more is taken than was offered");
      out.sent += *taken;
    }
    hosts_[h]->release(now_, *kept);
  }

  void end(std::size_t h, held& s, bool abort) {
    if (abort)
      hosts_[h]->abort(now_, s.id);
    else
      hosts_[h]->close(now_, s.id);
    claim(hosts_[h]->error(s.id) == std::errc::bad_file_descriptor, "what was given up is gone");
    claim(!hosts_[h]->info(s.id) && hosts_[h]->peek(s.id).empty(), "nothing is left to see");
    s.dead = true;
  }

  void look(std::size_t h, const held& s) {
    auto info = hosts_[h]->info(s.id);
    if (info) claim(info->local == hosts_[h]->local_endpoint(s.id), "one address, told twice");
    (void)hosts_[h]->info_listener(s.id);
    (void)hosts_[h]->get_options(s.id);
    (void)hosts_[h]->at_end(s.id);
  }

  void events(std::size_t h) {
    stack::event event;
    for (int i = 0; i < 4096; ++i)
      if (!hosts_[h]->next_event(event)) return;
    claim(false, "events come to an end");
  }

  void pass(duration d) {
    now_ += d;
    for (auto& each : hosts_) each->advance(now_);
  }

  void deliver(std::size_t h, std::size_t count) {
    for (; count > 0 && !wire_[h].empty(); --count) {
      auto packet = std::move(wire_[h].front());
      wire_[h].pop_front();
      hosts_[h]->input(now_, packet);
    }
  }
  void drop(std::size_t h, input& in) {
    for (auto n = in.number8() % 8u; n > 0 && !wire_[h].empty(); --n) wire_[h].pop_front();
  }
  void again(std::size_t h, input& in) {
    if (wire_[h].empty() || wire_[h].size() >= most_in_flight) return;
    wire_[h].push_back(wire_[h][in.number8() % wire_[h].size()]);
  }
  void last_first(std::size_t h) {
    if (wire_[h].size() < 2) return;
    auto last = std::move(wire_[h].back());
    wire_[h].pop_back();
    wire_[h].push_front(std::move(last));
  }
  void damage(std::size_t h, input& in) {
    if (wire_[h].empty()) return;
    auto& packet = wire_[h].front();
    packet[in.number16() % packet.size()] ^= std::byte(1 << in.number8() % 8);
  }

  // Everybody closes, the wire works: all of it must come to an end and give back what it held.
  void finish() {
    input nothing(nullptr, 0);
    for (std::size_t h = 0; h < 2; ++h)
      while (!lent_[h].empty()) give_back(h, nothing);
    for (std::size_t h = 0; h < 2; ++h)
      for (auto& s : held_[h]) hosts_[h]->close(now_, s.id);
    for (int turn = 0; turn < 4000; ++turn) {
      for (std::size_t h = 0; h < 2; ++h) deliver(h, most_in_flight);
      for (auto& each : hosts_) each->flush(now_);
      if (!wire_[0].empty() || !wire_[1].empty()) continue;
      auto next = std::min(hosts_[0]->next_deadline(), hosts_[1]->next_deadline());
      if (next.is_never()) break;
      now_ = std::max(now_, next);
      for (auto& each : hosts_) each->advance(now_);
    }
    for (std::size_t h = 0; h < 2; ++h) {
      claims_[h].check(*hosts_[h]);
      claim(hosts_[h]->memory_in_use() == 0, "nothing is left when everybody has left");
      hosts_[h]->for_each_connection([](const stack::tcp_info&) { claim(false, "no connection"); });
    }
  }

  std::array<card, 2> cards_;
  std::array<std::unique_ptr<stack::host>, 2> hosts_;
  std::array<host_claims, 2> claims_;
  std::array<std::deque<std::vector<std::byte>>, 2> wire_;
  std::array<std::vector<held>, 2> held_;
  std::array<std::vector<loan>, 2> lent_;
  std::array<std::set<std::pair<endpoint, endpoint>>, 2> used_;
  std::map<std::pair<endpoint, endpoint>, stream> streams_;
  instant now_ = instant::from_ns(1'000'000'000);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 2048) return 0;
  input in(data, size);
  world w;
  w.play(in);
  return 0;
}

// The whole input path of a host that has connections in every state: a listener, a half-open one,
// open ones with data queued both ways, closing ones, TIME_WAIT. The input's bytes choose among
// segments near those connections' sequence numbers, raw packets and ICMP from a stranger, time,
// and a little of what a user does. Whatever comes, bounds hold, counters grow, what is sent is
// well formed, strangers get no more than they gave, and what is read is what was sent.
#include <algorithm>
#include <utility>

#include "fuzz/live_host.hpp"

using namespace weir;
using namespace weir::fuzz;
using namespace std::chrono_literals;

namespace {

const ip_address own_v4 = *ip_address::parse("10.0.0.1"), own_v6 = *ip_address::parse("fd00::1");
const ip_address peer_v4 = *ip_address::parse("10.0.0.2"), peer_v6 = *ip_address::parse("fd00::2");
const ip_address stranger_v4 = *ip_address::parse("10.0.0.66");
const ip_address stranger_v6 = *ip_address::parse("fd00::66");
constexpr std::uint16_t listening = 80;
constexpr std::uint32_t peer_isn = 0xfffff000;  // numbers wrap early

/// A connection as its peer sees it.
struct flow {
  endpoint local, remote;
  std::uint32_t next = peer_isn;   ///< the next number that the peer would send
  std::uint32_t highest = 0;       ///< past the last octet that the host sent
  std::uint32_t acknowledged = 0;  ///< what the host acknowledged
  std::uint32_t clock = 1000, echo = 0;
  bool timestamps = false;
  stack::socket_id socket = stack::socket_id::none;
  std::uint32_t base = peer_isn + 1;     ///< the first number of the stream, as last agreed on
  std::uint32_t read_at = peer_isn + 1;  ///< of the next byte that the user reads
  bool ambiguous = false;  ///< cookies for more than one handshake are out: any may be completed
  bool checked = true;
  bool opening = false;  ///< an active open that nobody has answered yet
};

class world final : public stack::packet_sink {
 public:
  world() : host_(options(), *this) {
    ledger_.prove(peer_v4);
    ledger_.prove(peer_v6);
    set_up();
  }

  void play(input& in) {
    while (!in.empty()) {
      step(in);
      claims_.check(host_);
    }
    // Left alone, everything comes to an end in bounded time, and gives back what it held.
    for (int i = 0; i < 20 && !host_.next_deadline().is_never(); ++i) {
      now_ = std::max(now_, host_.next_deadline());
      host_.advance(now_);
      host_.flush(now_);
      claims_.check(host_);
    }
  }

  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta&) override {
    packet_.clear();
    for (auto part : parts) packet_.insert(packet_.end(), part.begin(), part.end());
    auto ip = wire::parse_ip(packet_);
    claim(ip.status == wire::ip_status::ok, "what is sent parses");
    claim(packet_.size() <= 1500, "what is sent fits");
    wire::tcp_segment s;
    s.source = ip.source, s.destination = ip.destination;
    bool is_tcp = ip.protocol == wire::tcp_protocol;
    if (is_tcp)
      claim(wire::parse_tcp(ip.payload, true, s) == wire::parse_status::ok, "segments parse");
    bool syn_ack = is_tcp && s.has(wire::syn) && s.has(wire::ack);
    ledger_.sent(ip, packet_.size(), syn_ack);
    if (is_tcp) learn(s);
    return ++sent_ % 31 != 0;
  }

 private:
  static stack::host_options options() {
    stack::host_options o;
    o.addresses = {{own_v4, 24}, {own_v6, 64}};
    o.tcp.receive_buffer = 32 << 10;
    o.tcp.send_buffer = 16 << 10;
    o.tcp.time_wait = 5s;
    o.limits.memory = 256 << 10;
    o.limits.time_wait = 4;
    o.limits.connections = 32;
    o.limits.reassembly_bytes = 16 << 10;
    return o;
  }

  void learn(const wire::tcp_segment& s) {
    for (auto& f : flows_) {
      if (f.local != endpoint(s.source, s.source_port) ||
          f.remote != endpoint(s.destination, s.destination_port))
        continue;
      if (s.has(wire::rst)) continue;
      auto end = s.sequence + s.sequence_length();
      if (s.has(wire::syn) || static_cast<std::int32_t>(end - f.highest) > 0) f.highest = end;
      if (s.has(wire::ack)) {
        f.acknowledged = s.acknowledgment;
        // Whoever answers an active open chooses the stream's first number; only the usual one is
        // known here.
        if (std::exchange(f.opening, false) && s.acknowledgment != f.base) f.checked = false;
      }
      if (s.has(wire::syn) && s.has(wire::ack) && s.acknowledgment != f.base) {
        f.base = s.acknowledgment;
        f.ambiguous = true;
      }
      if (s.options.timestamps) f.echo = s.options.timestamps->value;
    }
  }

  void deliver(std::span<const std::byte> packet, const stack::receive_meta& meta = {}) {
    ledger_.received(packet);
    const std::vector<std::byte> exact(packet.begin(), packet.end());
    host_.input(now_, exact, meta);
  }

  // What the peer sends from `sequence` on.
  WEIR_UNTRACED static std::vector<std::byte> stream(std::uint32_t sequence, std::size_t length) {
    std::vector<std::byte> out(length);
    for (auto& byte : out) byte = stream_byte(sequence++);
    return out;
  }

  void say(flow& f, std::uint8_t flags, std::size_t length = 0, std::uint16_t window = 0x4000) {
    wire::tcp_segment s;
    s.source = f.remote.address, s.destination = f.local.address;
    s.source_port = f.remote.port, s.destination_port = f.local.port;
    s.sequence = f.next;
    s.acknowledgment = (flags & wire::ack) != 0 ? f.highest : 0;
    s.flags = flags;
    s.window = window;
    if ((flags & wire::syn) != 0 && f.timestamps) {
      s.options.mss = 1460;
      s.options.sack_permitted = true;
      s.options.window_scale = 3;
    }
    if (f.timestamps) s.options.timestamps = wire::tcp_timestamps{++f.clock, f.echo};
    deliver(tcp_packet(s, stream(s.sequence, length)));
    f.next += static_cast<std::uint32_t>(length) + ((flags & (wire::syn | wire::fin)) != 0 ? 1 : 0);
    host_.flush(now_);
  }

  flow& add(bool v6, bool timestamps) {
    flow f;
    f.local = {v6 ? own_v6 : own_v4, listening};
    f.remote = {v6 ? peer_v6 : peer_v4, static_cast<std::uint16_t>(1000 + flows_.size())};
    f.timestamps = timestamps;
    flows_.push_back(f);
    return flows_.back();
  }

  flow& open_passive(bool v6, bool timestamps) {
    auto& f = add(v6, timestamps);
    say(f, wire::syn);
    say(f, wire::ack);
    auto made = host_.accept(listener_[v6 ? 1 : 0]);
    claim(made.has_value(), "a handshake completes");
    f.socket = *made;
    return f;
  }

  void open_active(bool v6, bool answered) {
    auto& f = add(v6, true);
    f.opening = true;
    f.remote.port = static_cast<std::uint16_t>(2000 + flows_.size());
    auto made = host_.connect(now_, f.remote,
                              {f.local.address, static_cast<std::uint16_t>(3000 + flows_.size())},
                              options().tcp);
    claim(made.has_value(), "an active open begins");
    f.socket = *made;
    f.local = host_.local_endpoint(*made);
    f.highest = 0;
    // Its SYN left before the flow was known by its port: it retransmits.
    now_ += 1s;
    host_.advance(now_);
    if (answered) say(f, wire::syn | wire::ack);
  }

  std::size_t send(flow& f, std::size_t bytes) {
    const std::vector<std::byte> data(bytes, std::byte{'d'});
    const std::span<const std::byte> parts[] = {data};
    auto taken = host_.send(now_, f.socket, parts);
    return taken ? *taken : 0;
  }

  void set_up() {
    flows_.reserve(16);
    for (std::size_t i = 0; i < 2; ++i) {
      stack::listen_options how;
      how.backlog = how.syn_backlog = 3;
      auto made = host_.listen({i == 0 ? own_v4 : own_v6, listening}, how);
      claim(made.has_value(), "a listener");
      listener_[i] = *made;
    }
    auto& busy = open_passive(false, true);  // data both ways
    say(busy, wire::ack | wire::psh, 3000);
    send(busy, 4000);
    auto& plain = open_passive(false, false);  // without options, a gap in what arrived
    plain.next += 500;
    say(plain, wire::ack, 700);
    plain.next -= 1200;
    auto& six = open_passive(true, true);
    send(six, 100);
    auto& fin_wait_1 = open_passive(false, true);
    send(fin_wait_1, 500);
    (void)host_.shutdown_send(now_, fin_wait_1.socket);
    auto& fin_wait_2 = open_passive(false, true);
    (void)host_.shutdown_send(now_, fin_wait_2.socket);
    say(fin_wait_2, wire::ack);
    auto& close_wait = open_passive(false, false);
    say(close_wait, wire::ack | wire::fin);
    auto& last_ack = open_passive(false, true);
    say(last_ack, wire::ack | wire::fin);
    host_.close(now_, last_ack.socket);
    auto& time_wait = open_passive(false, true);
    (void)host_.shutdown_send(now_, time_wait.socket);
    say(time_wait, wire::ack | wire::fin);
    host_.close(now_, time_wait.socket);
    auto& waiting = add(false, true);  // in the accept queue
    say(waiting, wire::syn);
    say(waiting, wire::ack | wire::psh, 10);
    auto& half_open = add(false, true);
    say(half_open, wire::syn);
    open_active(false, false);
    open_active(true, true);
    claims_.check(host_);
  }

  void step(input& in) {
    auto what = in.number8();
    switch (what & 15) {
      default: segment(in); break;
      case 10: raw(in); break;
      case 11: icmp_about(in); break;
      case 12:
        now_ += std::chrono::milliseconds(in.number16() * ((what & 16) != 0 ? 100 : 1));
        host_.advance(now_);
        break;
      case 13: read(in); break;
      case 14: write(in); break;
      case 15: user(in); break;
    }
    if ((what & 128) == 0) host_.flush(now_);
    stack::event event;
    while (host_.next_event(event)) {
    }
  }

  flow& pick(input& in) { return flows_[in.number8() % flows_.size()]; }
  // Near zero mostly; 0x80 and beyond reaches far.
  static std::uint32_t offset(input& in) {
    auto n = in.number8();
    if (n < 0x40) return n;
    if (n < 0x80) return static_cast<std::uint32_t>(-(n & 0x3f));
    auto wide = static_cast<std::uint32_t>(in.number16());
    return (n & 1) != 0 ? wide << (n >> 1 & 15) : 0u - (wide << (n >> 1 & 15));
  }

  void segment(input& in) {
    auto& f = pick(in);
    wire::tcp_segment s;
    s.source = f.remote.address, s.destination = f.local.address;
    s.source_port = f.remote.port, s.destination_port = f.local.port;
    s.flags = in.number8();
    auto how = in.number8();
    // From what the host expects, or from what the peer has said.
    s.sequence = ((how & 1) != 0 ? f.acknowledged : f.next) + offset(in);
    s.acknowledgment = f.highest + ((how & 2) != 0 ? offset(in) : 0);
    s.window = (how & 4) != 0 ? in.number16() : std::uint16_t{0x2000};
    auto length = (how & 8) != 0 ? in.number8() * 8u : 0u;
    if (f.timestamps != ((how & 16) != 0)) {
      f.clock += offset(in);
      s.options.timestamps = wire::tcp_timestamps{f.clock, f.echo};
    }
    if ((how & 32) != 0) {
      s.options.sack_count = static_cast<std::uint8_t>(1 + in.number8() % 4);
      for (std::size_t i = 0; i < s.options.sack_count; ++i) {
        auto left = f.highest + offset(in);
        s.options.sack[i] = {left, left + offset(in)};
      }
    }
    if ((how & 64) != 0) {
      if (s.has(wire::syn)) s.options.mss = in.number16();
      if (s.has(wire::syn)) s.options.window_scale = in.number8();
      s.options.sack_permitted = s.has(wire::syn);
      s.urgent = in.number16();
      s.ecn = in.number8() & 3;
    }
    stack::receive_meta meta;
    if ((how & 128) != 0 && length > 0) {
      meta.gso_size = static_cast<std::uint16_t>(1 + in.number8() * 6);
      meta.checksum_good = true;
    }
    auto packet = tcp_packet(s, stream(s.sequence + (s.has(wire::syn) ? 1 : 0), length));
    deliver(packet, meta);
    if (!s.has(wire::rst)) f.next = s.sequence + s.sequence_length() + length;
  }

  // Anything at all, from somebody who has no connection.
  static bool is_stranger(const ip_address& who) {
    return who == stranger_v4 || who == stranger_v6;
  }

  void raw(input& in) {
    auto how = in.number8();
    auto bytes = in.take(in.number8() * ((how & 1) != 0 ? 6u : 1u));
    std::vector<std::byte> packet(bytes.begin(), bytes.end());
    bool v6 = (how & 2) != 0;
    std::size_t header = v6 ? 40 : 20;
    if (packet.size() < header) packet.resize(header);
    auto* at = packet.data();
    at[0] = std::byte(v6 ? 0x60 : 0x40 | std::max(5u, wire::get8(at) & 15u));
    auto source = v6 ? stranger_v6 : stranger_v4, own = v6 ? own_v6 : own_v4;
    std::memcpy(at + (v6 ? 8 : 12), source.bytes().data(), source.bytes().size());
    if ((how & 4) == 0) std::memcpy(at + (v6 ? 24 : 16), own.bytes().data(), own.bytes().size());
    if ((how & 8) == 0)
      wire::put16(at + (v6 ? 4 : 2), static_cast<std::uint16_t>(packet.size() - (v6 ? 40 : 0)));
    if (!v6) {
      auto length = std::min<std::size_t>((wire::get8(at) & 15u) * 4u, packet.size());
      wire::put16(at + 10, 0);
      wire::put16(at + 10, wire::checksum_of(std::span(packet).first(length)));
    }
    stack::receive_meta meta;
    meta.checksum_good = (how & 16) != 0;
    deliver(packet, meta);
    // A fuzzer sees the numbers that a stranger would have to guess.
    host_.for_each_connection([&](const stack::tcp_info& info) {
      if (is_stranger(info.remote.address)) ledger_.prove(info.remote.address);
    });
  }

  // An error about a packet of a live connection, forged or true.
  void icmp_about(input& in) {
    auto& f = pick(in);
    bool v6 = f.local.address.is_v6();
    wire::tcp_segment s;
    s.source = f.local.address, s.destination = f.remote.address;
    s.source_port = f.local.port, s.destination_port = f.remote.port;
    s.sequence = f.highest + offset(in);
    s.flags = wire::ack;
    auto quoted = tcp_packet(s, {});
    wire::icmp_message m;
    m.type = in.number8();
    m.code = in.number8();
    m.rest = in.number16();
    m.body = std::span<const std::byte>(quoted).first(std::min<std::size_t>(quoted.size(), 60));
    std::vector<std::byte> body(wire::icmp_header + m.body.size());
    std::copy(m.body.begin(), m.body.end(), body.begin() + wire::icmp_header);
    auto from = v6 ? stranger_v6 : stranger_v4;
    wire::emit_icmp(body.data(), m, from, f.local.address);
    auto protocol = v6 ? wire::icmp_v6 : wire::icmp_v4;
    deliver(ip_packet(from, f.local.address, protocol, body));
  }

  void read(input& in) {
    auto& f = pick(in);
    auto most = in.number8() * 64u;
    while (most > 0) {
      auto head = host_.peek(f.socket);
      if (head.empty()) break;
      head = head.first(std::min<std::size_t>(head.size(), most));
      for (auto byte : head)
        claim(byte == stream_byte(f.read_at++) || !f.checked, "what is read is what was sent");
      most -= static_cast<unsigned>(head.size());
      host_.consume(now_, f.socket, head.size());
    }
  }

  void write(input& in) {
    auto& f = pick(in);
    send(f, in.number8() * 32u);
  }

  void user(input& in) {
    auto& f = pick(in);
    switch (in.number8() % 8) {
      case 0: (void)host_.shutdown_send(now_, f.socket); break;
      case 1: host_.close(now_, f.socket); break;
      case 2: host_.abort(now_, f.socket); break;
      case 3:
        for (auto listener : listener_) {
          auto made = host_.accept(listener);
          if (!made) continue;
          auto remote = host_.remote_endpoint(*made);
          bool known = is_stranger(remote.address);
          if (known) host_.close(now_, *made);
          for (auto& other : flows_)
            if (other.remote == remote && other.local == host_.local_endpoint(*made)) {
              host_.close(now_, other.socket);
              other.socket = *made;
              other.checked = !other.ambiguous;
              other.ambiguous = false;
              other.read_at = other.base;
              known = true;
            }
          claim(known, "an accepted connection is somebody's");
        }
        break;
      default: (void)host_.set_cork(now_, f.socket, in.number8() % 2 == 0); break;
    }
  }

  stack::host host_;
  std::vector<flow> flows_;
  std::array<stack::socket_id, 2> listener_{};
  address_ledger ledger_;
  host_claims claims_;
  instant now_ = instant::from_ns(1'000'000'000);
  std::vector<std::byte> packet_;
  std::uint64_t sent_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  input in(data, size);
  world w;
  w.play(in);
  return 0;
}

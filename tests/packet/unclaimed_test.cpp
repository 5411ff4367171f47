// What a host knows nothing of goes to the program that had the device before, and nothing else
// does; and lines of programs that take each other's input over: their clients notice nothing.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "packet/icmp_quote.hpp"
#include "packet/raw_packets.hpp"
#include "packet/shard_net.hpp"
#include "stack/wire/udp.hpp"

using namespace weir;
using namespace weir::test;

namespace {

using bytes = std::vector<std::byte>;

struct collector final : packet_forwarder {
  bool forward(std::span<const std::byte> packet, const receive_meta& meta) override {
    if (!there) return false;
    packets.emplace_back(packet.begin(), packet.end());
    metas.push_back(meta);
    return true;
  }
  bytes take() {
    if (packets.empty()) return {};
    auto out = std::move(packets.front());
    packets.erase(packets.begin());
    return out;
  }

  bool there = true;
  std::vector<bytes> packets;
  std::vector<receive_meta> metas;
};

/// An IPv4 datagram from the peer, without a checksum.
bytes datagram(const script& t, std::uint16_t to, std::string_view payload) {
  bytes out(wire::min_ipv4_header + wire::udp_header + payload.size());
  wire::ipv4_fields ip;
  ip.source = t.them;
  ip.destination = t.us;
  ip.protocol = wire::udp_protocol;
  ip.total_length = static_cast<std::uint16_t>(out.size());
  wire::emit_ipv4(out.data(), ip);
  put_octets(out, 20, 4000, 2);
  put_octets(out, 22, to, 2);
  put_octets(out, 24, static_cast<std::uint32_t>(wire::udp_header + payload.size()), 2);
  std::ranges::copy(bytes_of(payload), out.begin() + 28);
  return out;
}

/// The TCP checksum of an IPv4 packet without options, made good.
bytes with_checksum(bytes packet) {
  put_octets(packet, 36, 0, 2);
  wire::internet_sum sum;
  const auto tcp = std::span(packet).subspan(20);
  sum.add_pseudo(ip_address::v4(wire::get32(packet.data() + 12)),
                 ip_address::v4(wire::get32(packet.data() + 16)), wire::tcp_protocol,
                 static_cast<std::uint32_t>(tcp.size()));
  sum.add(tcp);
  put_octets(packet, 36, sum.checksum(), 2);
  return packet;
}

/// The bytes of an IPv4 packet's data from `begin` to `end`, as a fragment.
bytes fragment_of(const bytes& whole, std::size_t begin, std::size_t end) {
  bytes out(whole.begin(), whole.begin() + 20);
  out.insert(out.end(), whole.begin() + 20 + static_cast<std::ptrdiff_t>(begin),
             whole.begin() + 20 + static_cast<std::ptrdiff_t>(end));
  const bool more = 20 + end < whole.size();
  put_octets(out, 6, static_cast<std::uint32_t>((more ? 0x2000 : 0) | begin / 8), 2);
  finish_ipv4(out, 20);
  return out;
}

}  // namespace

TEST_CASE("a segment without a flow or a listener is forwarded as it came, and not answered") {
  for (const bool v6 : {false, true})
    for (const char* text : {"S 0 <mss 1460>", "S. 0 ack 5", ". 1 ack 1", "P. 1:101 ack 1",
                             "F. 1 ack 1", "R 1", "R. 1 ack 1", "F 1"}) {
      CAPTURE(text);
      script t({}, v6);
      collector before;
      t.h().forward_unclaimed(&before);
      t.in(text);
      CHECK(before.take() == t.packet(text));
      CHECK(before.metas.front().checksum_good);
      CHECK(before.packets.empty());
      t.quiet();
      CHECK(t.count(counter::drop_tcp_no_listener) == 0);
      CHECK(t.count(counter::drop_tcp_reset_ignored) == 0);
    }
}

TEST_CASE("a listener takes its SYNs, and what belongs to no handshake of its own is forwarded") {
  script t;
  collector before;
  t.h().forward_unclaimed(&before);
  t.listen();
  for (const char* text : {". 1 ack 1", "P. 1:101 ack 1", "F. 1 ack 1", "S. 0 ack 1", "R 1"}) {
    CAPTURE(text);
    t.in(text);
    CHECK(before.take() == t.packet(text));
    t.quiet();
  }
  t.in("S 0 <mss 1460>");
  CHECK(before.packets.empty());
  t.out("S. 0 ack 1");
  // Of another program's handshake with the same SYN.
  t.in(". 1 ack 777");
  CHECK(before.take() == t.packet(". 1 ack 777"));
  t.in("R 5");
  CHECK(before.take() == t.packet("R 5"));
  CHECK(t.h().half_open_entries() == 1);
  t.in(". 1 ack 1");
  CHECK(before.packets.empty());
  REQUIRE(t.accept());
  t.in("P. 1:101 ack 1");
  t.in(". 500 ack 1");
  CHECK(before.packets.empty());  // known, whatever it is worth
  CHECK(t.count(counter::resets_sent) == 0);
}

TEST_CASE("a reset that ends a handshake is forwarded too, since it may be about another one") {
  script t;
  collector before;
  t.h().forward_unclaimed(&before);
  t.listen();
  t.in("S 0 <mss 1460>");
  t.skip();
  t.in("R 1");
  CHECK(t.h().half_open_entries() == 0);
  CHECK(before.packets.size() == 1);
}

TEST_CASE("without anybody before it a host answers as it always does") {
  script t;
  collector before;
  before.there = false;
  t.h().forward_unclaimed(&before);
  t.in(". 1 ack 1");
  CHECK(t.take().flags == wire::rst);
  t.in("R 1");
  t.quiet();
  CHECK(t.count(counter::drop_tcp_no_listener) == 2);
  t.in_raw(datagram(t, 7, "x"));
  CHECK(t.count(counter::drop_udp_no_socket) == 1);
  CHECK(t.count(counter::icmp_errors_sent) == 1);
}

TEST_CASE(
    "a datagram without a socket and an ICMP error about nothing that was sent are forwarded") {
  script t;
  collector before;
  t.h().forward_unclaimed(&before);
  const auto socket = t.h().udp_bind({t.us, 7});
  REQUIRE(socket);
  t.in_raw(datagram(t, 7, "known"));
  CHECK(before.packets.empty());
  t.in_raw(datagram(t, 8, "unknown"));
  CHECK(before.take() == datagram(t, 8, "unknown"));

  wire::tcp_segment of_nobody;
  of_nobody.source = t.us;
  of_nobody.destination = t.them;
  of_nobody.source_port = 80;
  of_nobody.destination_port = 4000;
  const auto error = icmp_about(t, of_nobody, wire::icmp4::unreachable, 1);
  t.in_raw(error);
  CHECK(before.take() == error);
  auto about_datagram = error;  // whose socket has sent nothing there
  about_datagram[28 + 9] = static_cast<std::byte>(wire::udp_protocol);
  put_octets(about_datagram, 28 + 20, 7, 2);
  put_octets(about_datagram, 28 + 10, 0, 2);
  put_octets(about_datagram, 28 + 10, wire::checksum_of(std::span(about_datagram).subspan(28, 20)),
             2);
  put_octets(about_datagram, 22, 0, 2);
  put_octets(about_datagram, 22, wire::checksum_of(std::span(about_datagram).subspan(20)), 2);
  t.in_raw(about_datagram);
  CHECK(before.take() == about_datagram);
  t.flush();
  t.quiet();
}

TEST_CASE("what came in fragments is forwarded whole, and reads as one packet") {
  script t;
  collector before;
  t.h().forward_unclaimed(&before);
  const auto whole = with_checksum(t.packet("P. 1:201 ack 1"));
  t.h().input(t.now(), fragment_of(whole, 0, 104));
  CHECK(before.packets.empty());
  t.h().input(t.now(), fragment_of(whole, 104, whole.size() - 20));
  const auto forwarded = before.take();
  REQUIRE(forwarded.size() == whole.size());
  CHECK(std::equal(forwarded.begin() + 20, forwarded.end(), whole.begin() + 20));
  const auto header = wire::parse_ip(forwarded);
  CHECK(header.status == wire::ip_status::ok);
  CHECK_FALSE(header.is_fragment);
}

TEST_CASE("a super-segment is forwarded as one, with its size of segments") {
  script t;
  collector before;
  t.h().forward_unclaimed(&before);
  const auto packet = t.packet("P. 1:4001 ack 1");
  t.h().input(t.now(), packet, {.checksum_good = true, .gso_size = 1000});
  CHECK(before.take() == packet);
  CHECK(before.metas.front().gso_size == 1000);
}

TEST_CASE("hosts of one device forward once, whichever of them a packet comes to") {
  shard_net net;
  std::vector<collector> before(net.size());
  for (unsigned i = 0; i < net.size(); ++i) net.shard(i).forward_unclaimed(&before[i]);
  script t;  // makes the packets
  std::vector<bytes> sent, came;
  for (std::uint32_t port = 1024; port < 1224; ++port) {
    auto packet = t.packet(port % 2 == 0 ? "P. 1:101 ack 1" : "R 1");
    put_octets(packet, 12, 0x0a000001, 4);  // 10.0.0.1 to 10.0.0.2
    put_octets(packet, 16, 0x0a000002, 4);
    put_octets(packet, 20, port, 2);
    finish_ipv4(packet, 20);
    sent.push_back(with_checksum(packet));
    net.shard(port % net.size()).input(net.now(), sent.back());
  }
  net.run_for(1ms);
  for (auto& each : before) {
    CHECK(each.packets.size() > 20);  // where the flow would be
    came.insert(came.end(), each.packets.begin(), each.packets.end());
  }
  std::ranges::sort(sent);
  std::ranges::sort(came);
  CHECK((came == sent));
  CHECK(net.total(counter::segments_handed_over) > 100);
  CHECK(net.total(counter::resets_sent) == 0);
}

namespace {

constexpr std::uint16_t port = 80;

/// A client, and programs at one address that take the input over from one another, joined by
/// links that hold so many packets and take as long as the wire.
class line {
 public:
  line() : to_servers_(*this, false), to_client_(*this, true) {
    host_options options;
    options.addresses = {*ip_prefix::parse("10.0.0.1/24")};
    options.secret = secret_of(1);
    client_ = std::make_unique<host>(options, to_servers_);
    succeed();
  }

  host& client() { return *client_; }
  host& server(std::size_t i) { return *servers_[i].it; }
  instant now() const { return now_; }

  /// One more program has the input from now on.
  void succeed() {
    host_options options;
    options.addresses = {*ip_prefix::parse("10.0.0.2/24")};
    options.secret = secret_of(2);
    auto& s = servers_.emplace_back();
    s.it = std::make_unique<host>(options, to_client_);
    if (servers_.size() == 1) return;
    s.before = std::make_unique<link>(*this, servers_.size() - 2);
    s.it->forward_unclaimed(s.before.get());
  }
  void die(std::size_t i) { servers_[i].it.reset(); }
  std::uint64_t forwarded(std::size_t i) const { return servers_[i].before->forwarded; }
  std::uint64_t full(std::size_t i) const { return servers_[i].before->full; }

  std::size_t room = 1000;  ///< of each link
  /// Packets to the client; false: lost.
  std::function<bool(std::span<const std::byte>)> to_client;
  std::function<void()> application;

  bool run_until(const std::function<bool()>& done, duration limit = 60s) {
    const auto end = now_ + limit;
    for (turn(); !done(); turn()) {
      auto next = client_->next_deadline();
      for (auto& s : servers_)
        if (s.it) next = std::min(next, s.it->next_deadline());
      if (!in_flight_.empty()) next = std::min(next, in_flight_.begin()->first);
      if (next > end) return false;
      now_ = std::max(now_, next);
    }
    return true;
  }
  void run_for(duration d) {
    const auto end = now_ + d;
    in_flight_.emplace(end, packet{nowhere, {}});
    (void)run_until([&] { return now_ >= end; }, d);
  }
  std::uint64_t resets() const {
    auto sum = client_->counters()[counter::resets_sent];
    for (auto& s : servers_)
      if (s.it) sum += s.it->counters()[counter::resets_sent];
    return sum;
  }

 private:
  static constexpr std::size_t newest = ~std::size_t{0}, at_client = newest - 1,
                               nowhere = newest - 2;

  struct link final : packet_forwarder {
    link(line& n, std::size_t to) : net(&n), before(to) {}
    bool forward(std::span<const std::byte> content, const receive_meta&) override {
      if (net->servers_[before].it == nullptr) return false;
      const auto waits = std::ranges::count_if(
          net->in_flight_, [&](const auto& each) { return each.second.to == before; });
      if (static_cast<std::size_t>(waits) >= net->room) {
        ++full;
      } else {
        ++forwarded;
        net->in_flight_.emplace(net->now_ + delay,
                                packet{before, {content.begin(), content.end()}});
      }
      return true;
    }
    line* net;
    std::size_t before;
    std::uint64_t forwarded = 0, full = 0;
  };
  class side final : public packet_sink {
   public:
    side(line& net, bool client) : net_(net), client_(client) {}
    bool transmit(std::span<const std::span<const std::byte>> parts,
                  const transmit_meta&) override {
      bytes all;
      for (auto part : parts) all.insert(all.end(), part.begin(), part.end());
      if (client_ && net_.to_client && !net_.to_client(all)) return true;
      net_.in_flight_.emplace(net_.now_ + delay,
                              packet{client_ ? at_client : newest, std::move(all)});
      return true;
    }

   private:
    line& net_;
    bool client_;
  };
  struct packet {
    std::size_t to;
    std::vector<std::byte> content;
  };
  struct program {
    std::unique_ptr<link> before;
    std::unique_ptr<host> it;
  };
  static constexpr duration delay = 2ms;

  void turn() {
    while (!in_flight_.empty() && in_flight_.begin()->first <= now_) {
      const auto p = std::move(in_flight_.begin()->second);
      in_flight_.erase(in_flight_.begin());
      const auto to = p.to == newest ? servers_.size() - 1 : p.to;
      if (to == at_client)
        client_->input(now_, p.content);
      else if (to != nowhere && servers_[to].it)
        servers_[to].it->input(now_, p.content);
    }
    client_->advance(now_);
    for (auto& s : servers_)
      if (s.it) s.it->advance(now_);
    if (application) application();
    client_->flush(now_);
    for (auto& s : servers_)
      if (s.it) s.it->flush(now_);
  }

  side to_servers_, to_client_;
  std::multimap<instant, packet> in_flight_;
  std::vector<program> servers_;
  std::unique_ptr<host> client_;
  instant now_ = instant::from_ns(1'000'000'000);
};

struct pair_of_sockets {
  socket_id client, server;
};

/// A connection of the client's with this program.
pair_of_sockets joined(line& net, std::size_t program, socket_id listener) {
  pair_of_sockets out{*net.client().connect(net.now(), at("10.0.0.2", port), {}, {}),
                      socket_id::none};
  REQUIRE(net.run_until([&] {
    const auto got = net.server(program).accept(net.now(), listener);
    if (got) out.server = *got;
    return static_cast<bool>(got);
  }));
  return out;
}

/// Both send the other so many bytes, and compare. True when all has come.
struct exchange {
  struct end {
    host* at;
    socket_id id;
    std::uint64_t sent = 0, got = 0;
    bool good = true;
  };

  exchange(line& n, std::size_t program, const pair_of_sockets& of, std::uint64_t bytes_each)
      : goal(bytes_each),
        net(n),
        ends{{{&n.client(), of.client}, {&n.server(program), of.server}}} {}
  void step() {
    for (auto& e : ends) {
      while (e.sent < goal) {
        const auto text = script::stream(e.sent, std::min(e.sent + 10'000, goal));
        const auto n = send_text(*e.at, net.now(), e.id, text);
        if (!n) break;
        e.sent += *n;
      }
      const auto text = receive_text(*e.at, net.now(), e.id);
      e.good = e.good && text == script::stream(e.got, e.got + text.size());
      e.got += text.size();
    }
  }
  bool over() const { return ends[0].got == goal && ends[1].got == goal; }
  bool good() const { return ends[0].good && ends[1].good; }

  std::uint64_t goal;
  line& net;
  std::array<end, 2> ends;
};

}  // namespace

TEST_CASE("a transfer goes on byte for byte while the input goes from program to program") {
  line net;
  net.room = 100'000;
  const auto first = net.server(0).listen(at("10.0.0.2", port));
  exchange transfer(net, 0, joined(net, 0, *first), 8'000'000);
  net.application = [&] { transfer.step(); };
  net.run_for(20ms);
  net.succeed();
  const auto second = net.server(1).listen(at("10.0.0.2", port));
  net.run_for(20ms);
  const auto of_second = joined(net, 1, *second);
  net.succeed();  // by way of the second one, which still knows its own
  CHECK_FALSE(transfer.over());
  REQUIRE(net.run_until([&] { return transfer.over(); }));
  CHECK(transfer.good());
  REQUIRE(send_text(net.client(), net.now(), of_second.client, "hello"));
  net.run_for(20ms);
  CHECK(receive_text(net.server(1), net.now(), of_second.server) == "hello");
  CHECK(net.forwarded(1) > 50);
  CHECK(net.forwarded(2) > 50);
  CHECK(net.full(1) + net.full(2) == 0);
  CHECK(net.resets() == 0);
  CHECK(net.client().counters()[counter::retransmissions] == 0);
}

TEST_CASE("a link that is full loses what a wire would lose, and counts it") {
  line net;
  net.room = 3;
  const auto first = net.server(0).listen(at("10.0.0.2", port));
  exchange transfer(net, 0, joined(net, 0, *first), 600'000);
  net.application = [&] { transfer.step(); };
  net.succeed();
  REQUIRE(net.run_until([&] { return transfer.over(); }, 600s));
  CHECK(transfer.good());
  CHECK(net.full(1) > 0);
  CHECK(net.resets() == 0);
}

TEST_CASE("a handshake ends in the program that answered its SYN") {
  line net;
  const auto first = net.server(0).listen(at("10.0.0.2", port));
  const auto client = *net.client().connect(net.now(), at("10.0.0.2", port), {}, {});
  REQUIRE(net.run_until([&] { return net.server(0).half_open_entries() == 1; }));
  net.succeed();
  const auto second = net.server(1).listen(at("10.0.0.2", port));
  CHECK_FALSE(net.server(0).leave_to_others(net.now(), *first));
  net.run_for(100ms);
  CHECK(net.server(0).half_open_entries() == 0);
  CHECK_FALSE(net.server(0).leave_to_others(net.now(), *first));  // it waits to be accepted
  const auto server = net.server(0).accept(net.now(), *first);
  REQUIRE(server);
  CHECK(net.server(0).leave_to_others(net.now(), *first));
  REQUIRE(send_text(net.client(), net.now(), client, "hello"));
  net.run_for(20ms);
  CHECK(receive_text(net.server(0), net.now(), *server) == "hello");
  (void)joined(net, 1, *second);
  CHECK(net.server(0).info_listener(*first)->accepted == 1);
  CHECK(net.resets() == 0);
}

TEST_CASE("a SYN that is repeated to the next program ends in one connection, whoever has it") {
  for (const int lost : {1, 2, 3}) {  // of the answers; both programs answer from the second on
    CAPTURE(lost);
    line net;
    int answers = 0;
    const auto first = net.server(0).listen(at("10.0.0.2", port));
    net.to_client = [&](std::span<const std::byte>) { return ++answers > lost; };
    const auto client = *net.client().connect(net.now(), at("10.0.0.2", port), {}, {});
    REQUIRE(net.run_until([&] { return net.server(0).half_open_entries() == 1; }));
    net.succeed();
    const auto second = net.server(1).listen(at("10.0.0.2", port));
    socket_id server = socket_id::none;
    std::size_t whose = 0;
    REQUIRE(net.run_until([&] {
      for (std::size_t i = 0; i < 2; ++i)
        if (const auto got = net.server(i).accept(net.now(), i == 0 ? *first : *second)) {
          server = *got;
          whose = i;
        }
      return server != socket_id::none;
    }));
    CAPTURE(whose);
    REQUIRE(send_text(net.client(), net.now(), client, "hello"));
    net.run_for(100s);  // the other one gives its handshake up meanwhile
    CHECK(receive_text(net.server(whose), net.now(), server) == "hello");
    CHECK(net.server(0).half_open_entries() + net.server(1).half_open_entries() == 0);
    CHECK_FALSE(net.client().error(client));
    CHECK(net.resets() == 0);
  }
}

TEST_CASE("a listener that is left to others refuses what nobody else takes") {
  line net;
  const auto first = net.server(0).listen(at("10.0.0.2", port));
  net.succeed();  // it does not listen yet: the first one still gets the SYN
  const auto early = joined(net, 0, *first);
  CHECK(net.server(0).leave_to_others(net.now(), *first));
  const auto refused = *net.client().connect(net.now(), at("10.0.0.2", port), {}, {});
  net.run_for(20ms);
  CHECK(net.client().error(refused) == std::errc::connection_refused);
  CHECK(net.resets() == 1);
  CHECK_FALSE(net.client().error(early.client));
}

TEST_CASE("cookies that a program sent before it was left are waited for") {
  line net;
  listen_options narrow;
  narrow.syn_backlog = 1;
  const auto first = net.server(0).listen(at("10.0.0.2", port), narrow);
  // Two SYNs, of which one finds the queue full. The repeated one is answered by a cookie.
  std::vector<socket_id> clients;
  for (int i = 0; i < 2; ++i)
    clients.push_back(*net.client().connect(net.now(), at("10.0.0.2", port), {}, {}));
  REQUIRE(net.run_until([&] { return net.server(0).counters()[counter::syn_cookies_sent] > 0; }));
  net.succeed();
  const auto second = net.server(1).listen(at("10.0.0.2", port));
  REQUIRE(second);
  CHECK_FALSE(net.server(0).leave_to_others(net.now(), *first));
  net.run_for(500ms);
  CHECK(net.server(0).counters()[counter::syn_cookies_accepted] == 1);
  CHECK(net.server(0).accept(net.now(), *first));
  CHECK(net.server(0).accept(net.now(), *first));
  net.run_for(1s);
  CHECK(net.server(0).leave_to_others(net.now(), *first));
  CHECK(net.resets() == 0);
}

TEST_CASE("a program that dies is answered for by the one that has the input") {
  line net;
  const auto first = net.server(0).listen(at("10.0.0.2", port));
  const auto of_first = joined(net, 0, *first);
  net.succeed();
  const auto second = net.server(1).listen(at("10.0.0.2", port));
  const auto of_second = joined(net, 1, *second);
  net.die(0);
  REQUIRE(send_text(net.client(), net.now(), of_first.client, "anybody?"));
  REQUIRE(send_text(net.client(), net.now(), of_second.client, "hello"));
  net.run_for(50ms);
  CHECK(net.client().error(of_first.client) == std::errc::connection_reset);
  CHECK(receive_text(net.server(1), net.now(), of_second.server) == "hello");
  CHECK(net.resets() == 1);
}

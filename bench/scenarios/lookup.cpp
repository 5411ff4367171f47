// weir-bench lookup: see scenarios.hpp. Packets are handed to one host in this thread: data
// segments of flows in an order that no cache can guess, and SYNs to listeners in such an order.
// What differs between two rows is only how many flows or listeners there are.
#include <fmt/core.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "clock.hpp"
#include "process.hpp"
#include "scenarios/scenarios.hpp"
#include "stack/device/huge_pages.hpp"
#include "stack/wire/ip.hpp"
#include "stack/wire/tcp.hpp"
#include "statistics.hpp"
#include "weir/stack/host.hpp"

namespace weir::bench {
namespace {

namespace wire = stack::wire;

constexpr std::uint16_t first_listener = 2000;
constexpr std::uint32_t server_address = 0xc6120002;  // 198.18.0.2
constexpr std::uint32_t first_client = 0x64400001;    // 100.64.0.0/10
constexpr std::uint32_t client_ports = 50'000;
constexpr std::uint16_t first_client_port = 10'000;
constexpr std::size_t payload = 64;
constexpr std::size_t batch = 64;
constexpr std::size_t group = 16;        // packets that a device's port hands over together
constexpr std::uint32_t clients = 4096;  // that SYNs come from, in turn
constexpr std::size_t packet_room = 256;

/// Remembers the number of the last SYN-ACK; everything else is dropped unseen.
class last_answer final : public stack::packet_sink {
 public:
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta&) override {
    if (!watch) return true;
    std::array<std::byte, 128> packet;
    std::size_t length = 0;
    for (auto part : parts) {
      if (length + part.size() > packet.size()) return true;
      std::copy(part.begin(), part.end(), packet.begin() + static_cast<std::ptrdiff_t>(length));
      length += part.size();
    }
    const auto ip = wire::parse_ip(std::span(packet).first(length));
    wire::tcp_segment s;
    if (wire::parse_tcp(ip.payload, false, s) == wire::parse_status::ok) sequence = s.sequence;
    return true;
  }
  bool watch = false;
  std::uint32_t sequence = 0;
};

class subject {
 public:
  subject(std::uint32_t listeners, std::uint32_t flows, bool real_clock)
      : host_(options(), sink_), flows_(flows), real_clock_(real_clock) {
    // An application that keeps up: every accepted flow is taken at once.
    for (std::uint32_t i = 0; i < listeners; ++i) {
      auto made = host_.listen(at(static_cast<std::uint16_t>(first_listener + i)));
      if (!made) throw std::runtime_error("lookup: listen: " + made.error().message());
      listeners_.push_back(*made);
    }
    tick();
    for (std::uint32_t i = 0; i < flows; ++i) open(i);
    sink_.watch = false;
  }

  /// One data segment for a flow, read by its application; acknowledged with its batch. Segments
  /// come in groups, announced to the host as a device's port does.
  void data() {
    choose();
    if (in_group_ == group) run_group(true);
  }
  /// The same without a word ahead.
  void data_unannounced() {
    choose();
    if (in_group_ == group) run_group(false);
  }
  /// One SYN to a listener, and the reset that takes it back; in groups of ever other clients,
  /// announced as data() are.
  void handshake() {
    numbers_[in_group_++] = scattered(listeners_.size());
    if (in_group_ < group) return;
    run_handshakes(wire::syn, 1);
    run_handshakes(wire::rst, 2);
    client_ = (client_ + group) % clients;
    in_group_ = 0;
    in_batch_ += group;
    if (in_batch_ >= batch) turn();
  }

 private:
  struct flow {
    stack::socket_id socket;
    std::uint32_t next = 0, theirs = 0;
  };

  static stack::host_options options() {
    stack::host_options out;
    out.addresses = {*ip_prefix::parse("198.18.0.2/24")};
    out.secret.fill(7);
    out.transmit_checksum_offload = true;
    return out;
  }
  static weir::endpoint at(std::uint16_t port) {
    return weir::endpoint(ip_address::v4(server_address), port);
  }
  /// What the benchmark itself keeps of a flow is not to be waited for inside the measurement.
  void choose() {
    numbers_[in_group_] = scattered(flows_.size());
    __builtin_prefetch(&flows_[numbers_[in_group_++]], 1);
  }
  void run_group(bool announced) {
    std::array<std::span<const std::byte>, group> packets;
    for (std::size_t i = 0; i < group; ++i) {
      auto& f = flows_[numbers_[i]];
      packets[i] =
          build(packets_[i], numbers_[i], 0, wire::ack | wire::psh, f.next, f.theirs, payload);
      f.next += payload;  // the same flow twice in a group: the next one goes on behind this
    }
    if (announced) host_.expect(packets);
    for (std::size_t i = 0; i < group; ++i) {
      host_.input(now_, packets[i], good_checksum());
      host_.consume(now_, flows_[numbers_[i]].socket, payload);
    }
    in_group_ = 0;
    in_batch_ += group;
    if (in_batch_ >= batch) turn();
  }
  void run_handshakes(std::uint8_t flags, std::uint32_t sequence) {
    const auto first = static_cast<std::uint32_t>(flows_.size()) + client_;
    std::array<std::span<const std::byte>, group> packets;
    for (std::uint32_t i = 0; i < group; ++i)
      packets[i] = build(packets_[i], first + i, numbers_[i], flags, sequence, 0, 0);
    host_.expect(packets);
    for (auto packet : packets) host_.input(now_, packet, good_checksum());
  }
  std::uint32_t scattered(std::size_t below) {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>((random_ >> 33) * below >> 31);
  }
  void open(std::uint32_t number) {
    const auto to = number % static_cast<std::uint32_t>(listeners_.size());
    sink_.watch = true;
    deliver(number, to, wire::syn, 0, 0, 0);
    host_.flush(now_);
    sink_.watch = false;
    deliver(number, to, wire::ack, 1, sink_.sequence + 1, 0);
    auto accepted = host_.accept(listeners_[to]);
    if (!accepted) throw std::runtime_error("lookup: accept: " + accepted.error().message());
    flows_[number] = {*accepted, 1, sink_.sequence + 1};
    drop_events();
  }
  void deliver(std::uint32_t flow_number, std::uint32_t listener, std::uint8_t flags,
               std::uint32_t sequence, std::uint32_t acknowledgment, std::size_t bytes) {
    host_.input(now_,
                build(packets_[0], flow_number, listener, flags, sequence, acknowledgment, bytes),
                good_checksum());
  }
  static stack::receive_meta good_checksum() {
    stack::receive_meta meta;
    meta.checksum_good = true;
    return meta;
  }
  std::span<const std::byte> build(std::span<std::byte> into, std::uint32_t flow_number,
                                   std::uint32_t listener, std::uint8_t flags,
                                   std::uint32_t sequence, std::uint32_t acknowledgment,
                                   std::size_t bytes) const {
    wire::tcp_segment s;
    s.source_port = static_cast<std::uint16_t>(first_client_port + flow_number % client_ports);
    const auto to = flow_number < flows_.size()
                        ? flow_number % static_cast<std::uint32_t>(listeners_.size())
                        : listener;
    s.destination_port = static_cast<std::uint16_t>(first_listener + to);
    s.sequence = sequence;
    s.acknowledgment = acknowledgment;
    s.flags = flags;
    s.window = 65535;
    const auto header = wire::emit_tcp_header(into.subspan(wire::min_ipv4_header), s);
    wire::ipv4_fields ip;
    ip.source = ip_address::v4(first_client + flow_number / client_ports);
    ip.destination = ip_address::v4(server_address);
    ip.protocol = wire::tcp_protocol;
    const auto length = wire::min_ipv4_header + header + bytes;
    ip.total_length = static_cast<std::uint16_t>(length);
    wire::emit_ipv4(into.data(), ip);
    return into.first(length);
  }
  void turn() {
    in_batch_ = 0;
    tick();
    host_.flush(now_);
    host_.advance(now_);
    drop_events();
  }
  void tick() {
    if (real_clock_)
      now_ = instant::from_ns(static_cast<std::int64_t>(now_ns()));
    else
      now_ += std::chrono::microseconds(30);
  }
  void drop_events() {
    stack::event e;
    while (host_.next_event(e)) {
    }
  }

  last_answer sink_;
  stack::host host_;
  std::vector<stack::socket_id> listeners_;
  std::vector<flow> flows_;
  std::array<std::array<std::byte, packet_room>, group> packets_{};
  std::array<std::uint32_t, group> numbers_{};
  std::size_t in_group_ = 0;
  std::uint32_t client_ = 0;
  std::uint64_t random_ = 42;
  std::size_t in_batch_ = 0;
  bool real_clock_;
  instant now_ = instant::from_ns(1'000'000'000);
};

double time_of(double seconds, subject& s, void (subject::*step)()) {
  const auto begin = thread_cpu_ns();
  std::uint64_t count = 0, now = begin;
  while (static_cast<double>(now - begin) < seconds * 1e9) {
    for (std::size_t i = 0; i < 4 * batch; ++i) (s.*step)();
    count += 4 * batch;
    now = thread_cpu_ns();
  }
  return static_cast<double>(now - begin) / static_cast<double>(count);
}

struct row {
  std::string name;
  subject* which;
  void (subject::*step)();
  std::vector<double> rounds{};
};

void print(std::span<const row> rows) {
  fmt::print("{:<52} {:>10} {:>8}\n", "one host, packets from memory", "ns", "spread");
  for (const auto& r : rows) {
    const auto figure = summarize(r.rounds);
    fmt::print("{:<52} {:>10.0f} {:>7.1f}%\n", r.name, figure.median,
               figure.relative_spread() * 100);
  }
}

}  // namespace

int run_lookup(const lookup_settings& settings) {
  pin_this_thread(allowed_cpus().back());
  stack::use_huge_pages();  // as the transport of a server does
  const std::uint32_t few = 1000;
  const bool clock = settings.count == 0;
  subject one(1, few, clock), many_listeners(settings.listeners, few, clock),
      many_flows(1, settings.flows, clock);
  row rows[] = {
      {fmt::format("SYN to 1 listener, {} flows", few), &one, &subject::handshake},
      {fmt::format("SYN to {} listeners, {} flows", settings.listeners, few), &many_listeners,
       &subject::handshake},
      {fmt::format("data segment, 1 listener, {} flows", few), &one, &subject::data},
      {fmt::format("data segment, {} listeners, {} flows", settings.listeners, few),
       &many_listeners, &subject::data},
      {fmt::format("data segment, 1 listener, {} flows", settings.flows), &many_flows,
       &subject::data},
      {fmt::format("the same, not announced: {} flows", few), &one, &subject::data_unannounced},
      {fmt::format("the same, not announced: {} flows", settings.flows), &many_flows,
       &subject::data_unannounced}};
  if (settings.count != 0) {
    for (auto& r : rows)
      if (r.name.starts_with(settings.only))
        counted_steps(settings.count, [&] { (r.which->*r.step)(); });
    return 0;
  }
  for (unsigned round = 0; round < settings.rounds + 1; ++round)
    for (auto& r : rows) {
      const double ns = time_of(settings.seconds, *r.which, r.step);
      if (round != 0) r.rounds.push_back(ns);  // the first one warms up
    }
  print(rows);
  // Round by round: what a machine does to one row it does to the next.
  const auto times = [&](std::size_t of, std::size_t to) {
    const auto r = ratio(rows[of].rounds, rows[to].rounds);
    return fmt::format("{:.2f} times (+-{:.0f}%)", r.median, r.relative_spread() * 100);
  };
  fmt::print("{} listeners cost {} one for a SYN, {} for data\n", settings.listeners, times(1, 0),
             times(3, 2));
  fmt::print("{} flows cost {} {}, {} where packets are not announced\n", settings.flows,
             times(4, 2), few, times(6, 5));
  return 0;
}

}  // namespace weir::bench

// Header prediction beside the general way: two connections live through the same arrivals, calls
// and moments, one without the short cut, and nothing tells them apart.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "stack/tcp/connection.hpp"

using namespace weir;
using namespace weir::stack;
using namespace weir::stack::tcp;
using namespace std::chrono_literals;

namespace {

/// Writes down all that leaves.
struct recorder final : egress {
  void send_segment(instant now, const wire::tcp_segment& s,
                    std::span<const std::span<const std::byte>> payload,
                    std::uint8_t ttl) override {
    auto note = [this](auto value) { text += std::to_string(value) + ' '; };
    note(now.ns()), note(s.sequence), note(s.acknowledgment), note(s.flags), note(s.window);
    note(s.ecn), note(s.gso_size), note(ttl);
    if (s.options.timestamps) note(s.options.timestamps->value), note(s.options.timestamps->echo);
    for (std::size_t i = 0; i < s.options.sack_count; ++i)
      note(s.options.sack[i].left), note(s.options.sack[i].right);
    if (s.options.user_timeout) note(*s.options.user_timeout);
    for (auto part : payload)
      for (auto b : part) text += static_cast<char>('a' + std::to_integer<int>(b) % 26);
    text += '\n';
    last = s;
    last.payload = {};
    ++count;
  }
  std::string text;
  wire::tcp_segment last;
  std::size_t count = 0;
};

class subject {
 public:
  subject(bool shortcuts, const handshake& agreed, const tcp_options& options)
      : shortcuts_(shortcuts),
        connection_({{"10.0.0.1", 80}, {"10.0.0.2", 4000}}, options_ref(options)) {
    auto ctx = at(instant::from_ns(1'000'000'000));
    connection_.open_passive(ctx, agreed);
  }
  ~subject() { connection_.release(pool_); }

  context at(instant now) { return {now, pool_, counters_, wire_, shortcuts_}; }
  connection& operator*() { return connection_; }
  connection* operator->() { return &connection_; }
  const recorder& wire() const { return wire_; }
  /// Everything that can be seen of it.
  std::string look() {
    const auto i = connection_.info();
    std::string out;
    const auto note = [&](auto value) { out += std::to_string(value) + ' '; };
    note(static_cast<int>(i.state)), note(i.receive_mss), note(i.rtt.count()), note(i.rto.count());
    note(i.min_rtt.count()), note(i.congestion_window), note(i.slow_start_threshold);
    note(i.send_window), note(i.receive_window), note(i.send_queued), note(i.unacknowledged);
    note(i.receive_queued), note(i.out_of_order), note(i.memory), note(i.receive_limit);
    note(i.bytes_received), note(i.segments_sent), note(i.segments_received);
    note(i.retransmissions), note(i.timeouts), note(i.fast_retransmits);
    note(connection_.deadline().ns()), note(static_cast<int>(connection_.take_events()));
    note(connection_.recent_timestamp()), note(static_cast<int>(connection_.wants_output()));
    for (std::size_t c = 0; c < host_counters::size; ++c) note(counters_[static_cast<counter>(c)]);
    for (auto b : connection_.peek()) out += static_cast<char>('a' + std::to_integer<int>(b) % 26);
    return out;
  }

 private:
  bool shortcuts_;
  buffer::chunk_pool pool_{1u << 24};
  host_counters counters_;
  recorder wire_;
  connection connection_;
};

struct dice {
  explicit dice(std::uint64_t seed) : random(seed) {}
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); }
  bool once_in(std::uint32_t n) { return below(n) == 0; }
  std::mt19937_64 random;
};

// Mostly what would come next, sometimes anything else.
wire::tcp_segment draw_segment(dice& d, subject& like, const handshake& agreed, std::uint32_t clock,
                               std::span<const std::byte> bytes) {
  wire::tcp_segment s;
  s.sequence = like->receive_next().raw();
  const auto next = like->send_next().raw(), out = like->info().unacknowledged;
  s.acknowledgment = d.once_in(3) ? next - (out == 0 ? 0 : d.below(out + 1)) : next;
  s.flags = wire::ack;
  if (d.once_in(2)) s.flags |= wire::psh;
  s.window = static_cast<std::uint16_t>(d.once_in(8) ? d.below(65536) : 60'000);
  s.payload = bytes.first(d.once_in(3) ? 0 : d.once_in(4) ? d.below(4000) : d.below(200));
  if (agreed.timestamps) s.options.timestamps = wire::tcp_timestamps{clock, clock - d.below(20)};
  if (!d.once_in(5)) return s;
  switch (d.below(11)) {
    case 0: s.sequence += d.below(3000); break;
    case 1: s.sequence -= d.below(3000); break;
    case 2: s.acknowledgment += d.below(3000); break;
    case 3: s.acknowledgment -= d.below(100'000); break;
    case 4: s.flags = static_cast<std::uint8_t>(d.random()); break;
    case 5: s.options.timestamps.reset(); break;
    case 6: s.options.timestamps = wire::tcp_timestamps{clock - 1000, clock}; break;
    case 7: s.ecn = static_cast<std::uint8_t>(d.below(4)); break;
    case 8:
      s.options.sack[0] = {s.acknowledgment + 100, s.acknowledgment + 300};
      s.options.sack_count = 1;
      break;
    case 9: s.options.user_timeout = static_cast<std::uint16_t>(d.random()); break;
    case 10: s.gso_size = 536; break;
  }
  return s;
}

}  // namespace

TEST_CASE("a_connection_that_predicts_headers_does_what_one_that_does_not_does") {
  std::vector<std::byte> bytes(65536);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte((i * 7 + i / 251) & 0xff);
  std::size_t sent = 0, lived = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    dice d(seed);
    handshake agreed;
    agreed.iss = seq(static_cast<std::uint32_t>(d.random()));
    agreed.irs = seq(static_cast<std::uint32_t>(d.random()));
    agreed.peer_mss = 1460, agreed.peer_window = 65535, agreed.our_window = 65535;
    agreed.timestamps = !d.once_in(3), agreed.sack = !d.once_in(3), agreed.ecn = d.once_in(3);
    agreed.scaling = d.once_in(2), agreed.our_shift = 3, agreed.peer_shift = 2;
    agreed.peer_timestamp = 5000;
    tcp_options options;
    options.receive_buffer = d.once_in(3) ? 3000 : 1u << 20;
    options.user_timeout_option = d.once_in(4);
    options.pacing = d.once_in(4);
    subject quick(true, agreed, options), general(false, agreed, options);
    auto now = instant::from_ns(1'000'000'000);
    std::uint32_t clock = 5000;
    for (int step = 0; step < 300 && quick->state() != tcp_state::closed; ++step, ++lived) {
      now += std::chrono::microseconds(d.once_in(10) ? d.below(300'000) : d.below(3000));
      if (d.once_in(2)) clock += d.below(5);
      auto a = quick.at(now), b = general.at(now);
      switch (d.below(7)) {
        case 0: {
          const auto part = std::span(bytes).first(d.once_in(5) ? d.below(20'000) : d.below(300));
          const std::span<const std::byte> parts[] = {part};
          const auto x = quick->send(a, parts, false), y = general->send(b, parts, false);
          REQUIRE(x.has_value() == y.has_value());
          break;
        }
        case 1: {
          const auto n = d.below(5000);
          quick->consume(a, n), general->consume(b, n);
          break;
        }
        case 2: {
          if (quick->deadline() <= now) quick->on_timer(a);
          if (general->deadline() <= now) general->on_timer(b);
          break;
        }
        default: {
          const auto s = draw_segment(d, quick, agreed, clock, bytes);
          quick->on_segment(a, s), general->on_segment(b, s);
        }
      }
      if (d.once_in(2)) quick->output(a), general->output(b);
      REQUIRE(quick.look() == general.look());
    }
    REQUIRE(quick.wire().text == general.wire().text);
    sent += quick.wire().count;
  }
  CHECK(lived > 20'000);
  CHECK(sent > 10'000);
}

// Parts of a connection by themselves: sequence numbers, estimators, windows, the scoreboard, the
// timer wheel.
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <vector>

#include "stack/host/impl.hpp"
#include "stack/tcp/congestion.hpp"
#include "stack/tcp/rtt.hpp"
#include "stack/tcp/scoreboard.hpp"
#include "stack/tcp/seq.hpp"
#include "stack/tcp/timer_wheel.hpp"

namespace weir::stack::tcp {

struct connection_probe {
  static void age(connection& c, std::uint32_t bytes) {
    c.small_end_ = c.recover_ = c.rack_.round_ = c.snd_.una - bytes;
  }
  static bool fresh(const connection& c) {
    const auto just_behind = [&](seq mark) {
      return mark <= c.snd_.una && span_of(mark, c.snd_.una) <= 1;
    };
    return just_behind(c.small_end_) && just_behind(c.recover_) && just_behind(c.rack_.round_);
  }
};

}  // namespace weir::stack::tcp

using namespace weir;
using namespace weir::stack;
using namespace weir::stack::tcp;
using namespace std::chrono_literals;

TEST_CASE("sequence_numbers_compare_across_the_wrap") {
  const seq last(0xffffffffu);
  CHECK(last < last + 1);
  CHECK((last + 1).raw() == 0);
  CHECK(seq(5) > seq(0xfffffff0u));
  CHECK(seq(0x80000000u) - seq(0x7fffffffu) == 1);
  CHECK(span_of(seq(0xfffffff0u), seq(0x10)) == 0x20);
  CHECK(later(seq(3), seq(0xffffffffu)) == seq(3));
}

// covers: MUST-18
// covers: 6298-2, 6298-3, 6298-8, 8985-3
TEST_CASE("rtt_follows_rfc_6298") {
  rtt_estimator e;
  CHECK(e.timeout(1s, 200ms, 120s) == 1s);
  e.sample(100ms, instant::from_ns(0));
  CHECK(e.smoothed() == 100ms);
  CHECK(e.variance() == 50ms);
  CHECK(e.timeout(1s, 200ms, 120s) == 300ms);  // 100 + max(200, 4 * 50)
  e.sample(200ms, instant::from_ns(0));
  CHECK(e.variance() == 62500us);  // 3/4 * 50 + 1/4 * 100: before the mean moves
  CHECK(e.smoothed() == 112500us);
  CHECK(e.timeout(1s, 200ms, 120s) == 112500us + 250ms);
  for (int i = 0; i < 200; ++i) e.sample(10ms, instant::from_ns(0));
  CHECK(e.timeout(1s, 200ms, 120s) < 212ms);
  CHECK(e.timeout(1s, 200ms, 120s) >= 200ms);
  CHECK(e.minimum() == 10ms);
  // An old minimum is forgotten.
  e.sample(50ms, instant::from_ns(6'000'000'000));
  e.sample(50ms, instant::from_ns(12'000'000'000));
  CHECK(e.minimum() == 50ms);
}

// covers: MUST-19
TEST_CASE("reno_window_grows_and_shrinks_as_rfc_5681_says") {
  congestion_control c;
  c.start(congestion_algorithm::reno, 1000, 10000);
  c.on_ack({}, 10000, 10ms);
  CHECK(c.window() == 20000);
  c.on_loss({}, 20000);
  CHECK(c.threshold() == 10000);
  c.finish_recovery();
  CHECK(c.window() == 10000);
  for (int i = 0; i < 10; ++i) c.on_ack({}, 1000, 10ms);
  CHECK(c.window() == 11000);  // one segment per window
  c.on_timeout({}, 11000, true);
  CHECK(c.window() == 1000);
  CHECK(c.threshold() == 5500);
  c.on_timeout({}, 1000, false);
  CHECK(c.threshold() == 5500);
  c.on_loss({}, 1500);
  CHECK(c.threshold() == 2000);  // never under two segments
  c.set_mss(500);
  CHECK(c.window() == 500);
}

TEST_CASE("cubic_returns_to_its_plateau_and_then_probes") {
  congestion_control c;
  c.start(congestion_algorithm::cubic, 1000, 100000);
  c.on_loss({}, 100000);
  CHECK(c.threshold() == 70000);
  c.finish_recovery();
  // K = cbrt(30 / 0.4) = 4.2 s. A window is acknowledged every 100 ms.
  auto now = instant::from_ns(0);
  std::vector<std::uint32_t> per_second;
  for (int i = 0; i < 80; ++i) {
    now += 100ms;
    const auto w = c.window();
    for (std::uint32_t a = 0; a < w; a += 1000) c.on_ack(now, 1000, 100ms);
    if (i % 10 == 9) per_second.push_back(c.window());
  }
  CHECK(per_second[3] > 97000);
  CHECK(per_second[3] < 103000);
  CHECK(per_second[0] - 70000 > per_second[3] - per_second[2]);  // concave before the plateau
  CHECK(per_second[7] - per_second[6] > per_second[4] - per_second[3]);  // convex after it
}

// covers: 9438-8
TEST_CASE("cubic_fast_convergence_lowers_the_plateau") {
  congestion_control c;
  c.start(congestion_algorithm::cubic, 1000, 100000);
  c.on_loss({}, 100000);
  c.finish_recovery();
  c.on_loss({}, 70000);  // pushed down again below the last plateau
  c.finish_recovery();
  CHECK(c.window() == 49000);
  c.undo();
  CHECK(c.window() == 70000);
}

TEST_CASE("scoreboard_counts_match_a_byte_map_under_random_fates") {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    buffer::chunk_pool pool(1u << 30);
    std::mt19937 random(seed);
    scoreboard board;
    seq una(0xfffff000u), nxt = una;
    std::map<std::uint32_t, int> fate;  // offset from the first una -> flags
    const auto first = una;
    for (int i = 0; i < 1500; ++i) {
      const auto what = random() % 10;
      ack_outcome outcome;
      if (what < 4 && span_of(una, nxt) < 15000) {
        const auto n = 1 + random() % 1500;
        REQUIRE(board.reserve(pool));
        board.push(nxt, n, instant::from_ns(i / 3), false);
        for (std::uint32_t k = 0; k < n; ++k) fate[span_of(first, nxt) + k] = 0;
        nxt += n;
      } else if (what < 6 && una != nxt) {
        const auto n = 1 + random() % span_of(una, nxt);
        una += std::min<std::uint32_t>(n, 2000);
        board.acknowledge(pool, una, outcome);
        while (!fate.empty() && fate.begin()->first < span_of(first, una)) fate.erase(fate.begin());
      } else if (what < 8 && una != nxt) {
        const auto left = una + random() % span_of(una, nxt);
        const auto right = earlier(nxt, left + 1 + random() % 3000);
        std::uint32_t fresh = 0;
        for (auto k = span_of(first, left); k < span_of(first, right); ++k) {
          if ((fate[k] & sent_record::sacked) == 0) ++fresh;
          fate[k] = (fate[k] & sent_record::ever_retransmitted) | sent_record::sacked;
        }
        board.sack(pool, left, right, outcome);
        REQUIRE(outcome.newly_sacked == fresh);
      } else if (board.count() > 0) {
        const auto index = random() % board.count();
        const auto r = board[index];
        int change = 0;
        if (!r.has(sent_record::sacked) && !r.has(sent_record::lost)) {
          board.mark_lost(index);
          change = sent_record::lost;
        } else if (r.has(sent_record::lost) && !r.has(sent_record::retransmitted)) {
          board.mark_retransmitted(index, instant::from_ns(i));
          change = sent_record::retransmitted | sent_record::ever_retransmitted;
        }
        for (auto k = span_of(first, r.start); k < span_of(first, r.end()); ++k) fate[k] |= change;
      }
      std::uint32_t sacked = 0, lost = 0, again = 0;
      for (const auto& [offset, flags] : fate) {
        sacked += (flags & sent_record::sacked) != 0;
        lost += (flags & sent_record::lost) != 0;
        again += (flags & sent_record::retransmitted) != 0;
      }
      REQUIRE(board.sacked() == sacked);
      REQUIRE(board.lost() == lost);
      REQUIRE(board.retransmitted() == again);
    }
    board.clear(pool);
    REQUIRE(pool.account().used() == 0);
  }
}

TEST_CASE("timer_wheel_fires_each_node_once_in_order_and_never_early") {
  timer_wheel wheel;
  std::mt19937_64 random(9);
  constexpr int n = 2000;
  std::vector<timer_node> nodes(n);
  std::vector<std::int64_t> due(n, -1);
  const auto tick = std::int64_t{1} << timer_wheel::tick_shift;
  std::int64_t now = 12345;
  std::size_t fired = 0;
  for (int step = 0; step < 20000; ++step) {
    const auto i = static_cast<std::size_t>(random() % n);
    nodes[i].index = static_cast<std::uint32_t>(i);
    const int scale = static_cast<int>(random() % 40);
    const auto deadline = now + static_cast<std::int64_t>(random() % (std::uint64_t{1} << scale));
    wheel.arm(nodes[i], instant::from_ns(deadline));
    due[i] = deadline;
    if (step % 3 == 0) {
      now += static_cast<std::int64_t>(random() % (std::uint64_t{1} << (random() % 32)));
      while (auto* node = wheel.take_due(instant::from_ns(now))) {
        REQUIRE(due[node->index] >= 0);
        REQUIRE(due[node->index] <= now);
        due[node->index] = -1;
        ++fired;
      }
      const auto next = wheel.next();
      for (std::size_t k = 0; k < due.size(); ++k) {
        if (due[k] < 0) continue;
        REQUIRE(due[k] > now - tick);  // nothing overdue by more than a tick is left
        REQUIRE(next.ns() <= due[k] + tick);
      }
    }
    if (step % 7 == 0) {
      wheel.disarm(nodes[i]);
      due[i] = -1;
    }
  }
  CHECK(fired > 1000);
  // In order, with next() as the only guide.
  auto at = instant::from_ns(now);
  std::int64_t last = 0;
  while (!wheel.next().is_never()) {
    at = std::max(at, wheel.next());
    while (auto* node = wheel.take_due(at)) {
      REQUIRE(node->tick >= last);
      last = node->tick;
      due[node->index] = -1;
    }
  }
  for (auto d : due) CHECK(d == -1);
}

TEST_CASE("timer_wheel_leaves_a_node_that_moves_later_and_moves_one_that_moves_earlier") {
  timer_wheel wheel;
  timer_node node;
  wheel.arm_by(node, instant::from_ns(1'000'000'000));
  const auto fires = timer_wheel::fires_at(node);
  wheel.arm_by(node, instant::from_ns(5'000'000'000));
  CHECK(timer_wheel::fires_at(node) == fires);
  wheel.arm_by(node, instant::from_ns(500'000'000));
  CHECK(timer_wheel::fires_at(node) < fires);
  wheel.arm_by(node, instant::never());
  CHECK(node.armed());
  wheel.disarm(node);
  CHECK(wheel.next().is_never());
}

// covers: 8985-2
TEST_CASE("segments keep their own times of transmission to the nanosecond") {
  buffer::chunk_pool pool(1u << 20);
  scoreboard board;
  const seq una(1000);
  for (std::uint32_t i = 0; i < 50; ++i) {
    REQUIRE(board.reserve(pool));
    board.push(una + i * 100, 100, instant::from_ns(1'000'000 + i), false);
  }
  REQUIRE(board.count() == 50);
  board.mark_lost(7);
  board.mark_retransmitted(7, instant::from_ns(2'000'001));
  for (std::uint32_t i = 0; i < 50; ++i)
    CHECK(board[i].sent.ns() == (i == 7 ? 2'000'001 : 1'000'000 + i));
  // What left together shares one record, and keeps its time when it is cut.
  board.push(una + 5000, 100, instant::from_ns(3'000'000), false);
  board.push(una + 5100, 100, instant::from_ns(3'000'000), false);
  CHECK(board.count() == 51);
  REQUIRE(board.split(pool, 50, 150));
  CHECK(board[51].sent.ns() == 3'000'000);
  board.clear(pool);
}

// covers: 4987-1
TEST_CASE("objects_are_as_small_as_the_design_says") {
  CHECK(sizeof(half_open) <= 128);
  CHECK(sizeof(time_wait_entry) <= 136);
  CHECK(sizeof(connection) <= 464);
  CHECK(sizeof(tcp_socket) <= 504);
}

TEST_CASE("marks_of_long_ago_do_not_come_to_lie_ahead_after_2_gib") {
  struct silent final : egress {
    void send_segment(instant, const wire::tcp_segment&,
                      std::span<const std::span<const std::byte>>, std::uint8_t) override {}
  } nowhere;
  buffer::chunk_pool pool(1u << 30);
  host_counters counters;
  context ctx{instant::from_ns(1'000'000'000), pool, counters, nowhere};
  connection c({{"10.0.0.1", 80}, {"10.0.0.2", 4000}}, options_ref(tcp_options{}));
  handshake h;
  h.iss = seq(1000);
  h.irs = seq(5000);
  h.peer_mss = 1460;
  h.peer_window = h.our_window = 65535;
  c.open_passive(ctx, h);
  connection_probe::age(c, 0x60000000u);
  const std::vector<std::byte> bytes(1000);
  const std::span<const std::byte> parts[] = {bytes};
  REQUIRE(c.send(ctx, parts, false).value() == 1000);
  wire::tcp_segment ack;
  ack.sequence = 5001;
  ack.acknowledgment = 2001;
  ack.flags = wire::ack;
  ack.window = 65535;
  c.on_segment(ctx, ack);
  CHECK(connection_probe::fresh(c));
  c.release(ctx);
}

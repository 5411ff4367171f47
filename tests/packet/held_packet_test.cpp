// Packets that stay while their bytes are read: a reader takes them from there, what it leaves
// outlives them, and nothing that a peer or a program can see differs from packets that are copied.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// A packet in memory that is gone once it was let go.
class held_packet {
 public:
  held_packet(script& t, std::string_view text) : t_(t), bytes_(t.packet(text)) {
    receive_meta meta;
    meta.checksum_good = true;
    t.h().input_held(t.now(), bytes_, meta);
  }
  bool shows(std::span<const std::byte> part) const {
    return part.data() >= bytes_.data() &&
           part.data() + part.size() <= bytes_.data() + bytes_.size();
  }
  bool let_go() {
    const bool copied = t_.h().let_go();
    std::ranges::fill(bytes_, std::byte{0xee});
    return copied;
  }

 private:
  script& t_;
  std::vector<std::byte> bytes_;
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string range(std::uint32_t from, std::uint32_t to) {
  return std::to_string(from) + ":" + std::to_string(to);
}

}  // namespace

TEST_CASE("a reader takes the bytes of a held packet from where they lie") {
  script t;
  t.establish();
  held_packet packet(t, "P. 1:4001 ack 1");
  const auto shown = t.h().peek_held(t.socket);
  CHECK(packet.shows(shown));
  CHECK(text_of(shown) == script::stream(0, 4000));
  CHECK(t.info().receive_queued == 4000);
  CHECK(t.info().memory >= 4000);  // charged as if it had been copied
  t.h().consume(t.now(), t.socket, 4000);
  CHECK_FALSE(packet.let_go());
  CHECK(t.info().memory == 0);
  t.flush();
  t.out(". 1 ack 4001 win 65535");
}

TEST_CASE("what a reader leaves of a held packet outlives it") {
  script t;
  t.establish();
  held_packet packet(t, "P. 1:4001 ack 1");
  t.h().consume(t.now(), t.socket, 1000);
  CHECK(packet.let_go());
  CHECK_FALSE(t.h().let_go());
  t.in("P. 4001:4501 ack 1");
  CHECK(t.read() == script::stream(1000, 4500));
  CHECK(t.info().memory == 0);
}

TEST_CASE("what is peeked at or lent of a held packet is the connection's own") {
  script t;
  t.establish();
  {
    held_packet packet(t, "P. 1:4001 ack 1");
    const auto shown = t.h().peek(t.socket);
    CHECK_FALSE(packet.shows(shown));
    packet.let_go();
    CHECK(text_of(shown) == script::stream(0, 4000));
    t.h().consume(t.now(), t.socket, 4000);
  }
  held_packet packet(t, "P. 4001:8001 ack 1");
  const auto lent = t.h().lend(t.now(), t.socket);
  REQUIRE(lent);
  CHECK_FALSE(packet.let_go());
  CHECK(text_of(lent->bytes()) == script::stream(4000, 8000));
  t.h().release(t.now(), *lent);
  CHECK(t.info().memory == 0);
}

TEST_CASE("few bytes, and bytes behind others, are copied at once") {
  script t;
  t.establish();
  {
    held_packet packet(t, "P. 1:101 ack 1");
    CHECK_FALSE(packet.shows(t.h().peek_held(t.socket)));
    CHECK_FALSE(packet.let_go());
  }
  held_packet packet(t, "P. 101:4101 ack 1");
  CHECK_FALSE(packet.let_go());
  CHECK(t.read() == script::stream(0, 4100));
}

TEST_CASE("a connection may go while its packet is held") {
  for (const bool reset : {false, true}) {
    script t;
    t.establish();
    held_packet packet(t, "P. 1:4001 ack 1");
    if (reset)
      t.h().abort(t.now(), t.socket);
    else
      t.close();  // unread: a reset, too
    CHECK_FALSE(packet.let_go());
    CHECK(t.h().memory_in_use() == 0);
  }
}

TEST_CASE("a connection that nobody has accepted copies what comes") {
  script t;
  t.listen();
  t.in("S 0 <mss 1460>");
  (void)t.take();
  t.in(". 1 ack 1");
  held_packet packet(t, "P. 1:4001 ack 1");
  CHECK_FALSE(packet.let_go());
  REQUIRE(t.accept());
  CHECK(t.read() == script::stream(0, 4000));
}

TEST_CASE("held packets and copied ones cannot be told apart") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    host_options options;
    options.tcp.receive_buffer = 20'000 + below(100'000);
    script copied(options), held(options);
    copied.establish("<mss 1460,sackOK>");
    held.establish("<mss 1460,sackOK>");
    copied.skip(), held.skip();
    std::string got_copied, got_held;
    std::uint32_t next = 1;
    for (int step = 0; step < 200; ++step) {
      // Mostly what comes next; else something old, or beyond a gap.
      const auto mode = below(8);
      auto begin = next;
      if (mode == 0) begin = next > 3000 ? next - below(3000) : next;
      if (mode == 1) begin = next + below(6000);
      const auto end = begin + 1 + below(below(3) == 0 ? 16'000 : 3000);
      const auto text = "P. " + range(begin, end) + " ack 1";
      copied.arrive(text);
      held_packet packet(held, text);
      CHECK(copied.events() == held.events());
      for (auto reads = below(3); reads > 0; --reads) {
        const auto most = 1 + below(20'000);
        const auto a = copied.h().peek(copied.socket);
        const auto b = held.h().peek_held(held.socket);
        REQUIRE(a.size() == b.size());
        const auto n = std::min<std::size_t>(a.size(), most);
        got_copied += text_of(a.first(n));
        got_held += text_of(b.first(n));
        copied.h().consume(copied.now(), copied.socket, n);
        held.h().consume(held.now(), held.socket, n);
      }
      packet.let_go();
      if (below(4) != 0) copied.flush(), held.flush();
      if (below(5) == 0) copied.after(10ms), held.after(10ms);
      REQUIRE(copied.sent() == held.sent());
      CHECK(copied.info().memory == held.info().memory);
      CHECK(copied.info().receive_window == held.info().receive_window);
      CHECK(copied.info().receive_queued == held.info().receive_queued);
      CHECK(copied.info().out_of_order == held.info().out_of_order);
      next = static_cast<std::uint32_t>(1 + got_held.size() + held.info().receive_queued);
    }
    while (copied.sent() > 0) CHECK(copied.take_packet() == held.take_packet());
    got_copied += copied.read();
    got_held += held.read();
    CHECK(got_held == got_copied);
    CHECK(got_held == script::stream(0, got_held.size()));
    CHECK(got_held.size() > 10'000);
  }
}

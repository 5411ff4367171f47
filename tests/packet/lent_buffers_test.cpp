// Bytes that the receive queue lends and the send queue keeps: what that does to the window, who is
// charged and for how long, and that every holder lets go once, whatever ends first.
#include <doctest/doctest.h>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

namespace {

host_options with_receive_buffer(std::uint32_t bytes) {
  host_options o;
  o.tcp.receive_buffer = bytes;
  return o;
}

std::string range(std::uint32_t from, std::uint32_t to) {
  return std::to_string(from) + ":" + std::to_string(to);
}

lent_chunk lend(script& t) {
  auto lent = t.h().lend(t.now(), t.socket);
  REQUIRE(lent);
  return *lent;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The application's memory, and how often it came back.
struct memory {
  explicit memory(std::size_t size) : text(script::stream(0, size)) {}
  std::string text;
  int released = 0;
  static void release(void* self) noexcept { ++static_cast<memory*>(self)->released; }
  result<lent_chunk> keep(host& h) { return h.keep(bytes_of(text), &memory::release, this); }
};

}  // namespace

// --- The window.

TEST_CASE("the window stays closed by what is lent and opens when it is released") {
  script t(with_receive_buffer(20'000));
  t.establish();
  std::vector<lent_chunk> held;
  for (std::uint32_t at = 1; at < 20'001; at += 1000) {
    t.in("P. " + range(at, at + 1000) + " ack 1");
    held.push_back(lend(t));
    CHECK(text_of(held.back().bytes()) == script::stream(at - 1, at + 999));
    t.after(100ms);  // a delayed acknowledgement, where there is one
  }
  CHECK(t.info().receive_queued == 0);
  CHECK(t.info().lent == 20'000);
  CHECK(t.info().memory >= 20'000);
  CHECK(t.info().receive_window == 0);
  CHECK(t.count(counter::drop_tcp_memory) == 0);
  t.skip();
  t.in("P. 20001:20002 ack 1");
  t.out(". 1 ack 20001 win 0");

  // A chunk of 2048 for each 1000 bytes: it counts at half of what it costs, 1040.
  t.h().release(t.now(), held[19]);
  t.h().release(t.now(), held[0]);
  t.quiet();  // 1280 bytes of window are less than a segment: a silly one
  t.h().release(t.now(), held[1]);
  t.out(". 1 ack 20001 win 2320");
  t.in("P. 20001:21001 ack 1");
  held[0] = lend(t);
  CHECK(text_of(held[0].bytes()) == script::stream(20'000, 21'000));
  held[1] = held[19] = {};
  t.skip();
  for (const auto& one : held) t.h().release(t.now(), one);
  CHECK(t.info().lent == 0);
  CHECK(t.info().memory == 0);
  CHECK(t.take().window > 2320);
}

TEST_CASE("what is lent is acknowledged, and read on behind it") {
  script t;
  t.establish();
  t.in("P. 1:301 ack 1");
  t.out(". 1 ack 301");
  const auto first = lend(t);
  t.in("P. 301:601 ack 1");
  t.out(". 1 ack 601");
  CHECK(t.read() == script::stream(300, 600));
  CHECK(text_of(first.bytes()) == script::stream(0, 300));
  CHECK(t.h().lend(t.now(), t.socket).error() == std::errc::operation_would_block);
  t.in("F. 601 ack 1");
  CHECK(lend(t).size == 0);  // the end of the stream
  t.h().release(t.now(), first);
  t.h().release(t.now(), lent_chunk{});
  CHECK(t.info().memory == 0);
  CHECK(t.h().lent_chunks() == 0);
}

TEST_CASE("messages of one byte that are held are bounded by what they cost") {
  script t(with_receive_buffer(20'000));
  t.establish();
  std::vector<lent_chunk> held;
  std::uint32_t at = 1;
  for (int i = 0; i < 1000; ++i) {
    t.in("P. " + range(at, at + 1) + " ack 1");
    if (auto lent = t.h().lend(t.now(), t.socket)) {
      ++at;
      held.push_back(*lent);
    }
  }
  CHECK(held.size() < 100);
  CHECK(t.info().memory <= 2 * 20'000 + 4160);
  CHECK(t.count(counter::drop_tcp_memory) > 0);
  for (const auto& one : held) t.h().release(t.now(), one);
  CHECK(t.info().memory == 0);
  t.in("P. " + range(at, at + 1000) + " ack 1");
  CHECK(t.read() == script::stream(at - 1, at + 999));
}

// --- Who holds, and for how long.

TEST_CASE("lent bytes outlive their connection, however it ends") {
  enum class end { close, abort, reset, fin };
  for (const auto how : {end::close, end::abort, end::reset, end::fin}) {
    CAPTURE(static_cast<int>(how));
    script t;
    t.establish();
    t.in("P. 1:1001 ack 1");
    const auto lent = lend(t);
    t.in("P. 2001:3001 ack 1");  // beyond a gap
    switch (how) {
      case end::close: t.close(); break;
      case end::abort: t.h().abort(t.now(), t.socket); break;
      case end::reset:
        t.in("R 1001");
        CHECK(t.error() == std::errc::connection_reset);
        t.close();
        break;
      case end::fin:
        t.in("F. 1001 ack 1");
        t.close();
        t.in(". 1002 ack 2");
        break;
    }
    t.after(10min);
    CHECK(text_of(lent.bytes()) == script::stream(0, 1000));
    CHECK(t.h().memory_in_use() == 2080);  // its chunk, and nothing else
    // Its place is taken by another connection, whose window it is none of.
    t.skip();
    t.peer_port = 40001;
    t.establish();
    t.skip();
    const auto before = t.info().memory;
    t.h().release(t.now(), lent);
    t.quiet();
    CHECK(t.info().memory == before);
    CHECK(t.info().lent == 0);
    CHECK(t.h().memory_in_use() == before);
    t.h().abort(t.now(), t.socket);
    CHECK(t.h().memory_in_use() == 0);
  }
}

TEST_CASE("the host's account is what lent bytes are charged to, and windows see it") {
  host_options o;
  o.limits.memory = 100'000;
  script t(o);
  t.establish();
  std::vector<lent_chunk> held;
  for (std::uint32_t at = 1; at < 60'001; at += 1000) {
    t.in("P. " + range(at, at + 1000) + " ack 1");
    auto lent = t.h().lend(t.now(), t.socket);
    if (!lent) break;
    held.push_back(*lent);
  }
  CHECK(t.h().memory_in_use() >= 65'000);  // three quarters of what is no reserve
  CHECK(t.h().memory_in_use() <= 87'500);
  for (int i = 0; i < 3; ++i) {
    t.h().release(t.now(), held.back());
    held.pop_back();
  }
  // Another connection's window is not opened again, though its reader reads.
  t.skip();
  t.peer_port = 40001;
  t.establish();
  t.in("P. 1:1001 ack 1");
  CHECK(t.read().size() == 1000);
  t.skip();
  t.in("P. 1001:2001 ack 1");
  CHECK(t.take().window == 65535 - 2000);
  CHECK(t.read().size() == 1000);
  for (const auto& one : held) t.h().release(t.now(), one);
  CHECK(t.h().memory_in_use() == 0);
  t.skip();
  t.in("P. 2001:3001 ack 1");
  CHECK(t.take().window > 65535 - 2000);
}

// --- Sending what is held.

TEST_CASE("what was received is sent on from its own chunk, which is held until the last ack") {
  script t;
  t.establish();
  t.in("P. 1:1001 ack 1");
  t.skip();
  const auto lent = lend(t);
  const auto before = t.h().memory_in_use();
  CHECK(t.h().send_lent(t.now(), t.socket, lent, lent.bytes()).value() == 1000);
  t.out_payload("P. 1:1001 ack 1001", script::stream(0, 1000));
  t.h().release(t.now(), lent);
  CHECK(t.info().lent == 0);
  CHECK(t.info().memory == t.h().memory_in_use());  // of the send side alone
  CHECK(t.info().send_queued == 1000);
  CHECK(t.h().memory_in_use() >= before);
  CHECK(t.h().memory_in_use() <
        before + 700);  // the note of it and the scoreboard, no second chunk
  (void)t.until_sent();
  t.out_payload("P. 1:1001 ack 1001", script::stream(0, 1000));  // again, from the same memory
  t.in(". 1001 ack 501");
  CHECK(t.h().memory_in_use() >= before);
  t.in(". 1001 ack 1001");
  CHECK(t.h().memory_in_use() == 0);
}

TEST_CASE("a part of what is lent may be sent, and a few bytes are copied") {
  script t;
  t.establish();
  t.in("P. 1:1001 ack 1");
  t.skip();
  const auto lent = lend(t);
  CHECK(t.h().send_lent(t.now(), t.socket, lent, lent.bytes().subspan(100, 800)).value() == 800);
  t.out_payload("P. 1:801 ack 1001", script::stream(100, 900));
  CHECK(t.h().send_lent(t.now(), t.socket, lent, lent.bytes().subspan(10, 5)).value() == 5);
  t.out_payload("P. 801:806 ack 1001", script::stream(10, 15));
  t.in(". 1001 ack 801");
  t.h().release(t.now(), lent);
  CHECK(t.h().memory_in_use() < 1100);  // five bytes in a chunk of their own, and the scoreboard
  t.in(". 1001 ack 806");
  CHECK(t.h().memory_in_use() == 0);
}

TEST_CASE("memory of the application's is sent without a copy and comes back once acknowledged") {
  script t;
  t.establish();
  memory m(5000);
  const auto kept = *m.keep(t.h());
  CHECK(t.h().memory_in_use() >= 5000);
  CHECK(t.h().send_lent(t.now(), t.socket, kept, kept.bytes()).value() == 5000);
  CHECK(t.send(10u).value() == 10);  // copied, behind it
  t.h().release(t.now(), kept);
  CHECK(t.h().lent_chunks() == 0);
  t.out_payload(". 1:1461 ack 1", script::stream(0, 1460));
  t.out_payload(". 1461:2921 ack 1", script::stream(1460, 2920));
  t.skip();
  t.in(". 1 ack 4999");
  CHECK(m.released == 0);
  t.in(". 1 ack 5001");
  CHECK(m.released == 1);
  t.in(". 1 ack 5011");
  CHECK(t.h().memory_in_use() == 0);
  CHECK(m.released == 1);
}

TEST_CASE("the end after more pieces than a packet has parts is on the last segment only") {
  for (const bool small : {false, true}) {
    CAPTURE(small);
    auto o = with_receive_buffer(1u << 20);
    o.mtu = 9000;
    script t(o);
    memory mine(270);
    t.establish("<mss 8960>", 65535);
    t.in(". 1 ack 1 win 0");
    // Each is a part of its own; what is copied, as it stands behind what is kept.
    const auto kept = mine.keep(t.h());
    REQUIRE(kept);
    std::string all;
    for (int i = 0; i < 66; ++i) {
      CHECK(t.h().send_lent(t.now(), t.socket, *kept, kept->bytes().first(260)).value() == 260);
      all += mine.text.substr(0, 260);
      if (small) {
        CHECK(t.send("ten bytes.").value() == 10);
        all += "ten bytes.";
      }
    }
    t.h().release(t.now(), *kept);
    t.shutdown();
    t.quiet();
    t.in(". 1 ack 1 win 65535");
    std::string sent;
    while (t.sent() > 0) {
      const auto s = t.take();
      CHECK(t.place(s) == 1 + sent.size());
      CHECK(s.payload.size() <= 8960);
      sent += text_of(s.payload);
      CHECK(s.has(wire::fin) == (sent.size() == all.size()));
      if (t.sent() == 0) t.in(". 1 ack " + std::to_string(1 + sent.size()));
    }
    CHECK(sent == all);
    t.in(". 1 ack " + std::to_string(2 + sent.size()));
    CHECK(t.state() == tcp_state::fin_wait_2);
    CHECK(mine.released == 1);
  }
}

TEST_CASE("memory that is kept comes back once, whatever ends the connection") {
  for (const std::string how : {"abort", "reset", "timeout", "host", "unsent"}) {
    CAPTURE(how);
    memory m(5000);
    {
      script t;
      t.establish();
      const auto kept = *m.keep(t.h());
      if (how != "unsent")
        CHECK(t.h().send_lent(t.now(), t.socket, kept, kept.bytes()).value() == 5000);
      t.h().release(t.now(), kept);
      CHECK(m.released == (how == "unsent" ? 1 : 0));
      if (how == "abort") t.h().abort(t.now(), t.socket);
      if (how == "reset") t.in("R 1");
      if (how == "timeout") t.after(1h);
      CHECK(m.released == (how == "host" ? 0 : 1));
    }
    CHECK(m.released == 1);
  }
}

TEST_CASE("the send limit counts what is kept, and takes a large buffer piece by piece") {
  host_options o;
  o.tcp.send_buffer = 10'000;
  script t(o);
  t.establish("<mss 1460>", 1000);
  t.peer_window = 1000;
  memory m(50'000);
  const auto kept = *m.keep(t.h());
  std::size_t sent = 0;
  std::uint32_t acked = 1;
  std::string got;
  while (got.size() < 50'000) {
    auto n = t.h().send_lent(t.now(), t.socket, kept, kept.bytes().subspan(sent));
    if (n) sent += *n;
    REQUIRE(t.info().send_queued <= 10'000);
    if (t.sent() == 0) (void)t.until_sent();
    while (t.sent() > 0) {
      const auto s = t.take();
      if (t.place(s) != got.size() + 1) continue;
      got += text_of(s.payload);
    }
    acked = static_cast<std::uint32_t>(got.size()) + 1;
    t.in(". 1 ack " + std::to_string(acked) + " win 1000");
  }
  CHECK(got == script::stream(0, 50'000));
  CHECK(m.released == 0);
  t.h().release(t.now(), kept);
  CHECK(m.released == 1);
  CHECK(t.h().memory_in_use() == 0);
}

TEST_CASE("memory beyond the host's limit is not kept, and stays the caller's") {
  host_options o;
  o.limits.memory = 20'000;
  script t(o);
  t.establish();
  memory m(30'000);
  CHECK(m.keep(t.h()).error() == std::errc::not_enough_memory);
  CHECK(m.released == 0);
  CHECK(t.h().memory_in_use() < 1000);
  CHECK(t.h().keep({}, &memory::release, &m).error() == std::errc::invalid_argument);
}

// --- Peers that do not read.

TEST_CASE("senders whose peers do not read leave the rest of the host's memory to others") {
  host_options o;
  o.limits.memory = 1u << 20;
  script t(o);
  const auto rounds = [&](std::uint16_t port) {
    t.peer_port = port;
    t.establish("<mss 1460>", 0);
    t.peer_window = 0;
    while (t.send(100'000u)) {
    }
    t.skip();
  };
  for (std::uint16_t i = 0; i < 20; ++i) rounds(static_cast<std::uint16_t>(41000 + i));
  const auto used = t.h().memory_in_use();
  CHECK(used > (1u << 20) / 2);
  // Whoever comes now is served: a request comes in, an answer goes out.
  t.peer_window = 65535;
  t.peer_port = 42000;
  t.establish();
  t.in("P. 1:501 ack 1");
  CHECK(t.read() == script::stream(0, 500));
  CHECK(t.send(500u).value() == 500);
  CHECK(t.count(counter::drop_tcp_memory) == 0);
}

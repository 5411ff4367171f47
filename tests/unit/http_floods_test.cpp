// What a hostile client does to a server without end, in a simulated network: its connection ends
// with a reason, in time and counted, memory stays bounded, and an honest client beside it is
// served all the while.
#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "h2_world.hpp"
#include "support/heap_peak.hpp"

using namespace h2;
using weir::shard;
using weir::task;
using weir::tcp_stream;

namespace {

/// Large, and no memory of its own.
response constant() {
  static const std::string bytes(1'000'000, 'b');
  response out;
  out.constant_body(bytes);
  return out;
}

struct attack {
  const char* name;
  std::function<task<>(tcp_stream&, listener&)> script;
  std::function<std::uint64_t(const server_counters&)> counted;
};

/// The attack on one host, and on another one a client that asks every 100 ms.
struct beside {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& there = net.add_host("10.0.0.1/24");
  weir::sim::host& hostile = net.add_host("10.0.0.2/24");
  weir::sim::host& honest = net.add_host("10.0.0.3/24");
  server_settings settings;
  server_counters counters;
  router site;
  bool over = false;
  int asked = 0, served = 0;
  weir::test::heap_peak heap;

  beside() {
    net.link(there, hostile, {.delay = 1ms});
    net.link(there, honest, {.delay = 1ms});
    settings.body_timeout = 5s;
    settings.head_timeout = 5s;
    settings.write_timeout = 5s;
    site.get("/hello", [](request&) -> task<response> { co_return text("hello"); });
    site.get("/big", [](request&) -> task<response> { co_return constant(); });
    site.get("/slow", [](request&) -> task<response> {
      co_await weir::sleep_for(1s);
      co_return text("slow");
    });
    site.post("/echo", [](request& r) -> task<response> {
      auto body = co_await r.body().read_all();
      co_return text(std::to_string(body.size()));
    });
  }
  void run(const attack& by) {
    net.start(there, [this](shard& s) -> task<> {
      server serving(s, site, settings);
      auto at = s.listen({"10.0.0.1", 80});
      co_await serving.run(at);
      counters = serving.counters();
    });
    net.start(hostile, [&](shard& s) -> task<> {
      auto peer = co_await s.connect({"10.0.0.1", 80});
      listener heard;
      heap = {};
      co_await by.script(peer, heard);
      over = true;
    });
    net.start(honest, [&](shard& s) -> task<> {
      for (const auto version : {http2_use::never, http2_use::always}) {
        client web(s, {.http2 = version});
        do {
          ++asked;
          const auto begun = s.now();
          auto got = co_await web.get("http://10.0.0.1/hello");
          auto body = co_await got.body().read_all();
          served += body == "hello" && s.now() - begun < 1s;
          heap.look();
          co_await weir::sleep_for(100ms);
        } while (!over);
      }
      there.shard().request_stop();
    });
    net.run();
  }
};

/// Writes as long as the server takes it, and hears what it says. Gives how long that took.
task<weir::duration> flood(tcp_stream& peer, listener& heard, std::string bytes) {
  const auto begun = peer.owner().now();
  (void)co_await peer.write_all(bytes).timeout(20s).nothrow();
  const bool ended = co_await hear(peer, heard, 100s);
  CHECK(ended);
  co_return peer.owner().now() - begun;
}

std::string repeat(int n, const std::function<std::string(std::uint32_t)>& one) {
  std::string out;
  for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(n); ++i) out += one(i);
  return out;
}

const auto floods = [](const server_counters& c) { return c.floods; };
const auto slow_bodies = [](const server_counters& c) { return c.slow_bodies; };
const auto slow_readers = [](const server_counters& c) { return c.slow_readers; };
const auto refused = [](const server_counters& c) { return c.refused_requests; };

/// Of HTTP/2, which ends with a code at once.
attack ended_at_once(const char* name, std::string bytes, std::uint32_t code) {
  return {name,
          [bytes, code](tcp_stream& peer, listener& heard) -> task<> {
            auto took = co_await flood(peer, heard, hello + bytes);
            CHECK(took < 2s);
            CHECK(heard.goodbye() == code);
          },
          floods};
}

std::vector<attack> attacks() {
  const auto get_slow = [](std::uint32_t i) { return get(2 * i + 1, "/slow"); };
  const auto head = wire(headers_frame, end_headers, 1, head_of("POST", "/echo"));
  return {
      ended_at_once("resets",
                    repeat(5000,
                           [&](std::uint32_t i) {
                             return get_slow(i) +
                                    wire(reset_frame, 0, 2 * i + 1, number32(NGHTTP2_CANCEL));
                           }),
                    NGHTTP2_INTERNAL_ERROR),
      ended_at_once("pings",
                    repeat(20'000, [](auto) { return wire(ping_frame, 0, 0, "12345678"); }),
                    NGHTTP2_ENHANCE_YOUR_CALM),
      ended_at_once("settings", repeat(20'000, [](auto) { return wire(settings_frame, 0, 0, ""); }),
                    NGHTTP2_ENHANCE_YOUR_CALM),
      ended_at_once(
          "continuations",
          wire(headers_frame, 0, 1, head_of("GET", "/hello")) +
              repeat(5000, [](auto) { return wire(continuation_frame, 0, 1, literal("a", "b")); }),
          NGHTTP2_ENHANCE_YOUR_CALM),
      ended_at_once("empty data",
                    head + repeat(5000, [](auto) { return wire(data_frame, 0, 1, ""); }),
                    NGHTTP2_ENHANCE_YOUR_CALM),
      {"requests beyond those at once, and nothing read",
       [get_slow](tcp_stream& peer, listener& heard) -> task<> {
         const auto all = hello + repeat(50'000, get_slow);
         (void)co_await peer.write_all(all).timeout(3s).nothrow();
         (void)co_await hear(peer, heard, 100s);
         CHECK(heard.goodbye() == NGHTTP2_ENHANCE_YOUR_CALM);
       },
       floods},
      // 4,000 bytes in the table, and then a byte for each of them again: 60 MB.
      {"a head of references",
       [](tcp_stream& peer, listener& heard) -> task<> {
         std::string block = head_of("GET", "/hello") + "\x40\x01z\x7f\xa1\x1e";
         block += std::string(127 + 0xf21, 'z') + std::string(12'000, '\xbe');
         co_await peer.write_all(hello + wire(headers_frame, end_headers | end_stream, 1, block));
         (void)co_await hear(peer, heard, 2s);
         CHECK(heard.said.starts_with("1: 431"));
       },
       refused},
      {"bodies that drip in HTTP/2",
       [](tcp_stream& peer, listener& heard) -> task<> {
         co_await peer.write_all(hello);
         for (std::uint32_t id = 1; id < 200; id += 2)
           co_await peer.write_all(wire(headers_frame, end_headers, id, head_of("POST", "/echo")));
         for (int i = 0; i < 10; ++i) {
           for (std::uint32_t id = 1; id < 200; id += 2)
             (void)co_await peer.write_all(wire(data_frame, 0, id, "x")).nothrow();
           (void)co_await hear(peer, heard, 1s);
         }
         for (std::uint32_t id = 1; id < 200; id += 2)
           CHECK(heard.said.find(std::to_string(id) + ": 408") != std::string::npos);
       },
       slow_bodies},
      {"answers that are not read in HTTP/2",
       [](tcp_stream& peer, listener& heard) -> task<> {
         co_await peer.write_all(
             hello + repeat(100, [](std::uint32_t i) { return get(2 * i + 1, "/big"); }));
         for (int i = 0; i < 20; ++i) {  // a byte of window for each, now and then
           std::string some;
           for (std::uint32_t id = 1; id < 200; id += 2)
             some += wire(window_frame, 0, id, number32(1));
           (void)co_await peer.write_all(some + wire(window_frame, 0, 0, number32(100))).nothrow();
           (void)co_await hear(peer, heard, 1s);
         }
         CHECK(heard.count(reset_frame) == 100);
       },
       slow_readers},
      {"a head that drips",
       [](tcp_stream& peer, listener& heard) -> task<> {
         co_await peer.write_all("GET / HTTP/1.1\r\nHost: x\r\n");
         for (int i = 0; i < 10; ++i) {
           (void)co_await peer.write_all("A: b\r\n").nothrow();
           co_await weir::sleep_for(1s);
         }
         auto end = co_await peer.receive().nothrow();
         CHECK((end && end->size() != 0));
         (void)heard;
       },
       refused},
      {"a body that drips",
       [](tcp_stream& peer, listener&) -> task<> {
         co_await peer.write_all("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n");
         for (int i = 0; i < 10; ++i) {
           (void)co_await peer.write_all("x").nothrow();
           co_await weir::sleep_for(1s);
         }
       },
       slow_bodies},
      {"answers that are not read",
       [](tcp_stream& peer, listener&) -> task<> {
         std::string all;
         for (int i = 0; i < 1000; ++i) all += "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
         (void)co_await peer.write_all(all).timeout(20s).nothrow();
         co_await weir::sleep_for(20s);
       },
       slow_readers},
  };
}

}  // namespace

TEST_CASE("an_honest_client_is_served_beside_each_flood_which_is_counted_and_bounded") {
  for (const auto& by : attacks()) {
    CAPTURE(std::string(by.name));
    beside w;
    w.run(by);
    CHECK(w.over);
    CHECK(w.served == w.asked);
    CHECK(by.counted(w.counters) > 0);
    CHECK(w.heap.grown() < 30'000'000);
  }
}

// HTTP/1, HTTP/2 and WebSocket over links that lose, reorder, duplicate, corrupt and throttle, one
// world per seed, in virtual time: every byte of every body and message arrives once and in order,
// both ways at once, in bounded time, and nothing is left over.
#include <doctest/doctest.h>

#include <charconv>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/impaired.hpp"
#include "sim/pattern.hpp"
#include "sim/seeds.hpp"
#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using namespace sim_test;
namespace http = weir::http;
using weir::endpoint;
using weir::shard;
using weir::task;

namespace {

struct web_plan {
  weir::sim::link_options there, back;
  std::vector<std::uint64_t> sizes;  // of bodies and messages, of which each is its own stream
  bool compress = false;
};

web_plan draw(std::uint64_t seed) {
  auto dice = weir::sim::random_source::derived(seed, 0x776562ull);
  web_plan plan;
  plan.there = draw_link(dice);
  plan.back = draw_link(dice);
  const auto count = 2 + dice.below(4);
  for (std::uint64_t i = 0; i < count; ++i)
    plan.sizes.push_back(dice.chance(0.3) ? dice.below(60'000) : dice.below(3'000));
  plan.compress = dice.chance(0.3);
  return plan;
}

std::uint64_t number(std::string_view text) {
  std::uint64_t out = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), out).ptr != text.data() + text.size())
    throw std::runtime_error("no number: " + std::string(text));
  return out;
}

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

/// A body that is stream `stream` of the pattern, written in pieces of uneven size.
auto pattern_body(std::uint64_t stream, std::uint64_t size) {
  return [stream, size](http::body_writer& to) -> task<> {
    std::vector<std::byte> chunk;
    for (std::uint64_t done = 0; done < size; done += chunk.size()) {
      chunk.resize(std::min<std::uint64_t>(size - done, 1 + (done * 31 + stream) % 9000));
      fill_pattern(chunk, stream, done);
      co_await to.write(chunk);
    }
  };
}

task<> read_pattern(http::body_reader body, std::uint64_t stream, std::uint64_t size) {
  std::uint64_t done = 0;
  for (;;) {
    auto piece = co_await body.read();
    if (piece.empty()) break;
    expect(matches_pattern(piece, stream, done),
           "body " + std::to_string(stream) + " has wrong bytes after " + std::to_string(done));
    done += piece.size();
  }
  expect(done == size, "body " + std::to_string(stream) + " has " + std::to_string(done) + " of " +
                           std::to_string(size) + " bytes");
}

http::router site_of([[maybe_unused]] bool compress) {
  http::router site;
  site.get("/{stream}/{size}", [](http::request& asked) -> task<http::response> {
    http::response out;
    out.body(pattern_body(number(asked.path("stream")), number(asked.path("size"))));
    co_return out;
  });
  site.post("/{stream}/{size}", [](http::request& asked) -> task<http::response> {
    co_await read_pattern(asked.body(), number(asked.path("stream")), number(asked.path("size")));
    co_return http::text("as it was sent");
  });
#if WEB_WEBSOCKET
  http::websocket_settings how;
  how.compress = compress;
  site.get("/echo", [how](http::request& asked) -> task<http::response> {
    auto echo = [](http::websocket& peer) -> task<> {
      for (;;) {
        auto said = co_await peer.receive();
        if (!said) break;
        co_await peer.send_binary(std::as_bytes(std::span(said->data)));
      }
    };
    co_return http::websocket_upgrade(asked, echo, how);
  });
#endif
  return site;
}

task<> post(http::client& web, std::string url, std::uint64_t stream, std::uint64_t size) {
  http::client_request asked(http::method::post, std::move(url));
  asked.body(pattern_body(stream, size));
  auto got = co_await web.send(asked);
  auto said = co_await got.body().read_all();
  expect(got.status() == 200 && said == "as it was sent", "a post is answered");
}

task<> get(http::client& web, std::string url, std::uint64_t stream, std::uint64_t size) {
  auto got = co_await web.get(std::move(url));
  expect(got.status() == 200, "a get is answered");
  co_await read_pattern(got.body(), stream, size);
}

/// All sizes at once, each up and down.
task<> ask_all(shard& s, const web_plan& plan, http::http2_use version) {
  http::client_settings how;
  how.http2 = version;
  how.max_connections_per_origin = 3;
  http::client web(s, how);
  weir::scope all(s);
  for (std::size_t i = 0; i < plan.sizes.size(); ++i) {
    const auto size = plan.sizes[i];
    const auto url = "http://10.0.0.1/" + std::to_string(i) + "/" + std::to_string(size);
    all.spawn(post(web, url, i, size));
    all.spawn(get(web, url, i, size));
  }
  co_await all.join();
}

#if WEB_WEBSOCKET
task<> send_all(http::websocket& peer, const web_plan& plan) {
  std::vector<std::byte> message;
  for (std::size_t i = 0; i < plan.sizes.size(); ++i) {
    message.resize(plan.sizes[i]);
    fill_pattern(message, i, 0);
    co_await peer.send_binary(message);
  }
}

task<> receive_all(http::websocket& peer, const web_plan& plan) {
  for (std::size_t i = 0; i < plan.sizes.size(); ++i) {
    auto said = co_await peer.receive();
    expect(said.has_value(), "every message comes back");
    expect(said->data.size() == plan.sizes[i] &&
               matches_pattern(std::as_bytes(std::span(said->data)), i, 0),
           "message " + std::to_string(i) + " comes back as it was sent");
  }
}

task<> talk(shard& s, const web_plan& plan) {
  http::websocket_settings how;
  how.compress = plan.compress;
  const auto to = http::url::parse("http://10.0.0.1/echo");
  auto stream = co_await s.connect({"10.0.0.1", 80});
  auto peer = co_await http::open_websocket(std::move(stream), *to, how);
  expect(peer.compressed() == plan.compress, "messages are compressed where both want it");
  co_await weir::when_all(send_all(peer, plan), receive_all(peer, plan));
  co_await peer.close(1000, "all of it");
  expect(peer.close_code() == 1000, "the closing is answered");
}
#endif

std::string run_world(std::uint64_t seed, http::server_counters& counted) {
  const auto plan = draw(seed);
  const char* pcap = std::getenv("WEIR_SIM_PCAP");
  weir::sim::network net({.seed = seed, .pcap = pcap == nullptr ? "" : pcap});
  auto& server = net.add_host("10.0.0.1/24");
  auto& client = net.add_host("10.0.0.2/24");
  auto& link = net.link(server, client);
  link.set_options(0, plan.back);
  link.set_options(1, plan.there);

  net.serve(server, [&](shard& s) -> task<> {
    http::server by(s, site_of(plan.compress));
    auto listener = s.listen({"10.0.0.1", 80});
    co_await by.run(listener);
    counted = by.counters();
  });
  net.start(client, [&](shard& s) { return ask_all(s, plan, http::http2_use::never); });
#if WEB_HTTP2
  net.start(client, [&](shard& s) { return ask_all(s, plan, http::http2_use::always); });
#endif
#if WEB_WEBSOCKET
  net.start(client, [&](shard& s) { return talk(s, plan); });
#endif
  net.run(5min);
  if (!net.run_until_idle(1h)) return "the network never comes to rest";
  for (auto* host : {&server, &client})
    if (auto what = left_over(*host); !what.empty()) return what;
  const auto requests = plan.sizes.size() * 2 * (1 + WEB_HTTP2) + WEB_WEBSOCKET;
  if (counted.requests != requests || counted.failures != 0)
    return std::to_string(counted.requests) + " requests of " + std::to_string(requests) +
           " came, of which " + std::to_string(counted.failures) + " failed";
  return {};
}

}  // namespace

TEST_CASE("every_byte_of_http_and_websocket_arrives_over_lossy_links") {
  http::server_counters counted;
  for_each_seed([&](std::uint64_t seed) { return run_world(seed, counted); }, 50);
}

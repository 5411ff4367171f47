// A client's whole connections to a server that says whatever it likes, in whatever pieces, in
// HTTP/1, HTTP/2 and on a WebSocket, in a simulated network: requests end in time, bodies and
// messages stay within their bounds, and the same client is served by the next server.
#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "fuzz/fuzz_support.hpp"
#include "runtime/http/coding/coding.hpp"
#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"
#if WEIR_FUZZ_WEBSOCKET
#include "runtime/http/websocket/sha1.hpp"
#endif

namespace {

using namespace std::chrono_literals;
using namespace weir::http;
using weir::task;
using weir::tcp_stream;
using weir::fuzz::claim;

constexpr std::uint64_t expansion = 10;

enum class speech : std::uint8_t { http_1, http_1_compressed, http_2, websocket };

/// What the server says, and how.
struct script {
  speech what;
  std::size_t piece;
  std::string_view bytes;
};

task<std::string> read_head(tcp_stream& peer) {
  std::string out;
  std::array<std::byte, 512> buffer;
  while (out.find("\r\n\r\n") == std::string::npos) {
    auto got = co_await peer.read_some(buffer).nothrow();
    if (got.ec || got.n == 0) break;
    out.append(reinterpret_cast<const char*>(buffer.data()), got.n);
  }
  co_return out;
}

/// What goes before the bytes, so that they are heard: settings, or the switch to a WebSocket.
std::string beginning([[maybe_unused]] const script& how, [[maybe_unused]] std::string_view head) {
  if (how.what == speech::http_2) return {"\0\0\0\4\0\0\0\0\0", 9};
#if WEIR_FUZZ_WEBSOCKET
  constexpr std::string_view name = "Sec-WebSocket-Key: ";
  const auto at = head.find(name);
  if (how.what == speech::websocket && at != std::string_view::npos) {
    const auto key = head.substr(at + name.size(), 24);
    std::string out = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    if (how.piece % 2 == 0) out += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    return out + "Sec-WebSocket-Accept: " + detail::websocket_accept(key) + "\r\n\r\n";
  }
#endif
  return {};
}

task<> read_to_the_end(tcp_stream& peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await peer.read_some(buffer).timeout(10min).nothrow();
    claim(got.ec != std::errc::timed_out, "a connection ends in time");
    if (got.ec || got.n == 0) break;
  }
}

task<> say(tcp_stream peer, script how) {
  std::string head;
  if (how.what != speech::http_2) head = co_await read_head(peer);
  const auto first = beginning(how, head);
  (void)co_await peer.write_all(first).nothrow();
  for (auto left = how.bytes; !left.empty();) {
    const auto next = left.substr(0, how.piece);
    left.remove_prefix(next.size());
    auto sent = co_await peer.write_all(next).nothrow();
    if (sent.ec) break;
    co_await weir::sleep_for(1ms);
  }
  // Half of them go on listening: the client has to end it.
  std::error_code ignored;
  if (how.piece % 4 < 2) peer.shutdown_send(ignored);
  co_await read_to_the_end(peer);
}

task<> lie(weir::shard& s, script how, std::size_t& connections) {
  auto listener = s.listen({"10.0.0.1", 80});
  weir::scope sessions(s);
  while (auto peer = co_await listener.accept()) {
    ++connections;
    sessions.spawn(say(std::move(*peer), how));
  }
  co_await sessions.drain(1h);
}

task<> serve_honestly(weir::shard& s) {
  router site;
  site.get("/", [](request&) -> task<response> { co_return text("honest"); });
  server by(s, site);
  auto listener = s.listen({"10.0.0.1", 81});
  co_await by.run(listener);
}

task<> hear(client& web, method what, std::size_t most) {
  client_request asked(what, "http://10.0.0.1/");
  if (what == method::post)
    asked.body([](body_writer& to) -> task<> {
      for (int i = 0; i < 4; ++i) co_await to.write("some of it ");
    });
  try {
    auto got = co_await web.send(asked);
    claim(got.status() >= 200 && got.status() <= 999, "a last answer has a status");
    std::size_t total = 0;
    for (;;) {
      auto piece = co_await got.body().read();
      if (piece.empty()) break;
      total += piece.size();
      claim(total <= most, "a body is no longer than what came");
    }
    claim(what != method::head || total == 0, "HEAD has no body");
  } catch (const weir::io_error&) {
  }
}

task<> ask(weir::shard& s, const script& how) {
  client_settings settings;
  settings.http2 = how.what == speech::http_2 ? http2_use::always : http2_use::never;
  settings.decode = how.what == speech::http_1_compressed && !known_codings().empty();
  settings.most_expansion = expansion;
  settings.max_redirects = 3;
  settings.max_connections_per_origin = 2;
  client web(s, settings);
  const auto most = settings.decode ? (2u << 20) + expansion * how.bytes.size() : how.bytes.size();
  co_await weir::when_all(hear(web, method::get, most), hear(web, method::post, most));
  co_await hear(web, method::head, most);
  auto got = co_await web.get("http://10.0.0.1:81/");
  auto body = co_await got.body().read_all();
  claim(body == "honest", "the next server is heard");
}

#if WEIR_FUZZ_WEBSOCKET
task<> talk(weir::shard& s) {
  websocket_settings settings;
  settings.max_message = 1000;
  const auto to = url::parse("http://10.0.0.1/");
  auto stream = co_await s.connect({"10.0.0.1", 80});
  try {
    auto peer = co_await open_websocket(std::move(stream), *to, settings);
    for (;;) {
      auto said = co_await peer.receive();
      if (!said) break;
      claim(said->data.size() <= 1000, "a message is bounded");
      co_await peer.send(said->data);
    }
    co_await peer.close();
  } catch (const weir::io_error&) {
  }
}
#endif

// Not in LLVMFuzzerTestOneInput itself: g++ 12 gives coroutine lambdas in an extern "C" function
// one name.
void play(const script& how) {
  std::size_t connections = 0;
  weir::sim::network net({.seed = 1});
  auto& there = net.add_host("10.0.0.1/24");
  auto& here = net.add_host("10.0.0.2/24");
  net.link(there, here, {.delay = 1ms});
  net.start(there, [&](weir::shard& s) { return lie(s, how, connections); });
  net.start(there, [&](weir::shard& s) { return serve_honestly(s); });
  net.start(here, [&](weir::shard& s) -> task<> {
#if WEIR_FUZZ_WEBSOCKET
    if (how.what == speech::websocket)
      co_await talk(s);
    else
      co_await ask(s, how);
#else
    co_await ask(s, how);
#endif
    there.shard().request_stop();
  });
  net.run(12h);
  claim(connections <= 64, "a bounded number of connections for three requests");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::fuzz::input input(data, size);
  const auto how = input.number8();
  const auto piece = input.number8() + 1u;
  const auto rest = input.all();
  auto what = static_cast<speech>(how % 4);
#if !WEIR_FUZZ_WEBSOCKET
  if (what == speech::websocket) what = speech::http_1;
#endif
  play({what, piece, {reinterpret_cast<const char*>(rest.data()), rest.size()}});
  return 0;
}

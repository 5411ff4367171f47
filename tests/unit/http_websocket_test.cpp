// WebSocket in a simulated network under virtual time: weir's two sides with each other, and each
// against a peer that breaks the rules to the bit.
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/http/websocket/deflate.hpp"
#include "runtime/http/websocket/sha1.hpp"
#include "support/heap_peak.hpp"
#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using namespace weir::http;
using weir::shard;
using weir::task;
using weir::tcp_stream;
using weir::test::heap_peak;

namespace {

struct world {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& there = net.add_host("10.0.0.1/24");
  weir::sim::host& here = net.add_host("10.0.0.2/24");
  websocket_settings settings, own_settings;
  std::function<task<>(websocket&)> session;
  std::vector<std::string> received;  // by the server
  std::string ended;                  // how the server's session ended

  world() {
    net.link(there, here, {.delay = 1ms});
    session = [this](websocket& peer) -> task<> {
      for (;;) {
        auto said = co_await peer.receive();
        if (!said) break;
        received.push_back(said->data);
        if (said->is_text)
          co_await peer.send(said->data);
        else
          co_await peer.send_binary(std::as_bytes(std::span(said->data)));
      }
      ended = std::to_string(peer.close_code()) + peer.close_reason();
    };
  }
  void run(std::function<task<>(tcp_stream&)> script) {
    net.start(there, [this](shard& s) -> task<> {
      router site;
      site.get("/", [this](request& r) -> task<response> {
        co_return websocket_upgrade(r, session, settings);
      });
      server by(s, site);
      auto listener = s.listen({"10.0.0.1", 80});
      co_await by.run(listener);
    });
    net.start(here, [this, script](shard& s) -> task<> {
      auto peer = co_await s.connect({"10.0.0.1", 80});
      co_await script(peer);
      there.shard().request_stop();
    });
    net.run();
  }
  /// With weir's own client.
  void talk(std::function<task<>(websocket&)> script) {
    run([&, script](tcp_stream& peer) -> task<> {
      const auto to = url::parse("http://10.0.0.1/");
      auto made = co_await open_websocket(std::move(peer), *to, own_settings);
      co_await script(made);
    });
  }
};

task<std::string> receive(tcp_stream& peer, std::size_t size) {
  std::string out(size, '\0');
  auto got = co_await peer.read_exactly(std::as_writable_bytes(std::span(out))).nothrow();
  out.resize(got.n);
  co_return out;
}

task<std::string> receive_head(tcp_stream& peer) {
  std::string out;
  while (!out.ends_with("\r\n\r\n")) {
    auto one = co_await receive(peer, 1);
    if (one.empty()) break;
    out += one;
  }
  co_return out;
}

const std::string handshake =
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const std::string deflated = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A masked frame: first byte (FIN, RSV, opcode) and payload.
std::string frame(int first, std::string_view payload) {
  std::string out(1, static_cast<char>(first));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else if (payload.size() < 65536) {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size());
  } else {
    out += static_cast<char>(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(payload.size() >> shift);
  }
  const std::string mask = "\x12\x34\x56\x78";
  out += mask;
  for (std::size_t i = 0; i < payload.size(); ++i)
    out += static_cast<char>(payload[i] ^ mask[i % 4]);
  return out;
}

/// Everything that the server says to these bytes after its handshake, until it ends.
std::string answer_to(world& w, const std::string& bytes, const std::string& fields = "") {
  std::string out;
  w.run([&](tcp_stream& peer) -> task<> {
    const auto all = handshake + fields + "\r\n" + bytes;
    co_await peer.write_all(all);
    co_await receive_head(peer);
    for (;;) {
      auto one = co_await receive(peer, 1);
      if (one.empty()) break;
      out += one;
    }
  });
  return out;
}

std::string closed_with(int code) {
  return std::string("\x88\x02") + static_cast<char>(code >> 8) + static_cast<char>(code & 255);
}

}  // namespace

// covers: 6455-7
TEST_CASE("the_rfcs_own_key_is_accepted_as_the_rfc_says") {  // RFC 6455 1.3
  CHECK(weir::http::detail::websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") ==
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK(weir::http::detail::base64({}) == "");
  const auto digest = weir::http::detail::sha1(std::string(1000, 'a'));
  CHECK(weir::http::detail::base64(digest) == "KR6abGaZSUm1e6XmUDYemPw2sbo=");
}

// covers: 6455-29, 6455-35
TEST_CASE("messages_of_every_size_come_back_plain_and_compressed") {
  for (bool compress : {false, true}) {
    world w;
    w.own_settings.compress = compress;
    w.talk([&](websocket& peer) -> task<> {
      CHECK(peer.compressed() == compress);
      for (std::size_t size : {0u, 1u, 125u, 126u, 65535u, 65536u, 200'000u}) {
        std::string text;
        for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i * i % 23);
        co_await peer.send(text);
        auto got = co_await peer.receive();
        REQUIRE(got);
        CHECK(got->is_text);
        CHECK(got->data == text);
        co_await peer.send_binary(std::as_bytes(std::span(text)));
        got = co_await peer.receive();
        REQUIRE(got);
        CHECK_FALSE(got->is_text);
        CHECK(got->data == text);
      }
      co_await peer.close(1000, "done");
    });
    CHECK(w.ended == "1000done");
  }
}

// covers: 6455-5, 6455-6
TEST_CASE("a_request_that_is_no_handshake_gets_a_status") {
  const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const std::string rest = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  const std::string version = "Sec-WebSocket-Version: 13\r\n";
  const std::pair<std::string, const char*> cases[] = {
      {"GET / HTTP/1.1\r\nHost: x\r\n" + key + version, "426"},
      {"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n" + key + version, "426"},
      {"GET / HTTP/1.1\r\nHost: x\r\n" + rest + key, "426"},
      {"GET / HTTP/1.1\r\nHost: x\r\n" + rest + key + "Sec-WebSocket-Version: 12\r\n", "426"},
      {"GET / HTTP/1.0\r\nHost: x\r\n" + rest + key + version, "426"},
      {"GET / HTTP/1.1\r\nHost: x\r\n" + rest + version, "400"},
      {"GET / HTTP/1.1\r\nHost: x\r\n" + rest + version + "Sec-WebSocket-Key: short\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: x\r\n" + rest + key + version + "Origin: http://evil\r\n", "403"},
      {"GET / HTTP/1.1\r\nHost: x\r\n" + rest + key + version + "Origin: http://x\r\n", "101"},
  };
  for (auto& [text, status] : cases) {
    CAPTURE(text);
    world w;
    w.run([&](tcp_stream& peer) -> task<> {
      const auto all = text + "\r\n";
      co_await peer.write_all(all);
      auto head = co_await receive_head(peer);
      CHECK(head.substr(9, 3) == status);
    });
  }
}

// covers: 6455-21, 6455-29, 6455-30, 6455-33, 6455-51, 6455-53
TEST_CASE("fragments_are_one_message_and_a_ping_between_them_is_answered") {
  world w;
  w.run([&](tcp_stream& peer) -> task<> {
    const auto all = handshake + "\r\n" + frame(0x01, "hel") + frame(0x89, "ping") +
                     frame(0x00, "l") + frame(0x80, "o") + frame(0x8a, "unasked");
    co_await peer.write_all(all);
    co_await receive_head(peer);
    auto out = co_await receive(peer, 13);
    CHECK(out == "\x8a\x04ping\x81\x05hello");
    const auto goodbye = frame(0x88,
                               "\x03\xe8"
                               "bye");
    co_await peer.write_all(goodbye);
    out = co_await receive(peer, 7);
    CHECK(out ==
          "\x88\x05\x03\xe8"
          "bye");
    out = co_await receive(peer, 1);
    CHECK(out.empty());
  });
  CHECK(w.received == std::vector<std::string>{"hello"});
  CHECK(w.ended == "1000bye");
}

// covers: 6455-22, 6455-24, 6455-25, 6455-27, 6455-31, 6455-32, 6455-34
// covers: 6455-52, 6455-55, 6455-56, 6455-57
TEST_CASE("a_breach_of_the_protocol_is_closed_with_its_code") {
  const auto unmasked = std::string("\x81\x02hi");
  const std::pair<std::string, int> cases[] = {
      {unmasked, 1002},
      {frame(0xc1, "rsv1, not agreed"), 1002},
      {frame(0xa1, "rsv2"), 1002},
      {frame(0x83, "reserved opcode"), 1002},
      {frame(0x8b, "reserved control"), 1002},
      {frame(0x80, "nothing to go on with"), 1002},
      {frame(0x01, "a") + frame(0x81, "b"), 1002},
      {frame(0x81, "\xc3\x28"), 1007},
      {frame(0x81, "\xed\xa0\x80"), 1007},
      {frame(0x01, "\xe2\x82") + frame(0x80, "x"), 1007},
      {frame(0x88, "\x03\xe7"), 1002},
      {frame(0x88, "\x03\xed"), 1002},
      {frame(0x88, "\x03\xe8\xff"), 1007},
      {frame(0x82, std::string(2000, 'x')), 1009},
      {frame(0x02, std::string(900, 'x')) + frame(0x80, std::string(900, 'x')), 1009},
  };
  for (auto& [bytes, code] : cases) {
    CAPTURE(bytes.substr(0, 40));
    world w;
    w.settings.max_message = 1000;
    const auto out = answer_to(w, bytes + frame(0x81, "never read"));
    CHECK(out == closed_with(code));
    CHECK(w.received.empty());
  }
  // What is no frame at all, and half a code, is closed without one.
  for (auto& bytes : {std::string("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10),
                      frame(0x89, std::string(126, 'x')), frame(0x09, "a ping in fragments"),
                      frame(0x88, "\x03")}) {
    world w;
    CHECK(answer_to(w, bytes) == std::string("\x88\0", 2));
    CHECK(w.received.empty());
  }
}

TEST_CASE("a_compressed_message_is_bounded_and_checked_after_it_was_inflated") {
  const auto squeezed = weir::http::detail::deflate(std::string(900, 'x'));
  world good;
  good.settings.max_message = 1000;
  (void)answer_to(good, frame(0xc1, squeezed) + frame(0x88, "\x03\xe8"), deflated);
  CHECK(good.received == std::vector<std::string>{std::string(900, 'x')});
  const std::pair<std::string, int> cases[] = {
      {frame(0xc1, weir::http::detail::deflate(std::string(1001, 'x'))), 1009},
      {frame(0xc2, weir::http::detail::deflate(std::string(100'000'000, 'x')).substr(0, 900)),
       1009},
      {frame(0xc1, "\xff\xff garbage"), 1007},
      {frame(0xc1, weir::http::detail::deflate("\xc3\x28")), 1007},
      {frame(0x41, squeezed) + frame(0xc0, ""), 1002},  // RSV1 belongs to the first frame
      {frame(0xc9, "a compressed ping"), 1002},
  };
  for (auto& [bytes, code] : cases) {
    CAPTURE(code);
    world w;
    w.settings.max_message = 1000;
    const auto out = answer_to(w, bytes, deflated);
    CHECK(out == closed_with(code));
    CHECK(w.received.empty());
  }
}

TEST_CASE("utf_8_is_what_encodes_a_code_point_and_in_one_way_only") {  // RFC 3629 3 and 4
  using weir::http::detail::is_utf8;
  // Every sequence of the first two bytes, with the longest tail that either bound allows.
  const auto range_of_second = [](unsigned first) -> std::pair<unsigned, unsigned> {
    if (first == 0xe0) return {0xa0, 0xbf};
    if (first == 0xed) return {0x80, 0x9f};
    if (first == 0xf0) return {0x90, 0xbf};
    if (first == 0xf4) return {0x80, 0x8f};
    if (first >= 0xc2 && first <= 0xf4) return {0x80, 0xbf};
    return {1, 0};  // nothing begins so
  };
  const auto text_of = [](std::initializer_list<unsigned> bytes) {
    std::string out = "a";
    for (const auto b : bytes) out += static_cast<char>(b);
    return out;
  };
  for (unsigned first = 0x80; first <= 0xff; ++first) {
    const auto [least, most] = range_of_second(first);
    const std::size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    for (unsigned second = 0; second <= 0xff; ++second) {
      CAPTURE(first);
      CAPTURE(second);
      const bool good = least <= second && second <= most;
      for (const unsigned tail : {0x7f, 0x80, 0xbf, 0xc0}) {
        auto text = text_of({first, second});
        for (std::size_t i = 1; i < more; ++i) text += static_cast<char>(tail);
        const bool tail_good = more == 1 || (0x80 <= tail && tail <= 0xbf);
        REQUIRE(is_utf8(text) == (good && tail_good));
        REQUIRE(is_utf8(text + "z") == (good && tail_good));
        text.pop_back();  // cut short; what is left of two bytes is one that begins
        REQUIRE_FALSE(is_utf8(text));
      }
    }
  }
  CHECK(is_utf8(""));
  CHECK(is_utf8(std::string("\0\x7f", 2)));
}

TEST_CASE("silence_is_broken_by_a_ping_and_a_peer_that_does_not_answer_is_given_up") {
  world w;
  w.settings.ping_after = 30s;
  w.run([&](tcp_stream& peer) -> task<> {
    const auto& clock = peer.owner();
    const auto all = handshake + "\r\n";
    co_await peer.write_all(all);
    co_await receive_head(peer);
    const auto begun = clock.now();
    auto ping = co_await receive(peer, 2);
    CHECK(ping == std::string("\x89\0", 2));
    CHECK(clock.now() - begun >= 30s - 100ms);
    const auto pong = frame(0x8a, "");
    co_await peer.write_all(pong);
    ping = co_await receive(peer, 2);  // 30 s of silence again, and this one stays unanswered
    CHECK(ping == std::string("\x89\0", 2));
    auto end = co_await receive(peer, 1);
    CHECK(end.empty());
    CHECK(clock.now() - begun >= 90s - 100ms);
    CHECK(clock.now() - begun < 91s);
  });
  CHECK(w.ended.empty());  // it threw
}

TEST_CASE("the_stop_says_going_away") {
  world w;
  w.talk([&](websocket& peer) -> task<> {
    co_await peer.send("hello");
    auto got = co_await peer.receive();
    CHECK(got);
    w.there.shard().request_stop();
    got = co_await peer.receive();
    CHECK_FALSE(got);
    CHECK(peer.close_code() == 1001);
    co_await peer.close();
  });
}

// RFC 6455 7.1.1: a client waits for the server's end.
TEST_CASE("a_server_that_closed_ends_its_sending_and_waits_for_the_peers_end") {
  world w;
  weir::duration until_its_end{}, until_closed{};
  w.session = [&](websocket& peer) -> task<> {
    const auto begun = w.net.now();
    co_await peer.close(1000, "bye");
    until_closed = w.net.now() - begun;
  };
  w.run([&](tcp_stream& peer) -> task<> {
    const auto all = handshake + "\r\n";
    co_await peer.write_all(all);
    co_await receive_head(peer);
    const auto begun = w.net.now();
    auto said = co_await receive(peer, 7);
    CHECK(said ==
          "\x88\x05\x03\xe8"
          "bye");
    const auto goodbye = frame(0x88, "\x03\xe8");
    co_await peer.write_all(goodbye);
    auto end = co_await receive(peer, 1);
    CHECK(end.empty());
    until_its_end = w.net.now() - begun;
    co_await weir::sleep_for(100ms);
  });
  CHECK(until_its_end < 50ms);
  CHECK(until_closed >= 100ms);
  CHECK(until_closed < 150ms);
}

TEST_CASE("a_reader_that_stops_does_not_hold_its_sender_for_ever") {
  world w;
  w.settings.write_timeout = 10s;
  weir::duration held{};
  w.session = [&](websocket& peer) -> task<> {
    const auto begun = w.net.now();
    const std::string block(100'000, 'x');
    try {
      for (;;) co_await peer.send_binary(std::as_bytes(std::span(block)));
    } catch (const weir::io_error& failure) {
      CHECK(failure.code() == std::errc::timed_out);
      held = w.net.now() - begun;
    }
  };
  w.run([&](tcp_stream& peer) -> task<> {
    const auto all = handshake + "\r\n";
    co_await peer.write_all(all);
    co_await weir::sleep_for(1min);
  });
  CHECK(held >= 10s);
  CHECK(held < 12s);
}

// covers: 6455-54
TEST_CASE("an_end_without_a_closing_is_no_closing") {
  world w;
  std::error_code error;
  w.session = [&](websocket& peer) -> task<> {
    try {
      (void)co_await peer.receive();
    } catch (const weir::io_error& failure) {
      error = failure.code();
    }
    CHECK(peer.close_code() == 1006);
  };
  w.run([&](tcp_stream& peer) -> task<> {
    const auto all = handshake + "\r\n";
    co_await peer.write_all(all);
    co_await receive_head(peer);
    peer.shutdown_send();
    auto rest = co_await receive(peer, 100);
    CHECK(rest.size() <= 4);
  });
  CHECK(error == weir::error::end_of_stream);
}

// covers: 6455-3, 6455-4, 6455-8
TEST_CASE("a_client_refuses_a_server_that_does_not_switch_as_agreed") {
  const std::string good =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
  const std::pair<std::string, std::string> cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
      {good + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", ""},
      {good + "\r\n", ""},
      {"HTTP/1.1 101 x\r\nConnection: close\r\nUpgrade: websocket\r\n", "accept"},
      {good + "Sec-WebSocket-Extensions: permessage-deflate\r\n", "accept"},
      {good + "Sec-WebSocket-Extensions: unknown\r\n", "accept"},
      {good + "Sec-WebSocket-Protocol: chat\r\n", "accept"},
      {"", ""},
  };
  for (auto& [answer, how] : cases) {
    CAPTURE(answer);
    weir::sim::network net;
    auto& there = net.add_host("10.0.0.1/24");
    auto& here = net.add_host("10.0.0.2/24");
    net.link(there, here);
    net.start(there, [&, answer, how](shard& s) -> task<> {
      auto listener = s.listen({"10.0.0.1", 80});
      auto peer = co_await listener.accept();
      auto head = co_await receive_head(*peer);
      const auto at = head.find("Sec-WebSocket-Key: ") + 19;
      auto text = answer;
      if (how == "accept")
        text +=
            "Sec-WebSocket-Accept: " + weir::http::detail::websocket_accept(head.substr(at, 24)) +
            "\r\n\r\n";
      co_await peer->write_all(text);
    });
    bool refused = false;
    net.start(here, [&](shard& s) -> task<> {
      auto peer = co_await s.connect({"10.0.0.1", 80});
      const auto to = url::parse("http://10.0.0.1/");
      try {
        auto made = co_await open_websocket(std::move(peer), *to);
      } catch (const weir::io_error&) {
        refused = true;
      }
    });
    net.run();
    CHECK(refused);
  }
}

TEST_CASE("the_compression_is_agreed_on_as_rfc_7692_says") {
  using weir::http::detail::accept_deflate;
  using weir::http::detail::agreed;
  using weir::http::detail::read_deflate_answer;
  const std::string yes =
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  CHECK(accept_deflate("permessage-deflate") == yes);
  CHECK(accept_deflate("x, permessage-deflate; client_max_window_bits") == yes);
  CHECK(accept_deflate("permessage-deflate; client_max_window_bits=\"10\"") == yes);
  CHECK(accept_deflate("permessage-deflate; server_max_window_bits=10, permessage-deflate") == yes);
  CHECK(accept_deflate("permessage-deflate; server_max_window_bits=15") ==
        yes + "; server_max_window_bits=15");
  for (auto* no :
       {"", "x", "permessage-deflate; unknown", "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover"})
    CHECK(accept_deflate(no).empty());
  CHECK(read_deflate_answer("") == agreed::plain);
  CHECK(read_deflate_answer(yes) == agreed::deflate);
  CHECK(read_deflate_answer("permessage-deflate; server_no_context_takeover") == agreed::deflate);
  for (auto* bad : {"x", "permessage-deflate", "permessage-deflate; client_max_window_bits=10",
                    "permessage-deflate; server_no_context_takeover, permessage-deflate"})
    CHECK(read_deflate_answer(bad) == agreed::breach);
  bool too_long = false;
  for (std::size_t size : {0u, 1u, 100u, 100'000u}) {
    const std::string text(size, 'y');
    CHECK(weir::http::detail::inflate(weir::http::detail::deflate(text), size, too_long) == text);
    if (size == 0) continue;
    CHECK_FALSE(weir::http::detail::inflate(weir::http::detail::deflate(text), size - 1, too_long));
    CHECK(too_long);
  }
}

namespace {

/// A server that keeps to the handshake, and behind it to what the test writes.
void with_server(std::function<task<>(tcp_stream&)> server,
                 std::function<task<>(websocket&)> client,
                 const websocket_settings& settings = {.compress = false}) {
  weir::sim::network net;
  auto& there = net.add_host("10.0.0.1/24");
  auto& here = net.add_host("10.0.0.2/24");
  net.link(there, here);
  net.start(there, [&](shard& s) -> task<> {
    auto listener = s.listen({"10.0.0.1", 80});
    auto peer = co_await listener.accept();
    auto head = co_await receive_head(*peer);
    for (auto* field :
         {"GET /chat?a=b HTTP/1.1\r\n", "\r\nHost: 10.0.0.1\r\n", "\r\nUpgrade: websocket\r\n",
          "\r\nConnection: Upgrade\r\n", "\r\nSec-WebSocket-Version: 13\r\n"})
      CHECK(head.find(field) != std::string::npos);
    const auto key = head.substr(head.find("Sec-WebSocket-Key: ") + 19, 24);
    CHECK(key.ends_with("=="));
    const auto text =
        "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
        weir::http::detail::websocket_accept(key) + "\r\n\r\n";
    co_await peer->write_all(text);
    co_await server(*peer);
  });
  net.start(here, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({"10.0.0.1", 80});
    const auto to = url::parse("http://10.0.0.1/chat?a=b");
    auto made = co_await open_websocket(std::move(peer), *to, settings);
    co_await client(made);
  });
  net.run();
}

struct seen {
  int first = 0;
  bool masked = false;
  std::size_t length_octets = 0;
  std::string mask, data;
};
/// One frame; its first byte is 0 at the end.
task<> read_frame(tcp_stream& peer, seen& into) {
  into = {};
  auto head = co_await receive(peer, 2);
  if (head.size() < 2) co_return;
  into.first = static_cast<unsigned char>(head[0]);
  into.masked = (head[1] & 0x80) != 0;
  std::uint64_t size = head[1] & 0x7f;
  into.length_octets = size == 126 ? 2 : size == 127 ? 8 : 0;
  if (into.length_octets != 0) {
    auto length = co_await receive(peer, into.length_octets);
    size = 0;
    for (const char c : length) size = size << 8 | static_cast<unsigned char>(c);
  }
  if (into.masked) into.mask = co_await receive(peer, 4);
  into.data = co_await receive(peer, size);
  for (std::size_t i = 0; i < into.data.size() && into.masked; ++i)
    into.data[i] = static_cast<char>(into.data[i] ^ into.mask[i % 4]);
}

std::string plain(int first, const std::string& data) {
  return std::string(1, static_cast<char>(first)) + static_cast<char>(data.size()) + data;
}

}  // namespace

// covers: 6455-1, 6455-20, 6455-26, 6455-28, 6455-50
TEST_CASE("a_client_masks_each_frame_anew_and_writes_short_lengths") {
  const std::size_t sizes[] = {0, 1, 125, 126, 65'535, 65'536};
  std::set<std::string> masks;
  const auto check_frames = [&](tcp_stream& peer) -> task<> {
    seen got;
    for (const auto size : sizes) {
      co_await read_frame(peer, got);
      CHECK(got.first == 0x82);
      CHECK(got.masked);
      CHECK(got.length_octets == (size < 126 ? 0 : size < 65'536 ? 2 : 8));
      CHECK(got.data == std::string(size, 'x'));
      masks.insert(got.mask);
    }
    co_await read_frame(peer, got);
    CHECK(got.first == 0x88);
    CHECK(got.masked);
    masks.insert(got.mask);
    co_await read_frame(peer, got);
    CHECK(got.first == 0);  // nothing behind a closing
  };
  const auto talk = [&](websocket& peer) -> task<> {
    for (const auto size : sizes) {
      const std::string data(size, 'x');
      co_await peer.send_binary(std::as_bytes(std::span(data)));
    }
    co_await peer.close();
    std::error_code error;
    try {
      co_await peer.send("late");
    } catch (const weir::io_error& failure) {
      error = failure.code();
    }
    CHECK(error == std::errc::broken_pipe);
  };
  with_server(check_frames, talk);
  CHECK(masks.size() == 7);
}

// covers: 6455-2
TEST_CASE("each_handshake_has_a_key_of_its_own") {
  std::set<std::string> keys;
  for (int i = 0; i < 4; ++i) {
    weir::sim::network net;
    auto& there = net.add_host("10.0.0.1/24");
    auto& here = net.add_host("10.0.0.2/24");
    net.link(there, here);
    net.start(there, [&](shard& s) -> task<> {
      auto listener = s.listen({"10.0.0.1", 80});
      auto peer = co_await listener.accept();
      auto head = co_await receive_head(*peer);
      keys.insert(head.substr(head.find("Sec-WebSocket-Key: ") + 19, 24));
    });
    net.start(here, [&](shard& s) -> task<> {
      auto peer = co_await s.connect({"10.0.0.1", 80});
      const auto to = url::parse("http://10.0.0.1/");
      try {
        auto made = co_await open_websocket(std::move(peer), *to);
      } catch (const weir::io_error&) {
      }
    });
    net.run();
  }
  CHECK(keys.size() == 4);
}

// covers: 6455-21, 6455-26
TEST_CASE("a_server_masks_nothing_and_writes_short_lengths") {
  world w;
  w.settings.compress = false;
  const std::size_t sizes[] = {0, 1, 125, 126, 65'535, 65'536};
  w.run([&](tcp_stream& peer) -> task<> {
    auto all = handshake + "\r\n";
    for (const auto size : sizes) all += frame(0x82, std::string(size, 'x'));
    co_await peer.write_all(all);
    co_await receive_head(peer);
    seen got;
    for (const auto size : sizes) {
      co_await read_frame(peer, got);
      CHECK(got.first == 0x82);
      CHECK_FALSE(got.masked);
      CHECK(got.length_octets == (size < 126 ? 0 : size < 65'536 ? 2 : 8));
      CHECK(got.data == std::string(size, 'x'));
    }
  });
}

// covers: 6455-23, 6455-24, 6455-25, 6455-27, 6455-31, 6455-32, 6455-34
// covers: 6455-52, 6455-55, 6455-56, 6455-57
TEST_CASE("a_client_closes_on_a_breach_and_takes_nothing_behind_it") {
  const std::pair<std::string, int> cases[] = {
      {frame(0x81, "masked"), 1002},
      {plain(0xc1, "rsv1"), 1002},
      {plain(0x91, "rsv3"), 1002},
      {plain(0x85, "reserved"), 1002},
      {plain(0x80, "no beginning"), 1002},
      {plain(0x01, "a") + plain(0x81, "b"), 1002},
      {plain(0x81, "\xc3\x28"), 1007},
      {plain(0x01, "\xe2\x82") + plain(0x80, "x"), 1007},
      {plain(0x88, "\x03\xe7"), 1002},
      {plain(0x88, "\x03\xed"), 1002},
      {plain(0x88, "\x03\xee"), 1002},
      {plain(0x88, "\x03\xf7"), 1002},
      {plain(0x88, "\x03\xe8\xff"), 1007},
      {std::string("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10), 0},
      {plain(0x09, "a ping in fragments"), 0},
      {std::string("\x89\x7e\0\x7e", 4) + std::string(126, 'x'), 0},
      {plain(0x88, "\x03"), 0},
  };
  for (const auto& [bytes, code] : cases) {
    CAPTURE(bytes.substr(0, 30));
    seen got;
    const auto all = bytes + plain(0x81, "never read");
    int messages = 0;
    const auto server = [&](tcp_stream& peer) -> task<> {
      co_await peer.write_all(all);
      co_await read_frame(peer, got);
      seen end;
      co_await read_frame(peer, end);
      CHECK(end.first == 0);
    };
    const auto client = [&](websocket& peer) -> task<> {
      auto said = co_await peer.receive();
      messages += said.has_value();
      co_await peer.close();
    };
    with_server(server, client);
    CHECK(messages == 0);
    CHECK(got.first == 0x88);
    CHECK(got.data == (code == 0 ? std::string() : closed_with(code).substr(2)));
  }
}

// covers: 6455-29, 6455-30, 6455-33, 6455-35, 6455-51
TEST_CASE("a_client_takes_fragments_answers_pings_between_them_and_the_closing") {
  const auto first = plain(0x01, "hel") + plain(0x89, "ping") + plain(0x00, "l");
  const auto rest = plain(0x80, "o") + plain(0x82, "\xff") +
                    plain(0x88,
                          "\x03\xe8"
                          "bye");
  const auto server = [&](tcp_stream& peer) -> task<> {
    co_await peer.write_all(first);
    seen got;
    co_await read_frame(peer, got);
    CHECK(got.first == 0x8a);
    CHECK(got.data == "ping");
    co_await peer.write_all(rest);
    co_await read_frame(peer, got);
    CHECK(got.first == 0x88);
    CHECK(got.data ==
          "\x03\xe8"
          "bye");
  };
  const auto client = [&](websocket& peer) -> task<> {
    auto said = co_await peer.receive();
    REQUIRE(said);
    CHECK(said->is_text);
    CHECK(said->data == "hello");
    said = co_await peer.receive();
    REQUIRE(said);
    CHECK_FALSE(said->is_text);
    CHECK(said->data == "\xff");
    said = co_await peer.receive();
    CHECK_FALSE(said);
    CHECK(peer.close_code() == 1000);
    CHECK(peer.close_reason() == "bye");
    co_await peer.close();
  };
  with_server(server, client);
}

// covers: 6455-52, 6455-54
TEST_CASE("a_closing_without_a_code_is_1005_and_answered_without_one") {
  world w;
  const auto out = answer_to(w, frame(0x88, ""));
  CHECK(out == std::string("\x88\0", 2));
  CHECK(w.ended == "1005");
}

// covers: 6455-55
TEST_CASE("codes_that_stand_in_no_frame_are_refused_where_they_are_given") {
  for (const std::uint16_t code : {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000}) {
    CAPTURE(code);
    world w;
    bool refused = false;
    w.talk([&](websocket& peer) -> task<> {
      try {
        co_await peer.close(code);
      } catch (const std::invalid_argument&) {
        refused = true;
      }
      co_await peer.close(3000, "own");
    });
    CHECK(refused);
    CHECK(w.ended == "3000own");
  }
}

// covers: 6455-53
TEST_CASE("who_has_sent_its_closing_ends_its_direction_and_waits_for_the_peer_s") {
  world w;
  weir::duration held{};
  w.run([&](tcp_stream& peer) -> task<> {
    const auto all = handshake + "\r\n" + frame(0x88, "");
    co_await peer.write_all(all);
    co_await receive_head(peer);
    const auto begun = w.net.now();
    auto said = co_await receive(peer, 3);  // to the end, while ours is still open
    CHECK(said == std::string("\x88\0", 2));
    CHECK(w.net.now() - begun < w.settings.close_timeout / 2);
    co_await weir::sleep_for(1s);
    peer.shutdown_send();
    held = w.net.now() - begun;
  });
  CHECK(held >= 1s);
}

TEST_CASE("what_comes_behind_a_breach_is_dropped_until_the_end_on_both_sides") {
  const std::string block(100'000, 'x');
  const auto flood = [&block](tcp_stream& peer, heap_peak& heap) -> task<> {
    for (int i = 0; i < 400; ++i) {  // 40 MB
      auto sent = co_await peer.write_all(block).timeout(1s).nothrow();
      heap.look();
      if (sent.ec) break;
    }
  };
  {
    world w;
    heap_peak heap;
    w.run([&](tcp_stream& peer) -> task<> {
      const auto all = handshake + "\r\n" + "\x81\x02hi";  // unmasked
      co_await peer.write_all(all);
      co_await receive_head(peer);
      heap = {};
      co_await flood(peer, heap);
    });
    MESSAGE("server: ", heap.grown());
    CHECK(heap.grown() < 30'000'000);
  }
  heap_peak heap;
  const auto server = [&](tcp_stream& peer) -> task<> {
    const auto masked = frame(0x81, "masked");
    co_await peer.write_all(masked);
    heap = {};
    co_await flood(peer, heap);
  };
  const auto client = [](websocket& peer) -> task<> {
    auto said = co_await peer.receive();
    CHECK_FALSE(said);
    co_await peer.close();
  };
  with_server(server, client);
  MESSAGE("client: ", heap.grown());
  CHECK(heap.grown() < 30'000'000);
}

TEST_CASE("a_message_has_so_many_fragments_and_no_more") {
  const auto pieces = [](int n) {
    auto out = frame(0x01, "x");
    for (int i = 2; i < n; ++i) out += frame(0x00, "x") + (i % 10 == 0 ? frame(0x89, "") : "");
    return out + frame(0x80, "x");
  };
  world w;
  w.settings.max_fragments = 100;
  w.session = [&](websocket& peer) -> task<> {
    for (;;) {
      auto said = co_await peer.receive();
      if (!said) break;
      w.received.push_back(said->data);
    }
  };
  (void)answer_to(w, pieces(100) + pieces(100) + frame(0x88, "\x03\xe8"));
  CHECK(w.received == std::vector<std::string>(2, std::string(100, 'x')));
  for (const int n : {101, 500'000}) {
    world v;
    if (n == 101) v.settings.max_fragments = 100;
    auto out = answer_to(v, pieces(n) + frame(0x81, "never read"));
    for (const std::string pong("\x8a\0", 2); out.starts_with(pong);) out.erase(0, 2);
    CHECK(out == closed_with(1009));
    CHECK(v.received.empty());
  }
  // A client counts as well.
  seen got;
  const auto server = [&](tcp_stream& peer) -> task<> {
    auto all = plain(0x02, "x");
    for (int i = 0; i < 100; ++i) all += plain(0x00, "x");
    co_await peer.write_all(all);
    co_await read_frame(peer, got);
  };
  const auto client = [](websocket& peer) -> task<> {
    auto said = co_await peer.receive();
    CHECK_FALSE(said);
    co_await peer.close();
  };
  with_server(server, client, {.max_fragments = 100, .compress = false});
  CHECK(got.data == closed_with(1009).substr(2));
}

TEST_CASE("small_messages_that_inflate_to_large_ones_are_held_one_at_a_time") {
  constexpr std::size_t large = 1'000'000;
  const auto squeezed = weir::http::detail::deflate(std::string(large, 'x'));
  world w;
  w.settings.max_message = large;
  std::size_t came = 0;
  heap_peak heap;
  w.session = [&](websocket& peer) -> task<> {
    for (;;) {
      auto said = co_await peer.receive();
      heap.look();
      if (!said) break;
      CHECK(said->data.size() == large);
      ++came;
    }
  };
  w.run([&](tcp_stream& peer) -> task<> {
    auto all = handshake + deflated + "\r\n";
    co_await peer.write_all(all);
    co_await receive_head(peer);
    heap = {};
    all.clear();
    for (int i = 0; i < 40; ++i) all += frame(0xc1, squeezed);
    all += frame(0x88, "\x03\xe8");
    co_await peer.write_all(all);
    (void)co_await receive(peer, 100);
  });
  CHECK(came == 40);
  MESSAGE("bombs: ", heap.grown(), " of ", squeezed.size());
  CHECK(heap.grown() < 3 * large);
}

TEST_CASE("a_server_that_says_wait_for_ever_is_given_up") {
  weir::sim::network net;
  auto& there = net.add_host("10.0.0.1/24");
  auto& here = net.add_host("10.0.0.2/24");
  net.link(there, here);
  net.start(there, [&](shard& s) -> task<> {
    auto listener = s.listen({"10.0.0.1", 80});
    auto peer = co_await listener.accept();
    for (int i = 0; i < 100; ++i) {
      auto sent = co_await peer->write_all("HTTP/1.1 103 Early Hints\r\n\r\n").nothrow();
      if (sent.ec) break;
      co_await weir::sleep_for(5s);
    }
  });
  net.start(here, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({"10.0.0.1", 80});
    const auto to = url::parse("http://10.0.0.1/");
    std::error_code error;
    try {
      auto made = co_await open_websocket(std::move(peer), *to);
    } catch (const weir::io_error& failure) {
      error = failure.code();
    }
    CHECK(error == std::errc::timed_out);
    CHECK(net.now() - weir::instant() < 31s);
  });
  net.run();
}

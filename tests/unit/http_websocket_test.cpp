// WebSocket in a simulated network under virtual time: weir's two sides with each other, and each
// against a peer that breaks the rules to the bit.
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "http/websocket/deflate.hpp"
#include "http/websocket/sha1.hpp"
#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using namespace weir::http;
using weir::shard;
using weir::task;
using weir::tcp_stream;

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

TEST_CASE("the_rfcs_own_key_is_accepted_as_the_rfc_says") {  // RFC 6455 1.3
  CHECK(weir::http::detail::websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") ==
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK(weir::http::detail::base64({}) == "");
  const auto digest = weir::http::detail::sha1(std::string(1000, 'a'));
  CHECK(weir::http::detail::base64(digest) == "KR6abGaZSUm1e6XmUDYemPw2sbo=");
}

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

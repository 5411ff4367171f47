// The HTTP/2 server in a simulated network, against frames that the test writes by hand.
#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using namespace weir::http;
using weir::shard;
using weir::task;

namespace {

enum frame_type : std::uint8_t {
  data_frame,
  headers_frame,
  priority_frame,
  reset_frame,
  settings_frame,
  push_frame,
  ping_frame,
  goaway_frame,
  window_frame,
  continuation_frame,
};
constexpr std::uint8_t end_stream = 1, ack = 1, end_headers = 4;

std::string number32(std::uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
          static_cast<char>(n)};
}
std::uint32_t read32(std::string_view text) {
  std::uint32_t out = 0;
  for (const char c : text.substr(0, 4)) out = out << 8 | static_cast<unsigned char>(c);
  return out;
}

struct frame {
  std::uint8_t type = 0, flags = 0;
  std::uint32_t id = 0;
  std::string payload;
};
// (Not of a frame: g++ 12 destroys an aggregate within a co_await twice.)
std::string wire(std::uint8_t type, std::uint8_t flags, std::uint32_t id,
                 const std::string& payload) {
  return number32(static_cast<std::uint32_t>(payload.size()) << 8 | type) +
         static_cast<char>(flags) + number32(id) + payload;
}
/// A field as HPACK has it that knows nothing of earlier ones.
std::string literal(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  for (const auto text : {name, value}) {
    if (text.size() < 127) {
      out += static_cast<char>(text.size());
    } else {  // up to 127 + 16383
      const auto rest = text.size() - 127;
      out += '\x7f';
      out += static_cast<char>(0x80 | (rest & 0x7f));
      out += static_cast<char>(rest >> 7);
    }
    out += text;
  }
  return out;
}
std::string head_of(std::string_view method, std::string_view path,
                    std::string_view authority = "x") {
  return literal(":method", method) + literal(":scheme", "http") + literal(":path", path) +
         literal(":authority", authority);
}
std::string get(std::uint32_t id, std::string_view path) {
  return wire(headers_frame, end_headers | end_stream, id, head_of("GET", path));
}
const std::string hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + wire(settings_frame, 0, 0, "");

/// What a server sends, taken apart.
class listener {
 public:
  listener() { nghttp2_hd_inflate_new(&inflater_); }
  ~listener() { nghttp2_hd_inflate_del(inflater_); }
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;

  void hear(std::string_view bytes) {
    unread_ += bytes;
    while (unread_.size() >= 9) {
      const auto size = read32(unread_) >> 8;
      if (unread_.size() < 9 + size) break;
      const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(unread_[i]); };
      frame f{at(3), at(4), read32(unread_.substr(5)), unread_.substr(9, size)};
      unread_.erase(0, 9 + size);
      note(f);
      frames.push_back(std::move(f));
    }
  }
  std::size_t count(std::uint8_t type) const {
    std::size_t n = 0;
    for (const auto& f : frames) n += f.type == type;
    return n;
  }
  const frame* last(std::uint8_t type) const {
    for (auto f = frames.rbegin(); f != frames.rend(); ++f)
      if (f->type == type) return &*f;
    return nullptr;
  }
  /// Why it says goodbye; ~0 where it has not.
  std::uint32_t goodbye() const {
    const auto* f = last(goaway_frame);
    return f == nullptr ? ~0u : read32(f->payload.substr(4));
  }
  std::uint32_t reset(std::uint32_t id) const {
    for (const auto& f : frames)
      if (f.type == reset_frame && f.id == id) return read32(f.payload);
    return ~0u;
  }

  std::vector<frame> frames;
  std::string said;  ///< "1: 200 body. 3: 404 ..." in the order in which answers ended

 private:
  void note(const frame& f) {
    if (f.type == headers_frame) {
      std::string status;
      auto* in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(f.payload.data()));
      for (auto left = f.payload.size();;) {
        nghttp2_nv nv;
        int flags = 0;
        const auto n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, in, left, 1);
        REQUIRE(n >= 0);
        in += n;
        left -= static_cast<std::size_t>(n);
        const std::string name(reinterpret_cast<const char*>(nv.name), nv.namelen);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && (name == ":status" || name == "x-sum"))
          status = std::string(reinterpret_cast<const char*>(nv.value), nv.valuelen) + " ";
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
      }
      nghttp2_hd_inflate_end_headers(inflater_);
      bodies_[f.id] += status;
    }
    if (f.type == data_frame) bodies_[f.id] += f.payload;
    if ((f.type == headers_frame || f.type == data_frame) && (f.flags & end_stream) != 0)
      said += std::to_string(f.id) + ": " + bodies_[f.id] + ". ";
  }
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string unread_;
  std::map<std::uint32_t, std::string> bodies_;
};

struct world {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& there = net.add_host("10.0.0.1/24");
  weir::sim::host& here = net.add_host("10.0.0.2/24");
  server_settings settings;
  server_counters counters;
  router site;
  int running = 0, most_running = 0;

  world() {
    net.link(there, here, {.delay = 1ms});
    site.get("/hello/{name}", [](request& r) -> task<response> {
      co_return text("hello " + std::string(r.path("name")));
    });
    site.get("/slow", [this](request&) -> task<response> {
      most_running = std::max(most_running, ++running);
      struct leave {
        int& n;
        ~leave() { --n; }
      } leaves{running};
      co_await weir::sleep_for(1s);
      co_return text("slow");
    });
    site.post("/echo", [](request& r) -> task<response> {
      auto body = co_await r.body().read_all({.max = 1 << 20});
      co_return text(std::to_string(body.size()));
    });
    site.get("/stream", [](request&) -> task<response> {
      response out;
      out.body([](body_writer& to) -> task<> {
        for (int i = 0; i < 3; ++i) co_await to.write("piece ");
        to.trailer("X-Sum", "18");
      });
      co_return out;
    });
    site.get("/broken", [](request&) -> task<response> {
      response out;
      out.body([](body_writer& to) -> task<> {
        co_await to.write("half");
        throw std::runtime_error("no more");
      });
      co_return out;
    });
    site.get("/big", [](request&) -> task<response> { co_return text(std::string(200'000, 'b')); });
  }
  using script = std::function<task<>(weir::tcp_stream&, listener&)>;
  void run(script what) {
    net.start(there, [this](shard& s) -> task<> {
      server by(s, site, settings);
      by.on_failure([](const std::exception_ptr&, const request&) {});
      auto at = s.listen({"10.0.0.1", 80});
      co_await by.run(at);
      counters = by.counters();
    });
    net.start(here, [this, what](shard& s) -> task<> {
      {
        auto peer = co_await s.connect({"10.0.0.1", 80});
        listener heard;
        co_await what(peer, heard);
      }
      client web(s);  // whatever happened, the next one is served
      auto next = co_await web.get("http://10.0.0.1/hello/next");
      auto body = co_await next.body().read_all();
      CHECK(body == "hello next");
      there.shard().request_stop();
    });
    net.run();
  }
};

/// Hears what comes within this time, or until the end. True: it ended.
task<bool> hear(weir::tcp_stream& peer, listener& heard, weir::duration within = 500ms) {
  const auto until = peer.owner().now() + within;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    const auto left = until - peer.owner().now();
    auto got = co_await peer.read_some(buffer).timeout(left).nothrow();
    if (got.ec == std::errc::timed_out) co_return false;
    if (got.ec || got.n == 0) co_return true;
    heard.hear({reinterpret_cast<const char*>(buffer.data()), got.n});
  }
}

}  // namespace

TEST_CASE("a_request_of_prior_knowledge_is_answered_however_it_is_cut") {
  for (const bool cut : {false, true}) {
    world w;
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      const auto all = hello + get(1, "/hello/you") + get(3, "/nothing");
      for (std::size_t at = 0; at < all.size(); at += cut ? 1 : all.size()) {
        co_await peer.write_all(std::string_view(all).substr(at, cut ? 1 : all.size()));
        if (cut) co_await weir::sleep_for(2ms);
      }
      (void)co_await hear(peer, heard);
      CHECK(heard.said == "1: 200 hello you. 3: 404 404 Not Found\n. ");
      CHECK(heard.count(settings_frame) == 2);  // its own, and the acknowledgement
    });
  }
}

TEST_CASE("answers_go_when_they_are_there_and_not_in_order") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/slow") + get(3, "/hello/you"));
    (void)co_await hear(peer, heard, 1500ms);
    CHECK(heard.said == "3: 200 hello you. 1: 200 slow. ");
  });
}

TEST_CASE("streamed_answers_have_trailers_and_broken_ones_are_reset") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/stream") + get(3, "/broken"));
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 piece piece piece 18 . ");
    CHECK(heard.reset(3) == NGHTTP2_INTERNAL_ERROR);
  });
  CHECK(w.counters.failures == 1);
}

TEST_CASE("a_client_takes_an_answer_at_its_own_speed") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/big"));
    (void)co_await hear(peer, heard);
    std::size_t came = 0;
    for (const auto& f : heard.frames) came += f.type == data_frame ? f.payload.size() : 0;
    CHECK(came == 65'535);  // the window, and no more
    co_await peer.write_all(wire(window_frame, 0, 1, number32(1 << 20)) +
                            wire(window_frame, 0, 0, number32(1 << 20)));
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 " + std::string(200'000, 'b') + ". ");
  });
}

TEST_CASE("a_body_has_its_limit_and_the_length_that_was_said") {
  world w;
  w.settings.max_body = 50'000;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const std::string part(10'000, 'x');
    const auto head = [](std::uint32_t id, std::string fields = "") {
      return wire(headers_frame, end_headers, id, head_of("POST", "/echo") + fields);
    };
    std::string all = hello + head(1);
    for (int i = 0; i < 4; ++i) all += wire(data_frame, 0, 1, part);
    all += wire(data_frame, end_stream, 1, "");
    all += head(3);
    for (int i = 0; i < 6; ++i) all += wire(data_frame, 0, 3, part);  // 413, and heard out
    all += wire(data_frame, end_stream, 3, part);
    all += head(5, literal("content-length", "70000"));  // 413 at once
    all += wire(data_frame, end_stream, 5, "");
    all += head(7, literal("content-length", "3"));  // a lie
    all += wire(data_frame, end_stream, 7, "four");
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard);
    CHECK(heard.said.find("1: 200 40000. ") != std::string::npos);
    CHECK(heard.said.find("3: 413 ") != std::string::npos);
    CHECK(heard.reset(5) == NGHTTP2_PROTOCOL_ERROR);
    CHECK(heard.reset(7) == NGHTTP2_PROTOCOL_ERROR);
  });
}

TEST_CASE("a_client_that_sends_beyond_its_window_is_cut_off") {
  world w;
  w.site.post("/late", [](request& r) -> task<response> {
    co_await weir::sleep_for(1s);
    auto body = co_await r.body().read_all();
    co_return text(std::to_string(body.size()));
  });
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto send = [](std::uint32_t id, int parts) {
      auto all = wire(headers_frame, end_headers, id, head_of("POST", "/late"));
      for (int i = 0; i < parts; ++i) all += wire(data_frame, 0, id, std::string(16'384, 'x'));
      return all;
    };
    co_await peer.write_all(hello);
    (void)co_await hear(peer, heard, 50ms);
    const auto all = wire(settings_frame, ack, 0, "") + send(1, 4) +
                     wire(data_frame, end_stream, 1, "") + send(3, 5);
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard, 3s);
    CHECK(heard.said == "1: 200 65536. ");
    CHECK(heard.reset(3) == NGHTTP2_FLOW_CONTROL_ERROR);
  });
}

TEST_CASE("heads_that_are_no_request_s_are_refused_by_status") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto ask = [](std::uint32_t id, const std::string& head) {
      return wire(headers_frame, end_headers | end_stream, id, head);
    };
    co_await peer.write_all(hello + ask(1, head_of("GET", "/", "a b")) +
                            ask(3, head_of("GET", "/", "x") + literal("host", "y")) +
                            ask(5, head_of("GET", "/hello/x") + literal("expect", "more")) +
                            ask(7, literal(":method", "GET") + literal(":scheme", "http") +
                                       literal(":path", "/") + literal(":authority", "")) +
                            ask(9, head_of("GET", "/") + literal("connection", "close")));
    (void)co_await hear(peer, heard);
    CHECK(heard.said.find("3: 400") != std::string::npos);
    CHECK(heard.said.find("5: 417") != std::string::npos);
    for (const std::uint32_t id : {1u, 7u, 9u}) CHECK(heard.reset(id) == NGHTTP2_PROTOCOL_ERROR);
  });
}

TEST_CASE("a_cookie_in_pieces_is_one_field") {
  world w;
  w.site.get("/cookie",
             [](request& r) -> task<response> { co_return text(std::string(r.field("cookie"))); });
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto all =
        hello + wire(headers_frame, end_headers | end_stream, 1,
                     head_of("GET", "/cookie") + literal("cookie", "a=1") + literal("x", "y") +
                         literal("cookie", "b=2") + literal("cookie", "c=3"));
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 a=1; b=2; c=3. ");
  });
}

TEST_CASE("a_head_beyond_its_limits_is_431") {
  world w;
  w.settings.max_head = 2000;
  w.settings.max_fields = 10;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    std::string many;
    for (int i = 0; i < 20; ++i) many += literal("a", "b");
    co_await peer.write_all(
        hello +
        wire(headers_frame, end_headers | end_stream, 1,
             head_of("GET", "/hello/x") + literal("long", std::string(3000, 'x'))) +
        wire(headers_frame, end_headers | end_stream, 3, head_of("GET", "/hello/x") + many));
    (void)co_await hear(peer, heard);
    CHECK(heard.said.find("1: 431") != std::string::npos);
    CHECK(heard.said.find("3: 431") != std::string::npos);
  });
}

TEST_CASE("requests_at_once_are_bounded_and_more_than_was_allowed_end_the_connection") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello);
    (void)co_await hear(peer, heard, 50ms);
    std::string all = wire(settings_frame, ack, 0, "");
    for (std::uint32_t i = 0; i < 110; ++i) all += get(2 * i + 1, "/slow");
    co_await peer.write_all(all);
    const bool ended = co_await hear(peer, heard, 10s);
    CHECK(ended);
    CHECK(heard.goodbye() == NGHTTP2_PROTOCOL_ERROR);
  });
  CHECK(w.most_running <= 100);
}

TEST_CASE("resets_make_no_handlers_without_end") {  // CVE-2023-44487
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    std::string all = hello;
    for (std::uint32_t i = 0; i < 1000; ++i)
      all += get(2 * i + 1, "/slow") + wire(reset_frame, 0, 2 * i + 1, number32(NGHTTP2_CANCEL));
    (void)co_await peer.write_all(all).nothrow();
    const bool ended = co_await hear(peer, heard, 60s);
    CHECK(ended);
    CHECK(heard.goodbye() != NGHTTP2_NO_ERROR);
  });
  CHECK(w.most_running <= 100);
}

TEST_CASE("floods_of_frames_end_their_connection") {
  for (const std::string what : {"pings", "settings", "continuations", "empty data"}) {
    CAPTURE(what);
    world w;
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      std::string all = hello;
      if (what == "continuations") all += wire(headers_frame, 0, 1, head_of("GET", "/hello/x"));
      if (what == "empty data") all += wire(headers_frame, end_headers, 1, head_of("GET", "/slow"));
      for (int i = 0; i < 5000; ++i) {
        if (what == "pings") all += wire(ping_frame, 0, 0, "12345678");
        if (what == "settings") all += wire(settings_frame, 0, 0, "");
        if (what == "continuations") all += wire(continuation_frame, 0, 1, literal("a", "b"));
        if (what == "empty data") all += wire(data_frame, 0, 1, "");
      }
      (void)co_await peer.write_all(all).nothrow();
      const bool ended = co_await hear(peer, heard, 100s);
      CHECK(ended);
    });
  }
}

TEST_CASE("a_connection_between_requests_ends_in_time_and_so_does_a_slow_head") {
  for (const std::string what : {"nothing", "a slow head", "a request"}) {
    CAPTURE(what);
    world w;
    w.settings.idle_timeout = 20s;
    w.settings.head_timeout = 5s;
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      co_await peer.write_all(hello);
      const auto begin = wire(headers_frame, 0, 1, head_of("GET", "/hello/x"));
      if (what == "a slow head") co_await peer.write_all(begin);
      if (what == "a request") co_await peer.write_all(get(1, "/slow"));
      const auto begun = peer.owner().now();
      const bool ended = co_await hear(peer, heard, 100s);
      CHECK(ended);
      CHECK(heard.goodbye() == NGHTTP2_NO_ERROR);
      const auto took = peer.owner().now() - begun;
      CHECK(took > (what == "a slow head" ? 4s : 19s));
      CHECK(took < (what == "a slow head" ? 6s : 22s));
    });
  }
}

TEST_CASE("the_stop_says_goodbye_and_answers_what_was_asked") {
  world w;
  w.net.start(w.there, [&](shard& s) -> task<> {
    server by(s, w.site, w.settings);
    auto at = s.listen({"10.0.0.1", 80});
    co_await by.run(at);
  });
  w.net.start(w.here, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({"10.0.0.1", 80});
    listener heard;
    co_await peer.write_all(hello + get(1, "/slow"));
    (void)co_await hear(peer, heard, 100ms);
    w.there.shard().request_stop();
    const bool ended = co_await hear(peer, heard, 5s);
    CHECK(ended);
    CHECK(heard.said == "1: 200 slow. ");
    CHECK(heard.goodbye() == NGHTTP2_NO_ERROR);
    CHECK(read32(heard.last(goaway_frame)->payload) == 1);
  });
  w.net.run();
}

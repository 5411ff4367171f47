// An HTTP/2 connection whose frames a test writes and reads by hand, and a server for it in a
// simulated network.
#pragma once

#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

namespace h2 {

using namespace std::chrono_literals;
using namespace weir::http;

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
constexpr std::uint8_t end_stream = 1, ack = 1, end_headers = 4, padded = 8, with_priority = 0x20;

inline std::string number32(std::uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
          static_cast<char>(n)};
}
inline std::uint32_t read32(std::string_view text) {
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
inline std::string wire(std::uint8_t type, std::uint8_t flags, std::uint32_t id,
                        const std::string& payload) {
  return number32(static_cast<std::uint32_t>(payload.size()) << 8 | type) +
         static_cast<char>(flags) + number32(id) + payload;
}
/// A field as HPACK has it that knows nothing of earlier ones.
inline std::string literal(std::string_view name, std::string_view value) {
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
inline std::string head_of(std::string_view method, std::string_view path,
                           std::string_view authority = "x") {
  return literal(":method", method) + literal(":scheme", "http") + literal(":path", path) +
         literal(":authority", authority);
}
inline std::string get(std::uint32_t id, std::string_view path) {
  return wire(headers_frame, end_headers | end_stream, id, head_of("GET", path));
}
inline const std::string hello =
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + wire(settings_frame, 0, 0, "");

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
  std::vector<std::pair<std::string, std::string>> fields;  ///< of all heads and trailers
  std::string said;  ///< "1: 200 body. 3: 404 ..." in the order in which answers ended

 private:
  void note(const frame& f) {
    if (f.type == headers_frame) {
      block_.clear();
      ends_ = (f.flags & end_stream) != 0;
    }
    if (f.type == headers_frame || f.type == continuation_frame) {
      block_ += f.payload;
      if ((f.flags & end_headers) != 0) inflate(f.id);
    }
    if (f.type == data_frame) {
      bodies_[f.id] += f.payload;
      ends_ = (f.flags & end_stream) != 0;
    }
    const bool whole =
        f.type == data_frame ||
        ((f.flags & end_headers) != 0 && (f.type == headers_frame || f.type == continuation_frame));
    if (whole && ends_) said += std::to_string(f.id) + ": " + bodies_[f.id] + ". ";
  }
  void inflate(std::uint32_t id) {
    auto* in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(block_.data()));
    for (auto left = block_.size();;) {
      nghttp2_nv nv;
      int flags = 0;
      const auto n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, in, left, 1);
      REQUIRE(n >= 0);
      in += n;
      left -= static_cast<std::size_t>(n);
      const std::string name(reinterpret_cast<const char*>(nv.name), nv.namelen);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        std::string value(reinterpret_cast<const char*>(nv.value), nv.valuelen);
        if (name == ":status" || name == "x-sum") bodies_[id] += value + " ";
        fields.emplace_back(name, std::move(value));
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string unread_, block_;
  bool ends_ = false;
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
    site.get("/hello/{name}", [](request& r) -> weir::task<response> {
      co_return text("hello " + std::string(r.path("name")));
    });
    site.get("/slow", [this](request&) -> weir::task<response> {
      most_running = std::max(most_running, ++running);
      struct leave {
        int& n;
        ~leave() { --n; }
      } leaves{running};
      co_await weir::sleep_for(1s);
      co_return text("slow");
    });
    site.post("/echo", [](request& r) -> weir::task<response> {
      auto body = co_await r.body().read_all({.max = 1 << 20});
      co_return text(std::to_string(body.size()));
    });
    site.get("/stream", [](request&) -> weir::task<response> {
      response out;
      out.body([](body_writer& to) -> weir::task<> {
        for (int i = 0; i < 3; ++i) co_await to.write("piece ");
        to.trailer("X-Sum", "18");
      });
      co_return out;
    });
    site.get("/broken", [](request&) -> weir::task<response> {
      response out;
      out.body([](body_writer& to) -> weir::task<> {
        co_await to.write("half");
        throw std::runtime_error("no more");
      });
      co_return out;
    });
    site.get("/big",
             [](request&) -> weir::task<response> { co_return text(std::string(200'000, 'b')); });
  }
  using script = std::function<weir::task<>(weir::tcp_stream&, listener&)>;
  void run(script what) {
    net.start(there, [this](weir::shard& s) -> weir::task<> {
      server by(s, site, settings);
      by.on_failure([](const std::exception_ptr&, const request&) {});
      auto at = s.listen({"10.0.0.1", 80});
      co_await by.run(at);
      counters = by.counters();
    });
    net.start(here, [this, what](weir::shard& s) -> weir::task<> {
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
inline weir::task<bool> hear(weir::tcp_stream& peer, listener& heard,
                             weir::duration within = 500ms) {
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

/// What a server says to some bytes of a client, behind the preface: answers in the order in which
/// they ended, resets, its goodbye, the end. What it sends must be well-formed, whatever came.
struct talk {
  explicit talk(const std::string& bytes, weir::duration within = 2s) {
    w.run([&](weir::tcp_stream& peer, listener&) -> weir::task<> {
      const auto all = hello + bytes;
      (void)co_await peer.write_all(all).nothrow();
      ended = co_await hear(peer, heard, within);
    });
    check_well_formed();
  }
  std::string told() const {
    auto out = heard.said;
    for (const auto& f : heard.frames)
      if (f.type == reset_frame)
        out += std::to_string(f.id) + " reset " + std::to_string(read32(f.payload)) + ". ";
    if (heard.goodbye() != ~0u) out += "goodbye " + std::to_string(heard.goodbye()) + ". ";
    return out + (ended ? "end" : "");
  }
  void check_well_formed() const {
    static constexpr std::array<std::uint8_t, 10> flags = {
        end_stream, end_stream | end_headers, 0, 0, ack, 0, ack, 0, 0, end_headers};
    std::uint32_t in_block = 0;
    for (const auto& f : heard.frames) {
      CAPTURE(int(f.type));
      REQUIRE(f.type <= continuation_frame);
      CHECK(f.type != push_frame);
      CHECK(f.payload.size() <= 16'384);
      CHECK(f.id < 1u << 31);
      CHECK((f.flags & ~flags[f.type]) == 0);
      CHECK((in_block == 0 || (f.type == continuation_frame && f.id == in_block)));
      if (f.type == headers_frame || f.type == continuation_frame)
        in_block = (f.flags & end_headers) != 0 ? 0 : f.id;
    }
    REQUIRE_FALSE(heard.frames.empty());
    CHECK(heard.frames.front().type == settings_frame);
    CHECK(heard.frames.front().flags == 0);
  }

  world w;
  listener heard;
  bool ended = false;
};

inline std::string told(const std::string& bytes) { return talk(bytes).told(); }

}  // namespace h2

// What goes beyond one question and its answer over the streams of every back end: WebSocket with
// its closing, server-sent events, and files with their conditions and ranges.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "conformance/serving.hpp"

namespace conformance {

namespace {

namespace http = weir::http;

/// Letters, so that a part tells where it was cut.
std::string letters(std::size_t size) {
  std::string out(size, ' ');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 7 + i / 26) % 26);
  return out;
}

/// A folder with one file, for as long as a case runs.
class folder {
 public:
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-web-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
    std::ofstream(path + "/long.txt") << letters(300'000);
  }
  ~folder() { std::filesystem::remove_all(path); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;

  std::string path;
};

}  // namespace

#if CONFORMANCE_WEBSOCKET
/// Echoes, and closes when it is told to.
struct websocket_talk {
  static task<> echo(http::websocket& peer, std::vector<std::string>& ends) {
    for (;;) {
      auto said = co_await peer.receive();
      if (!said) break;
      if (said->data == "close")
        co_await peer.close(3001, "as you like");
      else if (said->is_text)
        co_await peer.send(said->data);
      else
        co_await peer.send_binary(std::as_bytes(std::span(said->data)));
    }
    ends.push_back(std::to_string(peer.close_code()) + " " + peer.close_reason());
  }
  static task<> serve(side& me) {
    std::vector<std::string> ends;
    http::router site;
    site.get("/talk", [&ends](http::request& asked) -> task<http::response> {
      co_return http::websocket_upgrade(
          asked, [&ends](http::websocket& peer) { return echo(peer, ends); });
    });
    http::server server(me.here, site);
    co_await serve_until_done(
        me, [&](weir::any_stream peer) { return server.session(std::move(peer)); });
    CHECK(ends == std::vector<std::string>{"1000 enough", "3001 as you like"});
    CHECK(server.counters().failures == 0);
  }

  static task<http::websocket> open(endpoint where) {
    const auto to = http::url::parse("http://" + where.to_string() + "/talk");
    auto stream = co_await weir::connect(where);
    co_return co_await http::open_websocket(std::move(stream), *to);
  }
  static task<> ask(side& me) {
    const auto where = co_await me.target();
    {
      auto peer = co_await open(where);
      for (const auto size : {0u, 1u, 125u, 126u, 65'536u, 300'000u}) {
        const auto text = letters(size);
        co_await peer.send(text);
        auto back = co_await peer.receive();
        REQUIRE(back);
        const bool same = back->is_text && back->data == text;
        CHECK(same);
      }
      const auto bytes = pattern(100'000);
      co_await peer.send_binary(bytes);
      auto back = co_await peer.receive();
      REQUIRE(back);
      CHECK_FALSE(back->is_text);
      const bool same = back->data == text_of(bytes);
      CHECK(same);
      co_await peer.close(1000, "enough");
      CHECK(peer.close_code() == 1000);
    }
    {
      auto peer = co_await open(where);
      co_await peer.send("close");
      auto none = co_await peer.receive();
      CHECK_FALSE(none);
      CHECK(peer.close_code() == 3001);
      CHECK(peer.close_reason() == "as you like");
      auto late = co_await late_send(peer);
      CHECK(late == std::errc::broken_pipe);
    }
    me.signal(1);
  }
  static task<std::error_code> late_send(http::websocket& peer) {
    std::error_code out;
    try {
      co_await peer.send("late");
    } catch (const io_error& error) {
      out = error.code();
    }
    co_return out;
  }
};
using websocket_echoes_and_closes_as_a_server = serving<websocket_talk>;
using websocket_echoes_and_closes_as_a_client = asking<websocket_talk>;
CONFORMANCE(websocket_echoes_and_closes_as_a_server);
CONFORMANCE(websocket_echoes_and_closes_as_a_client);
#endif

/// A stream of events that ends, and one that goes on until its client has gone.
template <bool H2>
struct events_told {
  static task<> tell(http::event_writer& to) {
    const http::server_event first{.data = "one"};
    co_await to.send(first);
    co_await to.keep_alive();
    const http::server_event second{
        .data = "two\nlines", .name = "kind", .id = "7", .retry = 1500ms};
    co_await to.send(second);
  }
  static task<> tell_for_ever(http::event_writer& to, side& me) {
    struct leaving {
      side& me;
      ~leaving() { me.signal(2); }
    } leaves{me};
    const http::server_event tick{.data = "tick"};
    for (;;) {
      co_await to.send(tick);
      co_await sleep_for(1ms);
    }
  }
  static task<> serve(side& me) {
    http::router site;
    site.get("/some",
             [](http::request&) -> task<http::response> { co_return http::event_stream(tell); });
    site.get("/for-ever", [&me](http::request&) -> task<http::response> {
      co_return http::event_stream([&me](http::event_writer& to) { return tell_for_ever(to, me); });
    });
    http::server server(me.here, site);
    co_await serve_until_done(
        me, [&](weir::any_stream peer) { return server.session(std::move(peer)); });
    CHECK(server.counters().failures == 0);
  }
  static task<> ask(side& me) {
    const auto where = co_await me.target();
    const auto base = "http://" + where.to_string();
    {
      http::client web(me.here, speaking(H2 ? http::http2_use::always : http::http2_use::never));
      auto got = co_await web.get(base + "/some");
      CHECK(got.field("content-type") == "text/event-stream");
      auto text = co_await got.body().read_all();
      CHECK(text ==
            "data: one\n\n:\n\nevent: kind\nid: 7\nretry: 1500\ndata: two\ndata: lines\n\n");
      auto endless = co_await web.get(base + "/for-ever");
      auto piece = co_await endless.body().read();
      CHECK(text_of(piece).starts_with("data: tick\n\n"));
    }
    co_await me.wait(2);
    me.signal(1);
  }
};
using http_1_tells_events_until_the_client_goes = serving<events_told<false>>;
using http_1_hears_events_and_goes = asking<events_told<false>>;
CONFORMANCE(http_1_tells_events_until_the_client_goes);
CONFORMANCE(http_1_hears_events_and_goes);
#if CONFORMANCE_HTTP2
using http_2_tells_events_until_the_client_goes = serving<events_told<true>>;
using http_2_hears_events_and_goes = asking<events_told<true>>;
CONFORMANCE(http_2_tells_events_until_the_client_goes);
CONFORMANCE(http_2_hears_events_and_goes);
#endif

/// A file, whole and in part, and what becomes of the conditions that requests set.
template <bool H2>
struct files_served {
  static task<> serve(side& me) {
    const folder there;
    http::file_root files(there.path);
    http::router site;
    site.otherwise([&files](http::request& asked) -> task<http::response> {
      auto known = files.answer_now(asked);
      if (known) co_return std::move(*known);
      auto find = [&] { return files.answer(asked); };
      auto found = co_await weir::offload(find);
      co_return found;
    });
    http::server server(me.here, site);
    co_await serve_until_done(
        me, [&](weir::any_stream peer) { return server.session(std::move(peer)); });
    CHECK(server.counters().requests == 9);
    CHECK(server.counters().failures == 0);
  }

  struct outcome {
    int status = 0;
    std::string body, tag, range, length;
  };
  static task<outcome> fetch(http::client& web, http::client_request& asked) {
    auto got = co_await web.send(asked);
    outcome out;
    out.status = got.status();
    out.tag = got.field("etag");
    out.range = got.field("content-range");
    out.length = got.field("content-length");
    out.body = co_await got.body().read_all();
    co_return out;
  }
  using fields = std::vector<std::pair<std::string_view, std::string_view>>;
  static task<outcome> get(http::client& web, const std::string& url, const fields& with) {
    http::client_request asked(http::method::get, url);
    for (const auto& [name, value] : with) asked.field(name, value);
    co_return co_await fetch(web, asked);
  }
  static task<> ask_parts(http::client& web, const std::string& url, const std::string& whole,
                          const std::string& tag) {
    fields with{{"Range", "bytes=1000-250999"}};
    auto got = co_await get(web, url, with);
    CHECK(got.status == 206);
    CHECK(got.range == "bytes 1000-250999/300000");
    CHECK(got.body == whole.substr(1000, 250'000));
    with = {{"Range", "bytes=-10"}, {"If-Range", tag}};
    got = co_await get(web, url, with);
    CHECK(got.status == 206);
    CHECK(got.body == whole.substr(whole.size() - 10));
    with = {{"Range", "bytes=0-9"}, {"If-Range", "\"another\""}};
    got = co_await get(web, url, with);
    CHECK(got.status == 200);
    CHECK(got.body == whole);
    with = {{"Range", "bytes=300000-"}};
    got = co_await get(web, url, with);
    CHECK(got.status == 416);
    CHECK(got.range == "bytes */300000");
  }
  static task<> ask(side& me) {
    const auto where = co_await me.target();
    const auto url = "http://" + where.to_string() + "/long.txt";
    const auto whole = letters(300'000);
    {
      http::client web(me.here, speaking(H2 ? http::http2_use::always : http::http2_use::never));
      fields with;
      auto got = co_await get(web, url, with);
      CHECK(got.status == 200);
      CHECK(got.body == whole);
      const auto tag = got.tag;
      with = {{"If-None-Match", tag}};
      got = co_await get(web, url, with);
      CHECK(got.status == 304);
      CHECK(got.tag == tag);
      CHECK(got.body.empty());
      with = {{"If-Match", "\"another\""}};
      got = co_await get(web, url, with);
      CHECK(got.status == 412);
      co_await ask_parts(web, url, whole, tag);
      http::client_request head(http::method::head, url);
      got = co_await fetch(web, head);
      CHECK(got.status == 200);
      CHECK(got.length == "300000");
      CHECK(got.body.empty());
      with = {};
      got = co_await get(web, url + "/../../secret", with);
      CHECK(got.status == 404);
      CHECK(web.counters().connections == 1);
    }
    me.signal(1);
  }
};
using http_1_serves_files_in_part_and_on_conditions = serving<files_served<false>>;
using http_1_asks_for_files_in_part_and_on_conditions = asking<files_served<false>>;
CONFORMANCE(http_1_serves_files_in_part_and_on_conditions);
CONFORMANCE(http_1_asks_for_files_in_part_and_on_conditions);
#if CONFORMANCE_HTTP2
using http_2_serves_files_in_part_and_on_conditions = serving<files_served<true>>;
using http_2_asks_for_files_in_part_and_on_conditions = asking<files_served<true>>;
CONFORMANCE(http_2_serves_files_in_part_and_on_conditions);
CONFORMANCE(http_2_asks_for_files_in_part_and_on_conditions);
#endif

}  // namespace conformance

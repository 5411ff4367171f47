// What RFC 9113 asks of a server's framing, streams, flow control and messages, each rule by frames
// that a client should not send; the rows stand in tests/requirements/http_rows.md.
#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

#include <string>
#include <utility>
#include <vector>

#include "h2_world.hpp"

using namespace h2;
using weir::task;

namespace {

const std::string no_error = "1: 200 hello x. ";
const std::string ok = get(1, "/hello/x");
const std::string protocol_error = "goodbye 1. end", flow_error = "goodbye 3. end";
const std::string size_error = "goodbye 6. end", compression_error = "goodbye 9. end";

std::string setting(int id, std::uint32_t value) {
  return std::string(1, '\0') + static_cast<char>(id) + number32(value);
}
std::string settings(int id, std::uint32_t value) {
  return wire(settings_frame, 0, 0, setting(id, value));
}
constexpr int table_size = 1, enable_push = 2, initial_window = 4, max_frame = 5;
std::string more(std::uint32_t id, std::uint32_t window) {
  return wire(window_frame, 0, id, number32(window));
}
/// A request whose body is still to come.
std::string open_post(std::uint32_t id, const std::string& fields = "") {
  return wire(headers_frame, end_headers, id, head_of("POST", "/echo") + fields);
}
std::string get_with(const std::string& fields) {
  return wire(headers_frame, end_headers | end_stream, 1, head_of("GET", "/hello/x") + fields);
}
std::string request_of(const std::string& block) {
  return wire(headers_frame, end_headers | end_stream, 1, block);
}
std::size_t body_bytes(const listener& heard, std::uint32_t id) {
  std::size_t n = 0;
  for (const auto& f : heard.frames) n += f.type == data_frame && f.id == id ? f.payload.size() : 0;
  return n;
}

}  // namespace

// covers: 9113-1, 9113-3
TEST_CASE("a_server_begins_with_settings_and_acknowledges_those_of_the_client") {
  const talk t(ok);
  REQUIRE(t.heard.frames.size() > 2);
  CHECK(t.heard.frames[0].type == settings_frame);
  CHECK(t.heard.frames[0].flags == 0);
  std::size_t acks = 0;
  for (const auto& f : t.heard.frames)
    acks += f.type == settings_frame && f.flags == ack && f.payload.empty();
  CHECK(acks == 1);
  CHECK(t.told() == no_error);
}

// covers: 9113-4
TEST_CASE("a_preface_that_is_none_ends_the_connection") {
  const std::string cases[] = {
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" + wire(settings_frame, 0, 0, ""),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + get(1, "/hello/x"),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + wire(settings_frame, ack, 0, ""),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + wire(ping_frame, 0, 0, "12345678"),
  };
  for (const auto& bytes : cases) {
    CAPTURE(bytes);
    world w;
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      (void)co_await peer.write_all(bytes).nothrow();
      const bool ended = co_await hear(peer, heard, 5s);
      CHECK(ended);
      CHECK(heard.said.empty());
    });
  }
}

// covers: 9113-6, 9113-7, 9113-8, 9113-33
TEST_CASE("what_is_unknown_in_frames_is_ignored") {
  CHECK(told(wire(0x20, 0xff, 0, "what is this") + wire(0xff, 0, 7, "") + ok) == no_error);
  CHECK(told(wire(headers_frame, end_headers | end_stream | 0xd2, 1, head_of("GET", "/hello/x"))) ==
        no_error);
  CHECK(told(wire(ping_frame, 0xfe, 0, "12345678") + ok) == no_error);
  CHECK(told(wire(window_frame, 0xff, 0, number32(1)) + ok) == no_error);
  CHECK(told(wire(headers_frame, end_headers | end_stream, 1u << 31 | 1,
                  head_of("GET", "/hello/x"))) == no_error);
  CHECK(told(wire(window_frame, 0, 0, number32(1u << 31 | 1)) + ok) == no_error);
  CHECK(told(settings(0x7f, 12345) + ok) == no_error);
  CHECK(told(get(3, "/slow") + wire(reset_frame, 0, 3, number32(0xabcdef)) + get(5, "/hello/x")) ==
        "5: 200 hello x. ");
}

// covers: 9113-5, 9113-7, 9113-8
TEST_CASE("what_a_server_sends_is_no_longer_than_was_allowed_and_has_no_bit_that_means_nothing") {
  const talk t(settings(initial_window, 1 << 20) + more(0, 1 << 20) + get(1, "/big") +
               get(3, "/stream") + get(5, "/broken") + get(7, "/nothing"));  // looks at each frame
  CHECK(body_bytes(t.heard, 1) == 200'000);
}

// covers: 9113-9
TEST_CASE("frames_of_16384_octets_are_taken_each_kind") {
  CHECK(told(open_post(1) + wire(data_frame, end_stream, 1, std::string(16'384, 'x'))) ==
        "1: 200 16384. ");
  std::string block = head_of("GET", "/hello/x");
  for (std::size_t left = 16'384 - block.size(); left != 0;) {
    const auto value = std::min<std::size_t>(left - 8, 7000);
    const auto field = literal("long", std::string(value, 'v'));
    if (field.size() > left || (left - field.size() < 200 && left != field.size())) {
      block += literal("a", std::string(100, 'v'));
      left = 16'384 - block.size();
      if (left < 300) break;
      continue;
    }
    block += field;
    left -= field.size();
  }
  world w;
  w.settings.max_head = 64 * 1024;
  w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
    std::string padded_block(1, static_cast<char>(0));
    const auto rest = 16'384 - 1 - block.size();
    REQUIRE(rest < 256);
    padded_block[0] = static_cast<char>(rest);
    const auto all = hello + wire(headers_frame, end_headers | end_stream | padded, 1,
                                  padded_block + block + std::string(rest, '\0'));
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard);
    CHECK(heard.said == no_error);
  });
}

// covers: 9113-10, 9113-11
TEST_CASE("a_frame_that_is_too_long_or_too_short_is_a_frame_size_error") {
  const std::string big(16'385, 'x');
  CHECK(told(open_post(1) + wire(data_frame, 0, 1, big)) == size_error);
  CHECK(told(wire(headers_frame, end_headers, 1, big)) == size_error);
  CHECK(told(wire(0x20, 0, 0, big)) == size_error);
  CHECK(told(wire(goaway_frame, 0, 0, "short")) == size_error);
  CHECK(told(wire(headers_frame, end_headers | with_priority, 1, "four")) == size_error);
}

// covers: 9113-12
TEST_CASE("a_head_longer_than_a_frame_goes_as_one_sequence_while_other_answers_wait") {
  talk t("");
  world w;
  w.site.get("/wide", [](request&) -> task<response> {
    auto out = text("wide");
    for (int i = 0; i < 40; ++i)
      out.field("x-" + std::to_string(i), std::string(1000, static_cast<char>('!' + i)));
    co_return out;
  });
  w.run([&](weir::tcp_stream& peer, listener&) -> task<> {
    const auto all = hello + get(1, "/wide") + get(3, "/big") + get(5, "/wide") + get(7, "/stream");
    co_await peer.write_all(all);
    (void)co_await hear(peer, t.heard);
    CHECK(t.heard.count(continuation_frame) >= 2);
    CHECK(t.heard.said.find("1: 200 wide. ") != std::string::npos);
    CHECK(t.heard.said.find("5: 200 wide. ") != std::string::npos);
  });
  t.check_well_formed();
}

// covers: 9113-13
TEST_CASE("a_field_block_that_is_no_hpack_ends_the_connection") {
  CHECK(told(request_of("\xff\xff\xff\xff\xff\xff\xff")) == compression_error);        // an index
  CHECK(told(request_of(head_of("GET", "/") + "\xfe")) == compression_error);          // none such
  CHECK(told(request_of(std::string("\0\x7f", 2))) == compression_error);              // cut short
  CHECK(told(request_of("\x3f\xe2\x7f" + head_of("GET", "/"))) == compression_error);  // > 4096
}

// covers: 9113-14
TEST_CASE("an_encoder_follows_the_table_size_of_its_peer") {
  const talk t(settings(table_size, 0) + ok);
  CHECK(t.told() == no_error);
  const auto* head = t.heard.last(headers_frame);
  REQUIRE(head != nullptr);
  CHECK(head->payload[0] == '\x20');  // RFC 7541 6.3: size 0
}

// covers: 9113-20, 9113-48
TEST_CASE("frames_on_an_idle_stream_end_the_connection") {
  CHECK(told(wire(data_frame, 0, 1, "x")) == protocol_error);
  CHECK(told(more(1, 1)) == protocol_error);
  CHECK(told(wire(reset_frame, 0, 1, number32(8))) == protocol_error);
  CHECK(told(wire(continuation_frame, end_headers, 1, head_of("GET", "/"))) == protocol_error);
  CHECK(told(get(5, "/slow") + wire(reset_frame, 0, 7, number32(8))) == protocol_error);
}

// covers: 9113-21, 9113-41
TEST_CASE("data_and_heads_behind_the_end_of_a_request_are_stream_closed") {
  const talk data(get(1, "/slow") + wire(data_frame, 0, 1, "more") + get(3, "/hello/x"));
  CHECK(data.told().find("5. ") != std::string::npos);
  CHECK(data.heard.said.find("1: ") == std::string::npos);
  const talk head(get(1, "/slow") +
                  wire(headers_frame, end_headers | end_stream, 1, literal("late", "field")));
  CHECK(head.told().find("5. ") != std::string::npos);
  CHECK(head.heard.said.find("1: ") == std::string::npos);
  const talk control(get(1, "/slow") + more(1, 5) + wire(priority_frame, 0, 1, number32(0) + "\1"));
  CHECK(control.told() == "1: 200 slow. ");
}

// covers: 9113-24, 9113-30
TEST_CASE("priority_is_taken_in_each_state_and_changes_none") {
  const auto priority = [](std::uint32_t id) {
    return wire(priority_frame, 0, id, number32(0) + "\x10");
  };
  CHECK(told(priority(1) + priority(9) + ok) == no_error);  // idle, and stays so
  CHECK(told(open_post(1) + priority(1) + wire(data_frame, end_stream, 1, "abc") + priority(1)) ==
        "1: 200 3. ");
  CHECK(told(get(1, "/slow") + wire(reset_frame, 0, 1, number32(8)) + priority(1) +
             get(3, "/hello/x")) == "3: 200 hello x. ");
}

// covers: 9113-22, 9113-23, 9113-47, 9113-32
TEST_CASE("a_stream_that_the_client_has_reset_gets_nothing_more") {
  const talk t(get(1, "/big") + get(3, "/slow") + wire(reset_frame, 0, 3, number32(8)) +
               wire(reset_frame, 0, 1, number32(8)) + more(0, 1 << 20) + more(1, 1 << 20));
  for (const auto& f : t.heard.frames) CHECK((f.id == 0 || (f.id == 1 && f.type != reset_frame)));
  CHECK(body_bytes(t.heard, 1) <= 65'535);
  CHECK(t.told().empty());
}

// covers: 9113-23, 9113-74, 9113-67
TEST_CASE("what_comes_for_a_stream_that_the_server_has_reset_is_decoded_and_counted") {
  // Its head puts a field into the table, to which a later head refers; its data count against the
  // connection's window, which is then given back.
  const auto entered = std::string("\x40\x01z\x03") + "one";
  std::string all = wire(headers_frame, end_headers, 1,
                         head_of("POST", "/echo") + literal("content-length", "1"));
  all += wire(data_frame, 0, 1, "too long");  // malformed: reset
  for (int i = 0; i < 100; ++i) all += wire(data_frame, 0, 1, std::string(16'384, 'x'));
  all += wire(headers_frame, end_headers | end_stream, 1, entered);
  all += wire(headers_frame, end_headers | end_stream, 3, head_of("GET", "/hello/x") + "\xbe");
  const talk t(all);
  CHECK(t.heard.reset(1) == NGHTTP2_PROTOCOL_ERROR);
  CHECK(t.heard.said == "3: 200 hello x. ");
  std::size_t given = 0;
  for (const auto& f : t.heard.frames)
    if (f.type == window_frame && f.id == 0) given += read32(f.payload);
  CHECK(given > 1'000'000);
}

// covers: 9113-25
TEST_CASE("windows_and_resets_for_a_stream_that_is_over_are_no_error") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto first = hello + ok;
    co_await peer.write_all(first);
    (void)co_await hear(peer, heard);
    const auto late = more(1, 100) + wire(reset_frame, 0, 1, number32(8)) + get(3, "/hello/y");
    co_await peer.write_all(late);
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 hello x. 3: 200 hello y. ");
    CHECK(heard.goodbye() == ~0u);
  });
}

// covers: 9113-26, 9113-27, 9113-43
TEST_CASE("a_client_s_streams_are_odd_and_grow") {
  CHECK(told(get(2, "/hello/x")) == protocol_error);
  CHECK(told(get(0, "/hello/x")) == protocol_error);
  CHECK(told(get(5, "/slow") + get(3, "/hello/x")).ends_with(protocol_error));
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {  // one that is used up
    const auto first = hello + get(5, "/hello/x");
    co_await peer.write_all(first);
    (void)co_await hear(peer, heard);
    const auto again = get(5, "/hello/x");
    co_await peer.write_all(again);
    (void)co_await hear(peer, heard, 2s);
    CHECK(heard.said == "5: 200 hello x. ");  // it may have been on its way: discarded
  });
}

TEST_CASE("ids_that_were_passed_over_are_remembered_up_to_a_bound") {
  std::string all;
  std::uint32_t id = 1;
  for (int i = 0; i < 70; ++i, id += 4)
    all += wire(headers_frame, end_headers | end_stream, id, literal(":method", "GET"));
  const auto malformed = [&](std::uint32_t late) {
    return talk(all + get(late, "/hello/x")).heard.goodbye();
  };
  CHECK(malformed(3) == ~0u);  // forgotten, and nothing comes of it
  CHECK(malformed(id - 6) == NGHTTP2_PROTOCOL_ERROR);
}

// covers: 9113-31
TEST_CASE("after_a_goodbye_for_an_error_the_connection_is_closed") {
  CHECK(told(wire(ping_frame, 0, 1, "12345678") + ok) == protocol_error);
}

// covers: 9113-34, 9113-44
TEST_CASE("a_field_block_is_not_interrupted") {
  const auto begin = wire(headers_frame, end_stream, 1, head_of("GET", "/hello/x"));
  CHECK(told(begin + wire(continuation_frame, 0, 1, literal("a", "b")) +
             wire(continuation_frame, end_headers, 1, "")) == no_error);
  CHECK(told(begin + wire(0x20, 0, 0, "")) == protocol_error);
  CHECK(told(begin + wire(ping_frame, 0, 0, "12345678")) == protocol_error);
  CHECK(told(begin + get(3, "/hello/x")) == protocol_error);
  CHECK(told(begin + wire(continuation_frame, end_headers, 3, "")) == protocol_error);
  CHECK(told(begin + wire(data_frame, 0, 1, "")) == protocol_error);
}

// covers: 9113-40, 9113-45, 9113-48, 9113-51, 9113-62, 9113-64, 9113-68
TEST_CASE("a_frame_on_the_wrong_stream_ends_the_connection") {
  CHECK(told(wire(data_frame, 0, 0, "x")) == protocol_error);
  CHECK(told(wire(priority_frame, 0, 0, number32(1) + "\1")) == protocol_error);
  CHECK(told(wire(reset_frame, 0, 0, number32(8))) == protocol_error);
  CHECK(told(wire(settings_frame, 0, 1, "")) == protocol_error);
  CHECK(told(wire(ping_frame, 0, 1, "12345678")) == protocol_error);
  CHECK(told(wire(goaway_frame, 0, 1, number32(0) + number32(0))) == protocol_error);
  CHECK(told(wire(continuation_frame, end_headers, 0, "")) == protocol_error);
  CHECK(told(ok + wire(continuation_frame, end_headers, 1, "")).ends_with(protocol_error));
}

// covers: 9113-42
TEST_CASE("padding_that_is_as_long_as_the_payload_ends_the_connection") {
  CHECK(told(open_post(1) + wire(data_frame, padded, 1, "")) == protocol_error);
  CHECK(told(open_post(1) + wire(data_frame, padded, 1,
                                 "\x05"
                                 "1234")) == protocol_error);
  CHECK(told(open_post(1) + wire(data_frame, padded, 1,
                                 "\x04"
                                 "1234")) != protocol_error);
  CHECK(told(wire(headers_frame, end_headers | end_stream | padded, 1,
                  "\xff"
                  "abc")) == protocol_error);
}

// covers: 9113-46, 9113-49, 9113-50, 9113-52, 9113-63, 9113-73
TEST_CASE("a_frame_of_another_length_than_its_type_has_is_a_frame_size_error") {
  const auto priority = told(open_post(1) + wire(priority_frame, 0, 1, "four"));
  CHECK((priority == size_error || priority == "1 reset 6. "));
  CHECK(told(open_post(1) + wire(reset_frame, 0, 1, "12345")) == size_error);
  CHECK(told(wire(settings_frame, ack, 0, setting(0x7f, 1))) == size_error);
  CHECK(told(wire(settings_frame, 0, 0, "12345")) == size_error);
  CHECK(told(wire(ping_frame, 0, 0, "1234567")) == size_error);
  CHECK(told(wire(window_frame, 0, 0, "123")) == size_error);
  CHECK(told(open_post(1) + wire(window_frame, 0, 1, "12345")) == size_error);
}

// covers: 9113-53, 9113-55, 9113-56
TEST_CASE("settings_that_no_value_is_allowed_for_end_the_connection") {
  CHECK(told(settings(enable_push, 2)) == protocol_error);
  CHECK(told(settings(initial_window, 1u << 31)) == flow_error);
  CHECK(told(settings(max_frame, (1u << 14) - 1)) == protocol_error);
  CHECK(told(settings(max_frame, 1u << 24)) == protocol_error);
  CHECK(told(settings(max_frame, (1u << 24) - 1) + settings(enable_push, 0) + ok) == no_error);
}

// covers: 9113-57
TEST_CASE("settings_hold_in_their_order_and_are_acknowledged_once_each") {
  const talk t(wire(settings_frame, 0, 0,
                    setting(initial_window, 7) + setting(0x99, 1) + setting(initial_window, 5)) +
               settings(table_size, 100) + ok);
  std::size_t acks = 0;
  for (const auto& f : t.heard.frames) acks += f.type == settings_frame && f.flags == ack;
  CHECK(acks == 3);  // the preface's too
  CHECK(body_bytes(t.heard, 1) == 5);
}

// covers: 9113-58
TEST_CASE("a_client_does_not_push") {
  CHECK(told(open_post(1) + wire(push_frame, end_headers, 1, number32(2) + head_of("GET", "/"))) ==
        protocol_error);
}

// covers: 9113-60, 9113-61
TEST_CASE("a_ping_comes_back_as_it_was_and_an_answer_is_not_answered") {
  const talk t(wire(ping_frame, ack, 0, "answered") + wire(ping_frame, 0, 0, "question"));
  CHECK(t.heard.count(ping_frame) == 1);
  const auto* pong = t.heard.last(ping_frame);
  REQUIRE(pong != nullptr);
  CHECK(pong->flags == ack);
  CHECK(pong->payload == "question");
}

// covers: 9113-66, 9113-67
TEST_CASE("goodbyes_never_name_a_later_stream_and_heads_behind_them_are_still_decoded") {
  world w;
  listener heard;
  w.net.start(w.there, [&](weir::shard& s) -> task<> {
    server by(s, w.site, w.settings);
    auto at = s.listen({"10.0.0.1", 80});
    co_await by.run(at);
  });
  w.net.start(w.here, [&](weir::shard& s) -> task<> {
    auto peer = co_await s.connect({"10.0.0.1", 80});
    const auto first = hello + get(1, "/slow");
    co_await peer.write_all(first);
    (void)co_await hear(peer, heard, 100ms);
    w.there.shard().request_stop();
    (void)co_await hear(peer, heard, 100ms);
    CHECK(heard.goodbye() == NGHTTP2_NO_ERROR);
    // Too late, and in pieces that the table must follow; then a mistake, and another goodbye.
    const auto late = get(3, "/hello/x") + wire(ping_frame, 0, 0, "12345678");
    co_await peer.write_all(late);
    (void)co_await hear(peer, heard, 100ms);
    const auto mistake = wire(settings_frame, 0, 1, "");
    co_await peer.write_all(mistake);
    const bool ended = co_await hear(peer, heard, 5s);
    CHECK(ended);
  });
  w.net.run();
  std::uint32_t last = 1u << 31;
  for (const auto& f : heard.frames)
    if (f.type == goaway_frame) {
      CHECK(read32(f.payload) <= last);
      last = read32(f.payload);
    }
  CHECK(last == 1);
  CHECK(heard.count(ping_frame) == 1);
  CHECK(heard.said.find("3: ") == std::string::npos);
}

// covers: 9113-70, 9113-71, 9113-76
TEST_CASE("data_stay_within_the_windows_of_stream_and_connection") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto two = hello + get(1, "/big") + get(3, "/big");
    co_await peer.write_all(two);
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) + body_bytes(heard, 3) == 65'535);  // the connection's
    const auto streams = more(1, 1 << 20) + more(3, 1 << 20);      // of no use without it
    co_await peer.write_all(streams);
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) + body_bytes(heard, 3) == 65'535);
    const auto all = settings(initial_window, 1 << 20) + wire(ping_frame, 0, 0, "12345678");
    co_await peer.write_all(all);  // the connection's is not of the settings
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) + body_bytes(heard, 3) == 65'535);
    CHECK(heard.count(ping_frame) == 1);  // heard all the same
    const auto rest = more(0, 1000);
    co_await peer.write_all(rest);
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) + body_bytes(heard, 3) == 66'535);
  });
}

// covers: 9113-72
TEST_CASE("a_window_that_grows_by_nothing_is_a_protocol_error") {
  CHECK(told(more(0, 0)) == protocol_error);
  const auto one = told(open_post(1) + more(1, 0));
  CHECK((one == "1 reset 1. " || one == protocol_error));
}

// covers: 9113-75, 9113-79
TEST_CASE("a_window_beyond_2_31_is_a_flow_control_error") {
  CHECK(told(more(0, 0x7fffffff)) == flow_error);
  const auto one = told(open_post(1) + more(1, 0x7fffffff));
  CHECK((one == "1 reset 3. " || one == flow_error));
  const auto grown =
      told(get(1, "/slow") + more(1, 0x7fffffff - 65'535) + settings(initial_window, 65'536));
  CHECK((grown == "1 reset 3. " || grown == flow_error));
}

// covers: 9113-77, 9113-78
TEST_CASE("windows_follow_the_initial_size_also_below_zero") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto first = hello + more(0, 1 << 20) + get(1, "/big");
    co_await peer.write_all(first);
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) == 65'535);
    const auto less = settings(initial_window, 10'000) + more(1, 55'535);  // -55,535, then 0
    co_await peer.write_all(less);
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) == 65'535);
    const auto more_by_one = more(1, 1);
    co_await peer.write_all(more_by_one);
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) == 65'536);
    const auto grown = settings(initial_window, 110'000);
    co_await peer.write_all(grown);
    (void)co_await hear(peer, heard);
    CHECK(body_bytes(heard, 1) == 165'536);
  });
}

// covers: 9113-81
TEST_CASE("padding_counts_as_flow_controlled_and_is_given_back") {
  // 300 frames of 1 + 1 + 254 octets: beyond a stream's window, unless padding comes back.
  std::string all = open_post(1);
  for (int i = 0; i < 300; ++i)
    all += wire(data_frame, padded, 1,
                "\xfe"
                "x" +
                    std::string(254, '\0'));
  const talk t(all + wire(data_frame, end_stream, 1, ""));
  CHECK(t.told() == "1: 200 300. ");
}

// covers: 9113-90, 9113-91, 9113-92
TEST_CASE("a_malformed_request_is_reset_and_reaches_no_handler") {
  CHECK(told(open_post(1) + wire(headers_frame, end_headers, 1, literal("a", "b"))) ==
        "1 reset 1. ");
  CHECK(told(open_post(1, literal("content-length", "3")) +
             wire(data_frame, end_stream, 1, "four")) == "1 reset 1. ");
  CHECK(told(open_post(1, literal("content-length", "5")) +
             wire(data_frame, end_stream, 1, "four")) == "1 reset 1. ");
  CHECK(told(get_with(literal("content-length", "5"))) == "1 reset 1. ");
}

// covers: 9113-93, 9113-94, 9113-95, 9113-97
TEST_CASE("fields_that_must_not_be_are_malformed") {
  const std::string cases[] = {
      literal("Upper", "case"),
      literal("sp ace", "x"),
      literal("", "x"),
      literal("a:b", "x"),
      literal("caf\xc3\xa9", "x"),
      literal("x", std::string("a\0b", 3)),
      literal("x", "a\r\nb: c"),
      literal("x", "a\nb"),
      literal("x", " a"),
      literal("x", "a "),
      literal("connection", "close"),
      literal("keep-alive", "x"),
      literal("proxy-connection", "x"),
      literal("transfer-encoding", "chunked"),
      literal("upgrade", "h2c"),
      literal("te", "gzip"),
      literal(":path", "/twice"),
      literal("a", "b") + literal(":authority", "late"),
      literal(":status", "200"),
      literal(":unknown", "x"),
  };
  for (const auto& fields : cases) {
    CAPTURE(fields);
    CHECK(told(get_with(fields)) == "1 reset 1. ");
  }
  CHECK(told(get_with(literal("te", "trailers"))) == no_error);
  CHECK(told(open_post(1) + wire(headers_frame, end_headers | end_stream, 1,
                                 literal(":path", "/trailing"))) == "1 reset 1. ");
}

// covers: 9113-93, 9113-95
TEST_CASE("an_answer_has_names_in_lower_case_and_no_field_of_a_connection") {
  talk t("");
  world w;
  w.site.get("/fields", [](request&) -> task<response> {
    auto out = text("x");
    out.field("X-Upper", "1").field("Keep-Alive", "timeout=5").field("Upgrade", "h2c");
    co_return out;
  });
  w.run([&](weir::tcp_stream& peer, listener&) -> task<> {
    const auto all = hello + get(1, "/fields");
    co_await peer.write_all(all);
    (void)co_await hear(peer, t.heard);
  });
  bool found = false;
  for (const auto& [name, value] : t.heard.fields) {
    for (const char c : name) CHECK_FALSE((c >= 'A' && c <= 'Z'));
    found = found || name == "x-upper";
    for (auto* of_http1 : {"connection", "keep-alive", "upgrade", "transfer-encoding"})
      CHECK(name != of_http1);
  }
  CHECK(found);
}

// covers: 9113-98
TEST_CASE("a_request_without_its_pseudo_fields_is_malformed") {
  const auto method = literal(":method", "GET"), scheme = literal(":scheme", "http"),
             path = literal(":path", "/hello/x"), host = literal(":authority", "x");
  CHECK(told(request_of(method + scheme + path + host)) == no_error);
  for (const auto& block :
       {scheme + path + host, method + path + host, method + scheme + host,
        method + scheme + literal(":path", "") + host, method + method + scheme + path + host,
        method + scheme + scheme + path + host}) {
    CHECK(told(request_of(block)) == "1 reset 1. ");
  }
}

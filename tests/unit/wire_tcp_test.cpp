// TCP headers: option order, every option parsed, every malformed length survived.
#include "stack/wire/tcp.hpp"

#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;
using wire::parse_status;

namespace {

wire::tcp_segment some_segment(bool v6 = false) {
  wire::tcp_segment s;
  s.source = addr(v6 ? "2001:db8::1" : "198.18.0.1");
  s.destination = addr(v6 ? "2001:db8::2" : "198.18.0.2");
  s.source_port = 40000, s.destination_port = 80;
  s.sequence = 0x01020304, s.acknowledgment = 0xfffefdfc;
  s.flags = wire::ack | wire::psh;
  s.window = 0xffff, s.urgent = 3;
  return s;
}

bytes options_of(const wire::tcp_option_set& options) {
  wire::tcp_segment s;
  s.options = options;
  bytes out(wire::max_tcp_header);
  out.resize(wire::emit_tcp_header(out, s));
  out.erase(out.begin(), out.begin() + 20);
  CHECK(out.size() == wire::tcp_options_length(options));
  CHECK(out.size() % 4 == 0);
  return out;
}

wire::tcp_option_set parsed(std::span<const std::byte> area) {
  wire::tcp_option_set out;
  wire::parse_tcp_options(exact_copy(area).view(), out);
  return out;
}

wire::tcp_segment parse_back(const bytes& data, const wire::tcp_segment& addresses,
                             parse_status expected = parse_status::ok) {
  wire::tcp_segment out;
  out.source = addresses.source, out.destination = addresses.destination;
  CHECK(wire::parse_tcp(data, true, out) == expected);
  return out;
}

}  // namespace

TEST_CASE("tcp_options_of_a_syn_stand_in_the_order_of_linux") {
  wire::tcp_option_set o;
  o.mss = 1460, o.window_scale = 7, o.sack_permitted = true;
  o.timestamps = wire::tcp_timestamps{0x01020304, 0};
  CHECK(options_of(o) == raw({2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7}));
  o.timestamps.reset();
  CHECK(options_of(o) == raw({2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7}));
  o.sack_permitted = false;
  CHECK(options_of(o) == raw({2, 4, 5, 0xb4, 1, 3, 3, 7}));
  o.timestamps = wire::tcp_timestamps{1, 2};
  CHECK(options_of(o) == raw({2, 4, 5, 0xb4, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7}));
}

TEST_CASE("tcp_options_of_data_are_aligned_timestamps_and_sack") {
  wire::tcp_option_set o;
  o.timestamps = wire::tcp_timestamps{1, 2};
  CHECK(options_of(o) == raw({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}));
  o.timestamps.reset();
  o.sack_count = 1;
  o.sack[0] = {0x10, 0x20};
  CHECK(options_of(o) == raw({1, 1, 5, 10, 0, 0, 0, 0x10, 0, 0, 0, 0x20}));
}

TEST_CASE("tcp_sack_blocks_fill_what_room_the_other_options_leave") {
  wire::tcp_option_set o;
  o.sack_count = 4;
  for (std::uint32_t i = 0; i < 4; ++i) o.sack[i] = {i * 100, i * 100 + 50};
  CHECK(parsed(options_of(o)).sack_count == 4);  // RFC 2018 3: four without timestamps
  o.timestamps = wire::tcp_timestamps{1, 2};
  CHECK(parsed(options_of(o)).sack_count == 3);  // three with
  CHECK(parsed(options_of(o)).sack[2] == wire::sack_block{200, 250});
  o.mss = 1, o.sack_permitted = true, o.window_scale = 1, o.user_timeout = 1;
  CHECK(parsed(options_of(o)).sack_count == 1);
  CHECK(options_of(o).size() <= wire::max_tcp_options);
}

TEST_CASE("tcp_header_comes_back_as_it_was_emitted") {
  for (bool v6 : {false, true}) {
    auto s = some_segment(v6);
    s.options.timestamps = wire::tcp_timestamps{5, 6};
    s.options.user_timeout = 0x8005;
    auto payload = pattern(100);
    auto data = tcp_bytes(s, payload);
    auto back = parse_back(data, s);
    CHECK(back.source_port == s.source_port);
    CHECK(back.destination_port == s.destination_port);
    CHECK(back.sequence == s.sequence);
    CHECK(back.acknowledgment == s.acknowledgment);
    CHECK(back.flags == s.flags);
    CHECK(back.window == 0xffff);  // MUST-1
    CHECK(back.urgent == 3);
    CHECK(back.options == s.options);
    CHECK(std::ranges::equal(back.payload, payload));
  }
}

TEST_CASE("tcp_options_of_every_combination_come_back") {
  std::mt19937_64 random(4);
  for (unsigned bits = 0; bits < 64; ++bits) {
    wire::tcp_option_set o;
    if (bits & 1) o.mss = static_cast<std::uint16_t>(random());
    if (bits & 2) o.window_scale = static_cast<std::uint8_t>(random());
    if (bits & 4) o.sack_permitted = true;
    if (bits & 8) o.timestamps = wire::tcp_timestamps{static_cast<std::uint32_t>(random()), 9};
    if (bits & 16) o.user_timeout = static_cast<std::uint16_t>(random());
    if (bits & 32) o.sack_count = 1, o.sack[0] = {static_cast<std::uint32_t>(random()), 7};
    REQUIRE(parsed(options_of(o)) == o);
  }
}

TEST_CASE("tcp_emit_refuses_a_buffer_that_is_too_small") {
  auto s = some_segment();
  s.options.mss = 1460;
  bytes small(23), enough(24);
  CHECK(wire::emit_tcp_header(small, s) == 0);
  CHECK(wire::emit_tcp_header(enough, s) == 24);
}

TEST_CASE("tcp_bad_checksum_is_told_and_may_be_left_unverified") {
  for (bool v6 : {false, true}) {
    auto s = some_segment(v6);
    auto data = tcp_bytes(s, pattern(5));
    data[22] ^= std::byte{1};
    parse_back(data, s, parse_status::bad_checksum);  // MUST-3
    wire::tcp_segment out = s;
    CHECK(wire::parse_tcp(data, false, out) == parse_status::ok);
  }
}

TEST_CASE("tcp_checksum_covers_the_addresses") {
  auto s = some_segment();
  auto data = tcp_bytes(s);
  s.destination = addr("198.18.0.3");
  parse_back(data, s, parse_status::bad_checksum);
}

TEST_CASE("tcp_data_offset_out_of_range_is_malformed") {
  auto s = some_segment();
  for (unsigned offset = 0; offset < 16; ++offset) {
    auto data = tcp_bytes(s, pattern(12));
    wire::put8(data.data() + 12, static_cast<std::uint8_t>(offset << 4));
    wire::tcp_segment out = s;
    auto expected = offset >= 5 && offset <= 8 ? parse_status::ok : parse_status::malformed;
    REQUIRE(wire::parse_tcp(exact_copy(data).view(), false, out) == expected);
  }
  for (std::size_t n = 0; n < 20; ++n) {
    wire::tcp_segment out = s;
    REQUIRE(wire::parse_tcp(exact_copy(bytes(n)).view(), false, out) == parse_status::malformed);
  }
}

// covers: MUST-6, MUST-64
// An odd alignment too.
TEST_CASE("tcp_unknown_options_are_skipped_by_their_length") {
  auto o = parsed(raw(
      {254, 3, 9, 2, 4, 1, 2, 19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 14}));
  CHECK(o.mss == 0x0102);
  CHECK(o.window_scale == 14);
  CHECK(!o.malformed);
}

// covers: MUST-69
TEST_CASE("tcp_options_after_the_end_are_padding") {
  auto o = parsed(raw({3, 3, 2, 0, 2, 4, 1, 2}));
  CHECK(o.window_scale == 2);
  CHECK(!o.mss);
  CHECK(!o.malformed);
}

// covers: MUST-7
TEST_CASE("tcp_illegal_option_lengths_end_the_options_and_keep_those_before") {
  for (auto tail :
       {raw({8, 0, 0, 0}), raw({8, 1, 0, 0}), raw({8, 200, 0, 0}), raw({8, 5, 0, 0}),
        raw({1, 1, 1, 8}), raw({200, 9, 0, 0}), raw({1, 1, 5, 10}), raw({1, 4, 3, 0})}) {
    auto o = parsed(raw({2, 4, 5, 0xb4}) + tail);
    CHECK(o.mss == 1460);
    CHECK(!o.timestamps);
    CHECK(o.malformed);
  }
}

TEST_CASE("tcp_known_options_of_a_foreign_length_say_nothing") {
  for (unsigned kind : {2u, 3u, 4u, 5u, 8u, 28u})
    for (unsigned length = 2; length <= 38; ++length) {
      bytes area = raw({kind, length});
      area.resize(length, std::byte{0x11});
      area.resize(40, std::byte{1});
      auto o = parsed(area);
      bool right = (kind == 2 && length == 4) || (kind == 3 && length == 3) ||
                   (kind == 4 && length == 2) || (kind == 8 && length == 10) ||
                   (kind == 28 && length == 4) ||
                   (kind == 5 && length >= 10 && (length - 2) % 8 == 0);
      REQUIRE(o.malformed == !right);
      bool says = o.mss || o.window_scale || o.sack_permitted || o.sack_count != 0 ||
                  o.timestamps || o.user_timeout;
      REQUIRE(says == right);
    }
}

TEST_CASE("tcp_super_segments_count_as_the_segments_they_carry") {
  auto payload = pattern(3001);
  wire::tcp_segment s;
  s.payload = payload;
  CHECK(s.segment_count() == 1);
  s.gso_size = 1000;
  CHECK(s.segment_count() == 4);
  s.flags = wire::syn | wire::fin;
  CHECK(s.sequence_length() == 3003);
}

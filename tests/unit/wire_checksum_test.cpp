// The internet checksum against a slow one that is obviously right, over lengths, alignments and
// cuts.
#include "stack/wire/checksum.hpp"

#include <doctest/doctest.h>

#include "unit/wire_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

std::uint16_t slow_sum(std::span<const std::byte> data) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    auto byte = std::to_integer<std::uint32_t>(data[i]);
    sum += i % 2 == 0 ? byte << 8 : byte;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(sum);
}

std::uint16_t fast_sum(std::span<const std::byte> data) {
  wire::internet_sum sum;
  sum.add(data);
  return sum.folded();
}

}  // namespace

TEST_CASE("checksum_of_the_rfc_1071_example") {
  auto data = raw({0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7});
  CHECK(fast_sum(data) == 0xddf2);
  CHECK(wire::checksum_of(data) == 0x220d);
}

TEST_CASE("checksum_agrees_with_the_slow_sum_at_every_length_and_alignment") {
  std::mt19937_64 random(1);
  auto data = random_bytes(random, 512);
  for (std::size_t start = 0; start < 9; ++start)
    for (std::size_t n = 0; n + start <= 300; ++n) {
      auto part = std::span(data).subspan(start, n);
      REQUIRE(fast_sum(part) == slow_sum(part));
    }
}

TEST_CASE("checksum_carries_survive_64_kib_of_ones") {
  for (std::size_t n : {65534u, 65535u, 65536u, 131072u}) {
    bytes ones(n, std::byte{0xff});
    REQUIRE(fast_sum(ones) == slow_sum(ones));
  }
}

TEST_CASE("checksum_over_parts_is_the_checksum_of_the_whole_wherever_it_is_cut") {
  std::mt19937_64 random(2);
  auto data = random_bytes(random, 67);
  auto whole = fast_sum(data);
  for (std::size_t a = 0; a <= data.size(); ++a)
    for (std::size_t b = a; b <= data.size(); ++b) {
      wire::internet_sum sum;
      sum.add(std::span(data).first(a));
      sum.add(std::span(data).subspan(a, b - a));
      sum.add(std::span(data).subspan(b));
      REQUIRE(sum.folded() == whole);
    }
}

TEST_CASE("checksum_in_place_makes_the_sum_zero_and_every_flipped_bit_shows") {
  std::mt19937_64 random(3);
  auto data = random_bytes(random, 61);
  wire::put16(data.data() + 10, 0);
  wire::put16(data.data() + 10, wire::checksum_of(data));
  CHECK(wire::checksum_of(data) == 0);
  for (std::size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] ^= std::byte(1u << bit % 8);
    REQUIRE(wire::checksum_of(data) != 0);
    data[bit / 8] ^= std::byte(1u << bit % 8);
  }
}

TEST_CASE("checksum_pseudo_header_is_the_sum_of_its_bytes_in_both_families") {
  auto v4 = raw({198, 18, 0, 1, 198, 18, 0, 2, 0, 6, 0x12, 0x34});
  wire::internet_sum sum4;
  sum4.add_pseudo(addr("198.18.0.1"), addr("198.18.0.2"), 6, 0x1234);
  CHECK(sum4.folded() == slow_sum(v4));
  auto from = addr("2001:db8::1"), to = addr("fe80::ffee");
  bytes v6;
  for (auto b : from.bytes()) v6.push_back(std::byte{b});
  for (auto b : to.bytes()) v6.push_back(std::byte{b});
  v6 = v6 + raw({0, 1, 0x11, 0x22, 0, 0, 0, 58});
  wire::internet_sum sum6;
  sum6.add_pseudo(from, to, 58, 0x11122);
  CHECK(sum6.folded() == slow_sum(v6));
}

TEST_CASE("checksum_left_to_a_device_comes_out_as_the_full_one") {
  // The device sums from checksum_start on, the field with the pseudo-header sum included.
  wire::tcp_segment s;
  s.source = addr("198.18.0.1"), s.destination = addr("198.18.0.2");
  s.source_port = 7, s.sequence = 99;
  auto payload = pattern(33);
  auto full = tcp_bytes(s, payload);
  auto expected = wire::get16(full.data() + 16);
  wire::internet_sum pseudo;
  pseudo.add_pseudo(s.source, s.destination, 6, static_cast<std::uint32_t>(full.size()));
  wire::put16(full.data() + 16, pseudo.folded());
  CHECK(wire::checksum_of(full) == expected);
}

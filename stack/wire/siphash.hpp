// SipHash-2-4 (Aumasson and Bernstein, 2012): the keyed hash behind everything that must not be guessed from outside:
// IP identifications, ISNs (RFC 6528), ports (RFC 6056), table slots. Takes numbers or bytes; keeps nothing.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace weir::stack::wire {

struct siphash_key {
  std::uint64_t k0 = 0, k1 = 0;

  /// Key number `n` out of a 32-byte secret: distinct uses take distinct numbers, so that none tells of another.
  static siphash_key from(const std::array<std::uint8_t, 32>& secret, std::uint64_t n);
};

namespace detail {

struct sip_state {
  std::uint64_t v0, v1, v2, v3;

  explicit sip_state(const siphash_key& key)
      : v0(key.k0 ^ 0x736f6d6570736575ull), v1(key.k1 ^ 0x646f72616e646f6dull),
        v2(key.k0 ^ 0x6c7967656e657261ull), v3(key.k1 ^ 0x7465646279746573ull) {}

  void round() {
    v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
  }
  void word(std::uint64_t m) {
    v3 ^= m;
    round(), round();
    v0 ^= m;
  }
  std::uint64_t finish() {
    v2 ^= 0xff;
    round(), round(), round(), round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

inline std::uint64_t load_little(const std::uint8_t* at, std::size_t n) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < n; ++i) v |= std::uint64_t{at[i]} << (8 * i);
  return v;
}

}  // namespace detail

inline std::uint64_t siphash(const siphash_key& key, std::span<const std::uint8_t> bytes) {
  detail::sip_state state(key);
  std::size_t at = 0;
  for (; bytes.size() - at >= 8; at += 8) state.word(detail::load_little(bytes.data() + at, 8));
  state.word(detail::load_little(bytes.data() + at, bytes.size() - at) |
             std::uint64_t{bytes.size() & 0xff} << 56);
  return state.finish();
}

inline siphash_key siphash_key::from(const std::array<std::uint8_t, 32>& secret, std::uint64_t n) {
  // The secret's first half keys the derivation, its second half is input together with the number.
  siphash_key base{detail::load_little(secret.data(), 8), detail::load_little(secret.data() + 8, 8)};
  std::array<std::uint8_t, 25> input{};
  std::memcpy(input.data(), secret.data() + 16, 16);
  for (std::size_t i = 0; i < 8; ++i) input[16 + i] = static_cast<std::uint8_t>(n >> (8 * i));
  siphash_key out;
  out.k0 = siphash(base, input);
  input[24] = 1;
  out.k1 = siphash(base, input);
  return out;
}

}  // namespace weir::stack::wire

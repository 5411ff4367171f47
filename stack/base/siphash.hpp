// SipHash (Aumasson, Bernstein 2012), the keyed hash behind ISNs, SYN cookies, ephemeral ports and
// hash tables: nobody who lacks the key can compute or steer it (RFC 6528 3, RFC 6056 3.3). 2-4
// where the output is seen on the wire, 1-3 for tables.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace weir::stack {

struct siphash_key {
  std::uint64_t k0 = 0, k1 = 0;
};

namespace detail {

struct sip_state {
  std::uint64_t v0, v1, v2, v3;

  explicit constexpr sip_state(siphash_key key)
      : v0(key.k0 ^ 0x736f6d6570736575ull),
        v1(key.k1 ^ 0x646f72616e646f6dull),
        v2(key.k0 ^ 0x6c7967656e657261ull),
        v3(key.k1 ^ 0x7465646279746573ull) {}

  constexpr void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13);
    v1 ^= v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16);
    v3 ^= v2;
    v0 += v3;
    v3 = std::rotl(v3, 21);
    v3 ^= v0;
    v2 += v1;
    v1 = std::rotl(v1, 17);
    v1 ^= v2;
    v2 = std::rotl(v2, 32);
  }
  template <int Rounds>
  constexpr void absorb(std::uint64_t m) {
    v3 ^= m;
    for (int i = 0; i < Rounds; ++i) round();
    v0 ^= m;
  }
  template <int Rounds>
  constexpr std::uint64_t finish() {
    v2 ^= 0xff;
    for (int i = 0; i < Rounds; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace detail

template <int C, int D>
std::uint64_t siphash(siphash_key key, std::span<const std::byte> bytes) {
  detail::sip_state s(key);
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t m = 0;
    for (std::size_t b = 0; b < 8; ++b)
      m |= std::to_integer<std::uint64_t>(bytes[i + b]) << (8 * b);
    s.absorb<C>(m);
  }
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  for (std::size_t b = 0; i + b < bytes.size(); ++b)
    last |= std::to_integer<std::uint64_t>(bytes[i + b]) << (8 * b);
  s.absorb<C>(last);
  return s.finish<D>();
}

/// Hash of a few machine words (host order: never sent, never stored across machines).
template <int C, int D, std::size_t N>
std::uint64_t siphash_words(siphash_key key, const std::uint64_t (&words)[N]) {
  detail::sip_state s(key);
  for (auto w : words) s.absorb<C>(w);
  s.absorb<C>(static_cast<std::uint64_t>(N * 8) << 56);
  return s.finish<D>();
}

/// Key number `index` (0 or 1 and what is derived from them) of a host's 32 bytes of secret.
inline siphash_key derive_key(std::span<const std::uint8_t> secret, std::uint64_t purpose) {
  siphash_key low, high;
  std::memcpy(&low, secret.data(), sizeof low);
  std::memcpy(&high, secret.data() + sizeof low, sizeof high);
  const std::uint64_t first[] = {purpose, high.k0, high.k1, 0};
  const std::uint64_t second[] = {purpose, high.k0, high.k1, 1};
  return {siphash_words<2, 4>(low, first), siphash_words<2, 4>(low, second)};
}

}  // namespace weir::stack

// The inner loop of the internet checksum: see checksum.hpp.
#include "stack/wire/checksum.hpp"

#include <bit>
#include <cstring>

namespace weir::stack::wire {
namespace {

std::uint64_t load64(const std::byte* at) {
  std::uint64_t v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  a += b;
  return a + (a < b ? 1 : 0);
}

// Four chains, so that the additions of one do not wait for the carries of another.
std::uint64_t sum_bytes(const std::byte* at, std::size_t n) {
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
  for (; n >= 32; at += 32, n -= 32) {
    a = plus(a, load64(at));
    b = plus(b, load64(at + 8));
    c = plus(c, load64(at + 16));
    d = plus(d, load64(at + 24));
  }
  a = plus(plus(a, b), plus(c, d));
  for (; n >= 8; at += 8, n -= 8) a = plus(a, load64(at));
  if (n > 0) {
    // A short tail is padded with zeros behind it, which is what an odd last byte asks for too.
    std::uint64_t tail = 0;
    std::memcpy(&tail, at, n);
    a = plus(a, tail);
  }
  return a;
}

}  // namespace

void internet_sum::add(std::span<const std::byte> part) {
  if (part.empty()) return;
  auto sum = sum_bytes(part.data(), part.size());
  // From an odd position every byte stands in the other half of its word: RFC 1071 2B.
  add64(odd_ ? swap16(fold_sum(sum)) : sum);
  odd_ ^= (part.size() & 1) != 0;
}

void internet_sum::add16(std::uint16_t value) { add64(net16(value)); }

void internet_sum::add_addresses(const ip_address& source, const ip_address& destination) {
  auto from = source.bytes(), to = destination.bytes();
  add64(sum_bytes(reinterpret_cast<const std::byte*>(from.data()), from.size()));
  add64(sum_bytes(reinterpret_cast<const std::byte*>(to.data()), to.size()));
}

}  // namespace weir::stack::wire

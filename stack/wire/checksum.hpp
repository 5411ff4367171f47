// The internet checksum (RFC 1071), eight bytes at a time over parts of any length, with the pseudo
// headers of IPv4 (RFC 9293 3.1) and IPv6 (RFC 8200 8.1). Sums are kept in memory byte order and
// turned round once, at the end (RFC 1071 2B); nothing here allocates or fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "stack/wire/bytes.hpp"
#include "weir/stack/address.hpp"

namespace weir::stack::wire {

/// Folds a sum of up to 2^32 words of 32 bits to 16 bits, in memory order as they were read.
constexpr std::uint16_t fold_sum(std::uint64_t sum) {
  sum = (sum >> 32) + (sum & 0xffffffffu);
  sum = (sum >> 32) + (sum & 0xffffffffu);
  sum = (sum >> 16) + (sum & 0xffffu);
  sum = (sum >> 16) + (sum & 0xffffu);
  return static_cast<std::uint16_t>((sum >> 16) + (sum & 0xffffu));
}

/// The checksum of the 20 bytes of an IPv4 header without options, which every packet has: five
/// words, no loop.
inline std::uint16_t checksum_of_20(const std::byte* at) {
  std::uint32_t words[5];
  std::memcpy(words, at, sizeof words);
  std::uint64_t sum = words[0];
  for (int i = 1; i < 5; ++i) sum += words[i];
  return static_cast<std::uint16_t>(~net16(fold_sum(sum)));
}

/// A running ones'-complement sum. Parts are added in the order in which they stand in the packet.
class internet_sum {
 public:
  void add(std::span<const std::byte> part);
  /// A 16-bit number in host order; only at an even position.
  void add16(std::uint16_t value);
  /// The pseudo header: addresses of one family, protocol, length of the transport header and data.
  void add_pseudo(const ip_address& source, const ip_address& destination, std::uint8_t protocol,
                  std::uint32_t length) {
    add64(std::uint64_t{net32(length)} + net16(protocol));
    if (!source.is_v4() || !destination.is_v4()) return add_addresses(source, destination);
    std::uint32_t from, to;
    std::memcpy(&from, source.bytes().data(), sizeof from);
    std::memcpy(&to, destination.bytes().data(), sizeof to);
    add64(std::uint64_t{from} + to);
  }

  /// The sum folded to 16 bits, in host order: what a device wants in the field when it completes
  /// the checksum.
  std::uint16_t folded() const { return net16(fold_sum(sum_)); }
  /// What goes into the header. Over a header whose checksum is in place: 0 when it is right.
  std::uint16_t checksum() const { return static_cast<std::uint16_t>(~folded()); }

 private:
  void add_addresses(const ip_address& source, const ip_address& destination);
  void add64(std::uint64_t value) {
    sum_ += value;
    sum_ += sum_ < value ? 1 : 0;
  }

  std::uint64_t sum_ = 0;  // memory order
  bool odd_ = false;       // an odd number of bytes so far: the next part's bytes change places
};

/// The checksum of one contiguous range.
inline std::uint16_t checksum_of(std::span<const std::byte> bytes) {
  internet_sum sum;
  sum.add(bytes);
  return sum.checksum();
}

}  // namespace weir::stack::wire

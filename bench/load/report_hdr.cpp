// HdrHistogram's interchange: V2 encoding (counts as ZigZag LEB128, runs of zeros as their negative
// length), deflated, in Base64, in a log of version 1.3. After the format's own description in
// HdrHistogram's sources; three significant digits, values in ns.
#include <fmt/format.h>
#if WEIR_LOAD_WITH_ZLIB
#include <zlib.h>
#endif

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "load/report.hpp"

namespace weir::load {
namespace {

constexpr std::uint32_t cookie = 0x1c849303 | 0x10;  // V2, counts of variable length
constexpr std::uint32_t compressed_cookie = 0x1c849304 | 0x10;
constexpr std::uint32_t digits = 3;
constexpr unsigned sub_bits = 11;  // 2048 parts: 2 * 10^digits, rounded up to a power of two
constexpr std::uint64_t sub_count = 1u << sub_bits;
constexpr std::uint64_t lowest = 1, largest = std::uint64_t(1) << 40;

void put_u32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}
void put_u64(std::string& out, std::uint64_t value) {
  put_u32(out, static_cast<std::uint32_t>(value >> 32));
  put_u32(out, static_cast<std::uint32_t>(value));
}

/// At most nine bytes, the last one whole.
void put_zigzag(std::string& out, std::int64_t value) {
  auto left = static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
  for (int i = 0; i < 8 && left >= 0x80; ++i, left >>= 7) out += static_cast<char>(left | 0x80);
  out += static_cast<char>(left);
}

std::size_t index_of(std::uint64_t value) {
  const auto bucket = static_cast<unsigned>(std::bit_width(value | (sub_count - 1))) - sub_bits;
  const auto sub = value >> bucket;
  // Only the first bucket has its lower half.
  return static_cast<std::size_t>((std::uint64_t(bucket) + 1) * (sub_count / 2) + sub -
                                  sub_count / 2);
}

std::string base64(const std::string& bytes) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k)
      three = three << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : letters[three >> (18 - 6 * k) & 63];
  }
  return out;
}

}  // namespace

std::string hdr_payload(const std::vector<std::pair<std::uint64_t, std::uint64_t>>& counts) {
  std::vector<std::uint64_t> slots;
  for (const auto& [value, count] : counts) {
    const auto at = index_of(std::clamp(value, lowest, largest));
    if (slots.size() <= at) slots.resize(at + 1);
    slots[at] += count;
  }
  std::string body;
  for (std::size_t i = 0; i < slots.size();) {
    std::int64_t zeros = 0;
    while (i < slots.size() && slots[i] == 0) ++zeros, ++i;
    if (zeros > 0)
      put_zigzag(body, -zeros);
    else
      put_zigzag(body, static_cast<std::int64_t>(slots[i++]));
  }
  std::string plain;
  put_u32(plain, cookie);
  put_u32(plain, static_cast<std::uint32_t>(body.size()));
  put_u32(plain, 0);  // normalizing offset
  put_u32(plain, digits);
  put_u64(plain, lowest);
  put_u64(plain, largest);
  put_u64(plain, std::bit_cast<std::uint64_t>(1.0));  // integer to double
  plain += body;
#if WEIR_LOAD_WITH_ZLIB
  std::string packed(::compressBound(static_cast<uLong>(plain.size())), '\0');
  auto size = static_cast<uLongf>(packed.size());
  if (::compress(reinterpret_cast<Bytef*>(packed.data()), &size,
                 reinterpret_cast<const Bytef*>(plain.data()),
                 static_cast<uLong>(plain.size())) != Z_OK)
    throw std::runtime_error("zlib cannot compress a histogram");
  packed.resize(size);
#else
  std::string packed;
  throw std::invalid_argument("--hdr was not built in: it needs zlib1g-dev");
#endif
  std::string out;
  put_u32(out, compressed_cookie);
  put_u32(out, static_cast<std::uint32_t>(packed.size()));
  return base64(out + packed);
}

std::string hdr_log_of(const std::vector<series>& all, double begun_s) {
  std::string out = fmt::format(
      "#[Histogram log format version 1.3]\n#[StartTime: {:.3f} (seconds since epoch)]\n"
      "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
      begun_s);
  double at = 0;
  std::size_t most = 0;
  for (const auto& one : all) most = std::max(most, one.rounds.size());
  for (std::size_t round = 0; round < most; ++round)
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (round >= all[i].rounds.size() || !all[i].judged[round].good()) continue;
      for (const auto& one : all[i].rounds[round].slices) {
        const double longest =
            one.latencies.empty() ? 0 : static_cast<double>(one.latencies.back().first);
        const auto tag = all.size() == 1 ? "" : fmt::format("Tag=target{},", i + 1);
        out += fmt::format("{}{:.3f},{:.3f},{:.3f},{}\n", tag, at + one.begin_s, one.seconds,
                           longest / 1e6, hdr_payload(one.latencies));
      }
      at += all[i].rounds[round].seconds;
    }
  return out;
}

}  // namespace weir::load

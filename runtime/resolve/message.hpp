// DNS messages (RFC 1035): a question into bytes, bytes into an answer to that question. ldns reads
// and writes them; what is believed is decided here. No I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weir/resolve.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir::detail {

enum class record_type : std::uint16_t { a = 1, ptr = 12, aaaa = 28, srv = 33 };

struct question {
  std::string name;  ///< as host_name() gives it
  record_type type;
  bool operator==(const question&) const = default;
};

inline constexpr std::size_t longest_name = 253;  // RFC 1035 3.1, as text
/// The name in lower case and without a dot at its end; empty for what is none: labels of 1 to 63
/// letters, digits, '-' and '_', 253 characters in all. Nothing else is asked for or believed, so
/// that no name can carry anything into a log, a file or a command.
std::string host_name(std::string_view text);
/// "1.2.0.192.in-addr.arpa" (RFC 1035 3.5, RFC 3596 2.5).
std::string reverse_name(const ip_address& address);

/// What is known of a question.
struct answer {
  std::error_code error;  ///< nothing, name_error::not_found or name_error::no_data
  std::vector<ip_address> addresses;
  std::vector<service_record> services;
  std::vector<std::string> names;
  duration lifetime{};  ///< how long it may be kept; 0: not at all
};

/// Records of one answer that are taken; the rest is left.
inline constexpr std::size_t max_records = 64;
/// Aliases (CNAME) that are followed within one answer.
inline constexpr int max_aliases = 16;
inline constexpr duration longest_lifetime = std::chrono::hours(24);
/// RFC 2308 5: one to three hours have been found to work well.
inline constexpr duration longest_negative_lifetime = std::chrono::hours(1);

/// The message that asks.
std::vector<std::byte> encode_query(const question& q, std::uint16_t id);

enum class verdict : std::uint8_t {
  foreign,    ///< no answer to this query, or none that can be read: as if it had not come
  truncated,  ///< the whole answer comes over TCP
  failed,     ///< the server cannot tell
  answered,
};
/// `query` is what encode_query() gave.
verdict read_answer(std::span<const std::byte> message, std::span<const std::byte> query,
                    const question& q, answer& into);

/// The addresses that an answer gives to the one name that it is about, for whoever only passes it
/// on. Nothing: no answer, or none with addresses.
struct passed_answer {
  std::string name;
  answer said;
};
std::optional<passed_answer> read_passed_answer(std::span<const std::byte> message);

}  // namespace weir::detail

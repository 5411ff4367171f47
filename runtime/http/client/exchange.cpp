// What an exchange in either version does alike (exchange.hpp).
#include "runtime/http/client/exchange.hpp"

#include <algorithm>
#include <stdexcept>

#include "runtime/http/coding/coding.hpp"
#include "weir/error.hpp"

namespace weir::http::detail {
namespace {

constexpr std::size_t most_dropped = 64 * 1024;

}  // namespace

/// RFC 9110 9.2.2.
bool is_idempotent(method what) {
  return what != method::post && what != method::patch && what != method::connect &&
         what != method::other;
}

void take_from(std::optional<std::uint64_t>& left, std::size_t bytes) {
  if (!left) return;
  if (bytes > *left) throw std::logic_error("a request's body is longer than was said");
  *left -= bytes;
}

void check_all_written(const std::optional<std::uint64_t>& left) {
  if (left.value_or(0) != 0) throw std::logic_error("a request's body is shorter than was said");
}

std::error_code first_failure(std::error_code sent, std::error_code read) {
  const bool only_cancelled = sent == std::errc::operation_canceled && read;
  return sent && !only_cancelled ? sent : read;
}

bool names_a_user(std::string_view field) {
  return equals_ignoring_case(field, "authorization") || equals_ignoring_case(field, "cookie") ||
         equals_ignoring_case(field, "proxy-authorization");
}

bool asks_for_codings(const client_settings& how, const client_request& asked) {
  if (!how.decode || known_codings().empty()) return false;
  return std::ranges::none_of(asked.fields(), [](const auto& one) {
    return equals_ignoring_case(one.first, "accept-encoding") ||
           equals_ignoring_case(one.first, "range");
  });
}

task<> exchange::drop_body() {
  std::size_t dropped = 0;
  try {
    while (dropped < most_dropped) {
      const auto piece = co_await body().read();
      if (piece.empty()) break;
      dropped += piece.size();
    }
  } catch (const io_error& failure) {
    if (failure.code() == std::errc::operation_canceled) throw;
  }
}

}  // namespace weir::http::detail

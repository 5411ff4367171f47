// permessage-deflate (RFC 7692) on zlib: what both sides agree to, and one message at a time. No
// context is taken over from one message to the next, on either side, so that a connection that
// says nothing keeps no window.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weir::http::detail {

/// The server's answer to a client's Sec-WebSocket-Extensions; empty: none of its offers is taken.
std::string accept_deflate(std::string_view offers);
/// What a client offers, and whether the answer is one that it can follow: "" is no extension.
constexpr std::string_view deflate_offer =
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
enum class agreed : unsigned char { plain, deflate, breach };
agreed read_deflate_answer(std::string_view answer);

std::string deflate(std::string_view message);
/// Nothing for what is no deflated message, or one that is longer than `most` bytes, which
/// `too_long` tells.
std::optional<std::string> inflate(std::string_view message, std::size_t most, bool& too_long);

bool is_utf8(std::string_view text);

}  // namespace weir::http::detail

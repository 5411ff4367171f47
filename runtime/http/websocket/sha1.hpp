// SHA-1 and Base64, for the handshake of WebSocket and nothing else: it proves that a server has
// read the key, not that anybody is who he says (RFC 6455 10.7, 1.3).
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace weir::http::detail {

std::array<std::byte, 20> sha1(std::string_view text);
std::string base64(std::span<const std::byte> bytes);
/// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

}  // namespace weir::http::detail

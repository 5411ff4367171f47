// The answer's head is read byte by byte: behind it is the connection, of which nothing may be
// taken here.
#include "runtime/tools/gate/http_connect.hpp"

#include <array>
#include <charconv>
#include <string>
#include <string_view>

namespace weir::gate {
namespace {

constexpr std::size_t longest_head = 8192;

std::string base64(std::string_view text) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k > text.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

std::string request_for(const credentials& who, const endpoint& to) {
  const auto where = to.to_string();
  auto out = "CONNECT " + where + " HTTP/1.1\r\nHost: " + where + "\r\n";
  if (!who.user.empty())
    out += "Proxy-Authorization: Basic " + base64(who.user + ":" + who.password) + "\r\n";
  return out + "\r\n";
}

/// Of the first line; 0: it is none.
int status_in(std::string_view head) {
  if (!head.starts_with("HTTP/1.") || head.size() < 12 || head[8] != ' ') return 0;
  int out = 0;
  const auto [end, error] = std::from_chars(head.data() + 9, head.data() + 12, out);
  return error == std::errc() && end == head.data() + 12 ? out : 0;
}

std::error_code meaning_of(int status) {
  switch (status) {
    case 0: return std::make_error_code(std::errc::protocol_error);
    case 403:
    case 407: return std::make_error_code(std::errc::permission_denied);
    case 502:
    case 503: return std::make_error_code(std::errc::host_unreachable);
    case 504: return std::make_error_code(std::errc::timed_out);
    default: return std::make_error_code(std::errc::connection_refused);
  }
}

}  // namespace

task<std::error_code> http_connect(any_stream& proxy, const credentials& who, const endpoint& to) {
  const auto asked = request_for(who, to);
  auto wrote = co_await proxy.write_all(asked).nothrow();
  if (wrote.ec) co_return wrote.ec;
  std::string head;
  for (int status = 0;;) {
    std::array<std::byte, 1> byte{};
    auto read = co_await proxy.read_exactly(byte).nothrow();
    if (read.ec)
      co_return read.ec == error::end_of_stream ? std::make_error_code(std::errc::connection_reset)
                                                : read.ec;
    head += static_cast<char>(byte[0]);
    if (head.size() > longest_head) co_return std::make_error_code(std::errc::protocol_error);
    if (!head.ends_with("\r\n\r\n")) continue;
    status = status_in(head);
    if (status >= 200 && status < 300) co_return std::error_code();
    if (status < 100 || status >= 200) co_return meaning_of(status);
    head.clear();  // an interim answer (RFC 9110 15.2): the real one follows
  }
}

}  // namespace weir::gate

// permessage-deflate (deflate.hpp).
#include "runtime/http/websocket/deflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "weir/http/message.hpp"

namespace weir::http::detail {
namespace {

constexpr std::string_view tail("\0\0\xff\xff", 4);  // RFC 7692 7.2.1: every message ends so

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string_view take_until(std::string_view& text, char end) {
  const auto at = text.find(end);
  const auto out = trimmed(text.substr(0, at));
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return out;
}

/// 8 to 15, without leading zeros (RFC 7692 7.1.2.1).
bool is_window(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  return value == "8" || value == "9" ||
         (value.size() == 2 && value[0] == '1' && value[1] <= '5' && value[1] >= '0');
}

/// The parameters of one offer or answer: what they ask for. Nothing: malformed or unknown.
struct parameters {
  bool client_forgets = false, server_forgets = false, client_window = false;
  std::string_view server_window;
};
std::optional<parameters> read_parameters(std::string_view text, bool of_offer) {
  parameters out;
  while (!text.empty()) {
    auto one = take_until(text, ';');
    const bool has_value = one.find('=') != std::string_view::npos;
    const auto name = take_until(one, '=');
    const auto value = trimmed(one);
    const auto flag = [&](bool& into) { return !has_value && !std::exchange(into, true); };
    if (name == "client_no_context_takeover") {
      if (!flag(out.client_forgets)) return std::nullopt;
    } else if (name == "server_no_context_takeover") {
      if (!flag(out.server_forgets)) return std::nullopt;
    } else if (name == "client_max_window_bits") {
      if (std::exchange(out.client_window, true)) return std::nullopt;
      if (has_value ? !is_window(value) : !of_offer) return std::nullopt;
    } else if (name == "server_max_window_bits") {
      if (!out.server_window.empty() || !is_window(value)) return std::nullopt;
      out.server_window = value;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace

std::string accept_deflate(std::string_view offers) {
  while (!offers.empty()) {
    auto one = take_until(offers, ',');
    if (take_until(one, ';') != "permessage-deflate") continue;
    const auto asked = read_parameters(one, true);
    // A smaller window for us would take a compressor of that size: such an offer is left.
    if (!asked || !(asked->server_window.empty() || asked->server_window == "15")) continue;
    std::string out = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    if (!asked->server_window.empty()) out += "; server_max_window_bits=15";
    return out;
  }
  return {};
}

agreed read_deflate_answer(std::string_view answer) {
  answer = trimmed(answer);
  if (answer.empty()) return agreed::plain;
  if (answer.find(',') != std::string_view::npos) return agreed::breach;
  if (take_until(answer, ';') != "permessage-deflate") return agreed::breach;
  const auto got = read_parameters(answer, false);
  // The client's window was not offered to be smaller, and the server was asked to forget.
  if (!got || got->client_window || !got->server_forgets) return agreed::breach;
  return agreed::deflate;
}

std::string deflate(std::string_view message) {
  z_stream z{};
  if (::deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
  std::string out(::deflateBound(&z, message.size()) + 16, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(message.data()));
  z.avail_in = static_cast<uInt>(message.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  ::deflate(&z, Z_SYNC_FLUSH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  if (std::string_view(out).ends_with(tail)) out.resize(out.size() - tail.size());
  return out;
}

std::optional<std::string> inflate(std::string_view message, std::size_t most, bool& too_long) {
  z_stream z{};
  if (::inflateInit2(&z, -15) != Z_OK) throw std::bad_alloc();
  std::string out;
  std::array<char, 16 * 1024> block;
  too_long = false;
  bool bad = false;
  for (const auto part : {message, tail}) {
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
    z.avail_in = static_cast<uInt>(part.size());
    while (!bad && !too_long && (z.avail_in != 0 || z.avail_out == 0)) {
      z.next_out = reinterpret_cast<Bytef*>(block.data());
      z.avail_out = static_cast<uInt>(block.size());
      const int result = ::inflate(&z, Z_SYNC_FLUSH);
      const auto n = block.size() - z.avail_out;
      too_long = n > most - out.size();
      if (!too_long) out.append(block.data(), n);
      // RFC 7692 7.2.3.5: a final block may come, and another after it.
      if (result == Z_STREAM_END)
        bad = ::inflateReset(&z) != Z_OK;
      else
        bad = result != Z_OK && !(result == Z_BUF_ERROR && z.avail_in == 0);
      if (n == 0 && z.avail_in == 0) break;
    }
  }
  ::inflateEnd(&z);
  if (bad || too_long) return std::nullopt;
  return out;
}

bool is_utf8(std::string_view text) {  // RFC 3629
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      ++i;
      continue;
    }
    const std::size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || text.size() - i <= more) return false;
    auto least = static_cast<unsigned char>(0x80), most = static_cast<unsigned char>(0xbf);
    if (c == 0xe0) least = 0xa0;  // overlong
    if (c == 0xed) most = 0x9f;   // surrogates
    if (c == 0xf0) least = 0x90;
    if (c == 0xf4) most = 0x8f;
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next < least || next > most) return false;
      least = 0x80;
      most = 0xbf;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace weir::http::detail

// WebSocket: how HTTP becomes one (RFC 6455 4).
#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "runtime/http/websocket/deflate.hpp"
#include "runtime/http/websocket/sha1.hpp"
#include "runtime/http/websocket/websocket_state.hpp"
#include "runtime/http/wire/response_parser.hpp"
#include "weir/error.hpp"
#include "weir/http/websocket.hpp"

namespace weir::http {
namespace {

/// 16 bytes in Base64.
bool is_key(std::string_view key) {
  if (key.size() != 24 || !key.ends_with("==")) return false;
  return key.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") == 22;
}

/// RFC 6455 10.2: a page elsewhere would speak for whoever looks at it.
bool is_own_origin(const request& asked) {
  const auto origin = asked.field("origin");
  if (origin.empty()) return true;  // no browser
  const auto mark = origin.find("://");
  return mark != std::string_view::npos &&
         equals_ignoring_case(origin.substr(mark + 3), asked.host());
}

/// Every field of that name, as one list.
std::string joined(std::span<const field> fields, std::string_view name) {
  std::string out;
  for (const auto& f : fields)
    if (equals_ignoring_case(f.name, name)) {
      if (!out.empty()) out += ", ";
      out += f.value;
    }
  return out;
}

task<> serve(any_stream& peer, std::string early, const websocket_settings& settings, bool compress,
             const std::function<task<>(websocket&)>& session) {
  websocket made(std::make_unique<detail::websocket_state>(
      peer, detail::websocket_state::side::server, settings, compress, std::move(early)));
  co_await session(made);
  co_await made.close();
}

/// Until the head of the server's answer. Interim ones before it have no time of their own.
task<> read_head(any_stream& stream, wire::response_parser& parser, std::span<std::byte> buffer,
                 std::span<const std::byte>& unread, duration limit) {
  using outcome = wire::response_parser::outcome;
  const auto begun = stream.owner().now();
  for (;;) {
    const auto what = parser.feed(unread);
    if (what == outcome::head && !parser.head().interim()) co_return;
    if (what == outcome::head) continue;
    if (what != outcome::more)
      throw io_error(std::make_error_code(std::errc::protocol_error), "websocket");
    const auto left =
        limit == no_limit ? limit : std::max(begun + limit - stream.owner().now(), duration(0));
    const auto n = co_await stream.read_some(buffer).timeout(left);
    if (n == 0) throw io_error(make_error_code(weir::error::end_of_stream), "websocket");
    unread = buffer.first(n);
  }
}

}  // namespace

response websocket_upgrade(const request& asked, std::function<task<>(websocket&)> session,
                           const websocket_settings& settings) {
  const auto upgrade = joined(asked.fields(), "upgrade");
  if (asked.method() != method::get || asked.minor_version() < 1 ||
      !list_contains(upgrade, "websocket") ||
      !list_contains(joined(asked.fields(), "connection"), "upgrade") ||
      asked.field("sec-websocket-version") != "13") {
    auto refused = plain_status(426);
    refused.field("Upgrade", "websocket").field("Sec-WebSocket-Version", "13");
    return refused;
  }
  const auto key = asked.field("sec-websocket-key");
  if (!is_key(key)) return plain_status(400);
  if (!settings.any_origin && !is_own_origin(asked)) return plain_status(403);
  response out(101);
  out.field("Upgrade", "websocket").field("Sec-WebSocket-Accept", detail::websocket_accept(key));
  const auto extension =
      settings.compress ? detail::accept_deflate(joined(asked.fields(), "sec-websocket-extensions"))
                        : std::string();
  if (!extension.empty()) out.field("Sec-WebSocket-Extensions", extension);
  out.upgrade([settings, compress = !extension.empty(), session = std::move(session)](
                  any_stream& peer, std::string early) {
    return serve(peer, std::move(early), settings, compress, session);
  });
  return out;
}

task<websocket> open_websocket(any_stream stream, url to, const websocket_settings& settings) {
  const auto how = settings;
  std::array<std::byte, 16> nonce;
  std::random_device random;
  for (auto& b : nonce) b = static_cast<std::byte>(random());
  const auto key = detail::base64(nonce);
  auto head = fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
      to.target, to.host_field(), key);
  if (how.compress) head += fmt::format("Sec-WebSocket-Extensions: {}\r\n", detail::deflate_offer);
  head += "\r\n";
  co_await stream.write_all(head).timeout(how.write_timeout);

  wire::response_parser parser({});
  parser.expect(method::get);
  std::array<std::byte, 4096> buffer;
  std::span<const std::byte> unread;
  co_await read_head(stream, parser, buffer, unread, how.write_timeout);
  const auto fields = parser.head().fields;
  const auto* accepted = find_field(fields, "sec-websocket-accept");
  const auto extension = detail::read_deflate_answer(joined(fields, "sec-websocket-extensions"));
  if (parser.head().status != 101 || !list_contains(joined(fields, "upgrade"), "websocket") ||
      !list_contains(joined(fields, "connection"), "upgrade") || accepted == nullptr ||
      accepted->value != detail::websocket_accept(key) || extension == detail::agreed::breach ||
      (extension == detail::agreed::deflate && !how.compress) ||
      find_field(fields, "sec-websocket-protocol") != nullptr)  // RFC 6455 4.1: none was asked for
    throw io_error(std::make_error_code(std::errc::protocol_error),
                   fmt::format("websocket: the server does not switch: {}", parser.head().status));
  std::string early(reinterpret_cast<const char*>(unread.data()), unread.size());
  auto state = std::make_unique<detail::websocket_state>(
      std::move(stream), detail::websocket_state::side::client, how,
      extension == detail::agreed::deflate, std::move(early));
  co_return websocket(std::move(state));
}

}  // namespace weir::http

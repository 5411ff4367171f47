// How a client reaches an origin: through a proxy or by itself, by name where names were built in,
// and secured where the URL says https.
#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/http/client/exchange.hpp"
#include "weir/error.hpp"
#if WEIR_HTTP_WITH_TLS
#include "weir/tls.hpp"
#endif
#if WEIR_HTTP_WITH_RESOLVE
#include "weir/resolve.hpp"
#endif

namespace weir::http {
namespace {

io_error refused(std::errc why, const std::string& words) {
  return io_error(std::make_error_code(why), "http: " + words);
}

/// A way to an https server through a proxy (RFC 9110 9.3.6). Read byte by byte: what comes behind
/// the answer is no longer the proxy's.
[[maybe_unused]] task<> open_tunnel(any_stream& proxy, const url& to, std::size_t most) {
  const auto host = to.host.find(':') == std::string::npos ? to.host : "[" + to.host + "]";
  const auto head = fmt::format("CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n\r\n", host, to.port);
  co_await proxy.write_all(head);
  wire::response_parser parser({.head = most});
  parser.expect(method::connect);
  std::array<std::byte, 1> one;
  for (;;) {
    auto n = co_await proxy.read_some(one);
    if (n == 0) throw io_error(make_error_code(error::end_of_stream), "http: the proxy");
    std::span<const std::byte> byte(one);
    const auto what = parser.feed(byte);
    if (what == wire::response_parser::outcome::more) continue;
    if (what != wire::response_parser::outcome::head)
      throw refused(std::errc::protocol_error, "the proxy's answer");
    const int status = parser.head().status;
    if (parser.head().interim()) continue;
    if (status / 100 == 2) co_return;
    throw refused(std::errc::connection_refused,
                  fmt::format("the proxy answered {} {}", status, reason_phrase(status)));
  }
}

}  // namespace

namespace detail {

bool can_secure() {
#if WEIR_HTTP_WITH_TLS
  return true;
#else
  return false;
#endif
}

task<any_stream> connect_to_host(shard& owner, const url& to) {
  if (const auto address = ip_address::parse(to.host)) {
    any_stream stream = co_await owner.connect({*address, to.port});
    co_return stream;
  }
#if WEIR_HTTP_WITH_RESOLVE
  any_stream stream = co_await weir::connect(to.host, to.port);
  co_return stream;
#else
  if (to.host == "localhost") {  // RFC 6761 6.3, as names have it
    auto first = co_await owner.connect({ip_address::loopback_v6(), to.port}).nothrow();
    if (first) co_return any_stream(std::move(*first));
    any_stream second = co_await owner.connect({ip_address::loopback_v4(), to.port});
    co_return second;
  }
  throw refused(std::errc::address_not_available,
                to.host + " is no address, and the client was given no resolver");
#endif
}

}  // namespace detail

#if WEIR_HTTP_WITH_TLS

/// Made when it is first needed: reading whom the system trusts takes its time.
tls::client_context& client::state::trusted() {
  if (trust == nullptr) {
    own_trust = std::make_shared<tls::client_context>(owner.settings().tls);
    trust = own_trust.get();
  }
  return *trust;
}

task<detail::reached> client::state::secure(any_stream plain, const url& to, bool h2) {
  auto& context = trusted();
  tls::tls_stream secured = co_await tls::connect(
      std::move(plain), context, {.name = to.host, .alpn = h2 ? "h2,http/1.1" : "http/1.1"});
  detail::reached out;
  out.h2 = secured.alpn() == "h2";
  out.stream = std::move(secured);
  co_return out;
}

#else

task<detail::reached> client::state::secure(any_stream, const url& to, bool) {
  throw refused(std::errc::operation_not_supported, to.origin() + ": built without TLS");
  co_return detail::reached();
}

#endif

task<detail::reached> client::state::reach(const url& to, bool h2) {
  detail::reached out;
  if (settings.proxy)
    out.stream = co_await owner.connect(*settings.proxy);
  else
    out.stream = co_await connect(owner, to);
  out.h2 = h2;
  if (to.scheme != "https") co_return out;
  if (settings.proxy) co_await open_tunnel(out.stream, to, settings.max_head);
  auto secured = co_await secure(std::move(out.stream), to, h2);
  co_return secured;
}

}  // namespace weir::http

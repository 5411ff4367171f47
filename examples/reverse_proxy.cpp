// reverse_proxy: takes requests, behind TLS too, and passes them on to another server, bodies in
// both directions as they come. What concerns one connection alone stays on it (RFC 9110 7.6.1).
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <weir/http.hpp>
#include <weir/tls.hpp>
#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

namespace http = weir::http;

struct program {
  std::vector<examples::offer> offers;
  std::string to;
  http::client_settings client{.max_redirects = 0, .max_connections_per_origin = 64};
};

/// Whether a field goes on to the other side, given what Connection names besides.
bool goes_on(std::string_view name, std::string_view named) {
  static constexpr std::array<std::string_view, 14> own = {"connection",
                                                           "keep-alive",
                                                           "proxy-connection",
                                                           "te",
                                                           "trailer",
                                                           "upgrade",
                                                           "transfer-encoding",
                                                           "host",
                                                           "content-length",
                                                           "date",
                                                           "server",
                                                           "expect",
                                                           "proxy-authenticate",
                                                           "proxy-authorization"};
  return !http::list_contains(named, name) && std::none_of(own.begin(), own.end(), [&](auto o) {
    return http::equals_ignoring_case(o, name);
  });
}

std::optional<std::uint64_t> length_of(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return std::strtoull(std::string(text).c_str(), nullptr, 10);
}

weir::task<> copy(http::body_reader from, http::body_writer& to) {
  for (;;) {
    auto piece = co_await from.read();
    if (piece.empty()) break;
    co_await to.write(piece);
  }
}

http::client_request request_to(const std::string& base, http::request& asked) {
  http::client_request out(asked.method(), base + std::string(asked.target()));
  for (const auto& f : asked.fields())
    if (goes_on(f.name, asked.field("connection"))) out.field(f.name, f.value);
  out.field("X-Forwarded-For", asked.remote().address.to_string());
  const auto length = length_of(asked.field("content-length"));
  const bool may_stream = asked.major_version() == 2 && asked.method() > http::method::head;
  if (length || may_stream || asked.has_field("transfer-encoding"))
    out.body([&asked](http::body_writer& to) { return copy(asked.body(), to); }, length);
  return out;
}

/// Keeps the other server's answer until its body has been passed on.
http::response response_from(http::client_answer answer, http::method asked) {
  const auto got = std::make_shared<http::client_answer>(std::move(answer));
  http::response out(got->status());
  for (const auto& f : got->fields())
    if (goes_on(f.name, got->field("connection"))) out.field(f.name, f.value);
  const auto length = length_of(got->field("content-length"));
  if (asked == http::method::head && !length) return out;
  out.body([got](http::body_writer& to) { return copy(got->body(), to); }, length);
  return out;
}

weir::task<http::response> forward(http::client& web, const std::string& base,
                                   http::request& asked) {
  if (!asked.path().starts_with('/') || asked.method() == http::method::other)
    co_return http::plain_status(501);
  auto out = request_to(base, asked);
  int status = 502;
  try {
    auto answer = co_await web.send(out);
    co_return response_from(std::move(answer), asked.method());
  } catch (const weir::io_error& failure) {
    if (failure.code() == std::errc::operation_canceled) throw;
    if (failure.code() == std::errc::timed_out) status = 504;
  }
  co_return http::plain_status(status);
}

weir::task<> serve(weir::shard& shard, const program& wanted, examples::announcement& announce) {
  http::client web(shard, wanted.client);  // redirects are for whoever asked
  auto base = wanted.to;
  while (base.ends_with('/')) base.pop_back();
  std::vector<weir::tcp_listener> plain, secured;
  auto offers = wanted.offers;
  for (auto& one : offers) {
    auto& those = one.service == "https" ? secured : plain;
    those.push_back(examples::listen_for(shard, one));
    one.where = those.back().local_endpoint();
  }
  announce.shard_listens(shard, offers);
  auto settings = http::settings_from(shard.settings().http);
  settings.max_body = UINT64_MAX;  // nothing is collected here
  http::server server(
      shard, [&](http::request& asked) { return forward(web, base, asked); }, settings);
#if REVERSE_PROXY_TLS
  if (!secured.empty()) {
    weir::tls::server_context ours(shard.settings().tls);
    co_await weir::when_all(server.run(plain), server.run(secured, ours));
    co_return;
  }
#endif
  co_await server.run(plain);
}

}  // namespace

int main(int argc, char** argv) {
  program wanted;
  weir::config_parser parser("reverse_proxy", "Passes HTTP requests to another server.");
  parser.repeated(
      "--http.listen,--http", "ADDR:PORT", "serve here; any number of times",
      [&](std::string_view text) { return examples::add_offer(wanted.offers, "http", text); });
#if REVERSE_PROXY_TLS
  parser.repeated(
      "--https.listen,--https", "ADDR:PORT", "the same behind TLS: see --tls.certificate",
      [&](std::string_view text) { return examples::add_offer(wanted.offers, "https", text); });
#endif
  parser.value("--to", "URL", "http:// or https://HOST:PORT of the server", wanted.to);
  http::add_client_keys(parser, wanted.client);
  const auto settings = parser.parse_or_exit(argc, argv);
  if (wanted.offers.empty() || !http::url::parse(wanted.to)) {
    fmt::print(stderr, "reverse_proxy: give --http ADDR:PORT and --to URL\n\n{}", parser.help());
    return 2;
  }
  examples::announcement announce("reverse_proxy");
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, wanted, announce); });
}

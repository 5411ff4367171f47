// http_server: HTTP/1.1 with keep-alive and pipelining on whichever back end the configuration
// names. It answers /plaintext and /json, and serves the files of one folder when it is given one.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <weir/weir.hpp>

#include "common/listening.hpp"
#include "common/options.hpp"
#include "http_server/session.hpp"

namespace {

struct program {
  std::vector<examples::offer> offers;
  http::settings http;
  std::uint64_t max_connections = 100'000;
  weir::duration drain = std::chrono::seconds(5);
};

weir::task<> accept_loop(weir::tcp_listener& listener, http::site& site, weir::scope& sessions) {
  while (auto peer = co_await listener.accept())
    sessions.spawn(http::session(std::move(*peer), site));
  listener.close();
}

weir::task<> serve(weir::shard& shard, const program& wanted, examples::announcement& announce) {
  std::vector<weir::tcp_listener> listeners;
  auto offers = wanted.offers;
  for (auto& one : offers) {
    listeners.push_back(examples::listen_for(shard, one));
    one.where = listeners.back().local_endpoint();
  }
  announce.shard_listens(shard, offers);

  http::site site(wanted.http);
  weir::scope sessions(shard, {.max = wanted.max_connections});
  weir::scope acceptors(shard);
  for (auto& listener : listeners) acceptors.spawn(accept_loop(listener, site, sessions));
  co_await acceptors.join();
  co_await sessions.drain(wanted.drain);
  if (sessions.refused() != 0)
    fmt::print(stderr, "http_server: {} connections were refused (see --max-connections)\n",
               sessions.refused());
  if (site.exhausted != 0)
    fmt::print(stderr, "http_server: {} requests got 503: out of descriptors\n", site.exhausted);
}

void declare(weir::config_parser& parser, program& wanted) {
  parser.repeated("--http", "ADDR:PORT", "serve HTTP/1.1 here; any number of times",
                  [&wanted](std::string_view text) {
                    return examples::add_offer(wanted.offers, "http", text);
                  });
  parser.repeated("--root", "DIR", "serve the files of this folder [none]",
                  [&wanted](std::string_view text) -> std::string {
                    try {
                      wanted.http.files = std::make_shared<http::file_root>(std::string(text));
                      return "";
                    } catch (const std::system_error& error) {
                      return error.code().message();
                    }
                  });
  examples::number_option(parser, "--max-header", "BYTES", "of request line and header fields", 256,
                          1u << 20, wanted.http.limits.head);
  examples::number_option(parser, "--max-body", "BYTES", "of a request's body, which is dropped", 0,
                          1u << 30, wanted.http.limits.body);
  examples::number_option(parser, "--max-connections", "N", "per shard; one more is closed at once",
                          1, 10'000'000, wanted.max_connections);
  examples::seconds_option(parser, "--request-timeout", "from a request's first byte to its last",
                           wanted.http.request_timeout);
  examples::seconds_option(parser, "--idle-timeout", "between requests", wanted.http.idle_timeout);
  examples::seconds_option(parser, "--write-timeout", "for a client that does not read",
                           wanted.http.write_timeout);
  examples::seconds_option(parser, "--drain", "wait for connections after SIGTERM", wanted.drain);
}

}  // namespace

int main(int argc, char** argv) {
  program wanted;
  weir::config_parser parser("http_server", "HTTP/1.1 on any back end.");
  declare(parser, wanted);
  auto settings = parser.parse_or_exit(argc, argv);
  if (wanted.offers.empty()) {
    fmt::print(stderr, "http_server: nothing to serve: give --http ADDR:PORT\n\n{}", parser.help());
    return 2;
  }
  examples::announcement announce("http_server");
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, wanted, announce); });
}

// http_server: HTTP/1.1 and HTTPS on whichever back end the configuration names. It answers
// /plaintext and /json, and serves the files of one folder when it is given one.
#include <time.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <weir/http.hpp>
#include <weir/tls.hpp>
#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

namespace http = weir::http;

struct program {
  std::vector<examples::offer> offers;
  std::string root;
  bool precompressed = false, access_log = false, secured = false;
};

constexpr const char* front_page =
    "<!doctype html>\n<title>weir</title>\n<h1>weir</h1>\n"
    "<p>This page came through weir. See also <a href=\"/plaintext\">/plaintext</a> and <a "
    "href=\"/json\">/json</a>.\n";

weir::task<http::response> plaintext(http::request&) {
  http::response out;
  out.field("Content-Type", "text/plain").constant_body("Hello, World!");
  co_return out;
}
weir::task<http::response> message(http::request&) {
  co_return http::json("{\"message\":\"Hello, World!\"}");
}
weir::task<http::response> page(http::request&) { co_return http::html(front_page); }

using listeners = std::vector<weir::tcp_listener>;

weir::task<> run([[maybe_unused]] weir::shard& shard, http::server& server, listeners& plain,
                 [[maybe_unused]] listeners& secured) {
#if HTTP_SERVER_TLS
  if (!secured.empty()) {
    weir::tls::server_context ours(shard.settings().tls);
    co_await weir::when_all(server.run(plain), server.run(secured, ours));
    co_return;
  }
#endif
  co_await server.run(plain);
}

weir::task<> serve(weir::shard& shard, const program& wanted, examples::announcement& announce) {
#if HTTP_SERVER_TLS
  if (wanted.secured) weir::tls::server_context probe(shard.settings().tls);  // before it listens
#endif
  std::unique_ptr<http::file_root> files;
  http::router site;
  site.get("/plaintext", plaintext).get("/json", message);
  if (wanted.root.empty()) {
    site.get("/", page);
  } else {
    files =
        std::make_unique<http::file_root>(wanted.root, http::file_settings{wanted.precompressed});
    site.otherwise([&](http::request& asked) -> weir::task<http::response> {
      auto known = files->answer_now(asked);
      if (known) co_return std::move(*known);
      auto find = [&] { return files->answer(asked); };  // asks the disk
      auto found = co_await weir::offload(find).nothrow();
      if (!found) co_return http::plain_status(503);
      co_return std::move(*found);
    });
  }
  listeners plain, secured;
  auto offers = wanted.offers;
  for (auto& one : offers) {
    auto& those = one.service == "https" ? secured : plain;
    those.push_back(examples::listen_for(shard, one));
    one.where = those.back().local_endpoint();
  }
  announce.shard_listens(shard, offers);

  http::server server(shard, site);
  if (wanted.access_log)
    server.on_access([](const http::access_entry& entry) {
      std::puts(http::common_log_line(entry, ::time(nullptr)).c_str());
    });
  co_await run(shard, server, plain, secured);
  if (const auto n = server.counters().refused_connections; n != 0)
    fmt::print(stderr, "http_server: {} connections were refused (see --http.max_connections)\n",
               n);
  if (files && files->exhausted() != 0)
    fmt::print(stderr, "http_server: {} requests got 503: out of descriptors\n",
               files->exhausted());
}

std::string readable_folder(std::string_view text, std::string& into) {
  into = text;
  try {
    http::file_root probe(into);
    return "";
  } catch (const std::system_error& error) {
    return error.code().message();
  }
}

void declare(weir::config_parser& parser, program& wanted) {
  parser.repeated(
      "--http.listen,--http", "ADDR:PORT", "serve HTTP/1.1 here; any number of times",
      [&](std::string_view text) { return examples::add_offer(wanted.offers, "http", text); });
#if HTTP_SERVER_TLS
  parser.repeated("--https.listen,--https", "ADDR:PORT",
                  "the same behind TLS: see --tls.certificate and --tls.key",
                  [&](std::string_view text) {
                    wanted.secured = true;
                    return examples::add_offer(wanted.offers, "https", text);
                  });
#endif
  parser.value("--root", "DIR", "serve the files of this folder [none]", "",
               [&](std::string_view text) { return readable_folder(text, wanted.root); });
  parser.flag("--precompressed", "answer with NAME.zst or NAME.gz where the client takes it",
              wanted.precompressed);
  parser.flag("--access-log", "a line for each answer, on stdout", wanted.access_log);
}

}  // namespace

int main(int argc, char** argv) {
  program wanted;
  weir::config_parser parser("http_server", "HTTP/1.1 on any back end.");
  declare(parser, wanted);
  const auto settings = parser.parse_or_exit(argc, argv);
  if (wanted.offers.empty()) {
    fmt::print(stderr, "http_server: nothing to serve: give --http ADDR:PORT\n\n{}", parser.help());
    return 2;
  }
  examples::announcement announce("http_server");
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, wanted, announce); });
}

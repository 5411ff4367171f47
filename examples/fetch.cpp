// fetch URL: a small curl. The body goes to stdout as it comes, progress to stderr; exit code 22
// for an error's status, as curl -f has it.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <weir/http.hpp>
#include <weir/weir.hpp>

namespace {

namespace http = weir::http;

struct program {
  std::string url, data;
  http::client_settings settings;
  bool head = false, quiet = false, fields = false;
  int code = 0;
};

void show(std::uint64_t got, std::optional<std::uint64_t> of, weir::duration took) {
  const double seconds = std::max(std::chrono::duration<double>(took).count(), 1e-6);
  const double rate = static_cast<double>(got) / seconds / 1e6;
  if (of)
    fmt::print(stderr, "\r{} of {} bytes, {:.1f} MB/s ", got, *of, rate);
  else
    fmt::print(stderr, "\r{} bytes, {:.1f} MB/s ", got, rate);
}

std::optional<std::uint64_t> said_length(const http::client_answer& got) {
  const std::string text(got.field("Content-Length"));
  if (text.empty()) return std::nullopt;
  return std::strtoull(text.c_str(), nullptr, 10);
}

std::string read_http2(std::string_view when, http::http2_use& into) {
  if (when == "never") return into = http::http2_use::never, "";
  if (when == "agreed") return into = http::http2_use::where_agreed, "";
  if (when == "always") return into = http::http2_use::always, "";
  return "must be never, agreed or always";
}

weir::task<> fetch(weir::shard& shard, program& wanted) {
  http::client web(shard, wanted.settings);
  http::client_request asked(wanted.head           ? http::method::head
                             : wanted.data.empty() ? http::method::get
                                                   : http::method::post,
                             wanted.url);
  if (!wanted.data.empty()) asked.body(wanted.data);
  auto got = co_await web.send(asked);
  if (wanted.head || wanted.fields) {
    fmt::print("HTTP/{} {} {}\n", got.major_version(), got.status(),
               http::reason_phrase(got.status()));
    for (const auto& f : got.fields()) fmt::print("{}: {}\n", f.name, f.value);
  }
  const bool progress = !wanted.quiet && ::isatty(STDERR_FILENO) != 0;
  const auto length = said_length(got);
  const auto begun = shard.now();
  std::uint64_t total = 0;
  for (;;) {
    auto piece = co_await got.body().read();
    if (piece.empty()) break;
    total += piece.size();
    if (std::fwrite(piece.data(), 1, piece.size(), stdout) != piece.size())
      throw weir::io_error({errno, std::generic_category()}, "stdout");
    if (progress) show(total, length, shard.now() - begun);
  }
  if (progress && total != 0) std::fputc('\n', stderr);
  if (got.status() >= 400) wanted.code = 22;
}

}  // namespace

int main(int argc, char** argv) {
  program wanted;
  weir::config_parser parser("fetch", "Gets what a URL names, on any back end.");
  parser.value("--url", "URL", "http://HOST[:PORT]/... or https://", wanted.url);
  parser.value("--data", "TEXT", "POST it", wanted.data);
  parser.flag("--head", "HEAD: the fields alone", wanted.head);
  parser.flag("--include", "print the fields as well", wanted.fields);
  parser.value("--http2", "WHEN", "never, agreed (over TLS) or always: in the clear too", "agreed",
               [&](std::string_view when) { return read_http2(when, wanted.settings.http2); });
  parser.flag("--compressed", "ask for zstd or gzip, and decompress it", wanted.settings.decode);
  parser.flag("--quiet", "no progress", wanted.quiet);
  http::add_client_keys(parser, wanted.settings);
  // The URL may stand alone.
  std::vector<char*> words(argv, argv + argc);
  std::string option = "--url";
  if (argc > 1 && argv[argc - 1][0] != '-' &&
      std::string(argv[argc - 1]).find("://") != std::string::npos)
    words.insert(words.end() - 1, option.data());
  const auto settings = parser.parse_or_exit(static_cast<int>(words.size()), words.data());
  if (!http::url::parse(wanted.url)) {
    fmt::print(stderr, "fetch: '{}' is no URL of http or https\n\n{}", wanted.url, parser.help());
    return 2;
  }
  const int code = weir::run(settings, [&](weir::shard& s) { return fetch(s, wanted); });
  return code != 0 ? code : wanted.code;
}

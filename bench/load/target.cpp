// URLs of a load: one row for each scheme.
#include "load/target.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <stdexcept>

namespace weir::load {
namespace {

struct scheme_row {
  std::string_view word;
  scheme kind;
  std::uint16_t port;  // 0: has to be said
};

constexpr std::array<scheme_row, 9> schemes{{{"tcp", scheme::tcp, 0},
                                             {"http", scheme::http, 80},
                                             {"https", scheme::https, 443},
                                             {"h2", scheme::h2, 443},
                                             {"h2c", scheme::h2c, 80},
                                             {"ws", scheme::ws, 80},
                                             {"redis", scheme::redis, 6379},
                                             {"udp", scheme::udp, 0},
                                             {"dns", scheme::dns, 53}}};

[[noreturn]] void wrong(std::string_view text, const std::string& why) {
  throw std::invalid_argument(fmt::format("`{}`: {}", text, why));
}

std::uint16_t parse_port(std::string_view text, std::string_view whole) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0 || port > 65535)
    wrong(whole, fmt::format("`{}` is no port: 1 to 65535", text));
  return static_cast<std::uint16_t>(port);
}

/// "host", "host:port", "[::1]:port".
void read_authority(std::string_view text, std::string_view whole, std::uint16_t usual,
                    target& out) {
  if (text.find('@') != std::string_view::npos) wrong(whole, "a user has no place in it");
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) wrong(whole, "`[` without `]`");
    out.host = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (!text.empty() && text[0] != ':') wrong(whole, "`:PORT` has to follow `]`");
    if (!text.empty()) port = text.substr(1);
  } else {
    const auto colon = text.find(':');
    out.host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon + 1);
  }
  if (out.host.empty()) wrong(whole, "there is no host in it");
  if (port.empty() && usual == 0) wrong(whole, "it needs a port, as in tcp://127.0.0.1:7");
  out.port = port.empty() ? usual : parse_port(port, whole);
}

}  // namespace

std::string target::authority() const {
  const auto name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  for (const auto& row : schemes)
    if (row.kind == kind && row.port == port) return name;
  return fmt::format("{}:{}", name, port);
}

service parse_service(std::string_view word) {
  if (word == "echo") return service::echo;
  if (word == "discard") return service::discard;
  if (word == "chargen") return service::chargen;
  if (word == "exchange") return service::exchange;
  throw std::invalid_argument(
      fmt::format("`{}` is no service: echo, discard, chargen, exchange", word));
}

target parse_target(std::string_view text) {
  target out;
  out.text = text;
  if (text.starts_with("unix:")) {
    out.kind = scheme::unix_socket;
    out.path = text.substr(5);
    if (out.path.starts_with("//")) out.path.erase(0, 2);
    if (out.path.empty()) wrong(text, "it needs a name: unix:/run/app.sock, or unix:@app");
    return out;
  }
  const auto end = text.find("://");
  const scheme_row* row = nullptr;
  for (const auto& one : schemes)
    if (end != std::string_view::npos && one.word == text.substr(0, end)) row = &one;
  if (row == nullptr)
    wrong(text,
          "it has to begin with tcp://, unix:, http://, https://, h2://, h2c://, ws://, redis://, "
          "udp:// or dns://");
  out.kind = row->kind;
  auto rest = text.substr(end + 3);
  rest = rest.substr(0, rest.find('#'));
  const auto slash = rest.find_first_of("/?");
  read_authority(rest.substr(0, slash), text, row->port, out);
  const std::string_view path =
      slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  for (const char c : path)
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f')
      wrong(text, "its path has a blank or a control character in it");
  if (out.http() || out.kind == scheme::ws) {
    out.path = path.starts_with('/') ? std::string(path) : "/" + std::string(path);
    return out;
  }
  const auto word = path.starts_with('/') ? path.substr(1) : path;
  if (out.kind == scheme::tcp || out.kind == scheme::udp) {
    if (!word.empty()) out.what = parse_service(word);
    if (out.kind == scheme::udp && out.what == service::chargen)
      wrong(text, "chargen is there on streams only");
  } else if (out.kind == scheme::dns) {
    out.path = word;
    if (word.empty()) wrong(text, "it needs the name to ask for: dns://127.0.0.1/example.org");
  } else if (!word.empty()) {
    wrong(text, "no path belongs to this scheme");
  }
  return out;
}

std::string place_of(const target& to) {
  if (to.kind == scheme::unix_socket) return to.path;
  if (to.host.find(':') == std::string::npos) return fmt::format("{}:{}", to.host, to.port);
  return fmt::format("[{}]:{}", to.host, to.port);
}

}  // namespace weir::load

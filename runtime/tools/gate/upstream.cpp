// The URL of a proxy taken apart, and the name in it looked up, once, before anything runs.
#include "runtime/tools/gate/upstream.hpp"

#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "runtime/tools/gate/http_connect.hpp"

namespace weir::gate {
namespace {

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    const auto* from = text.data() + i + 1;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto [end, error] = std::from_chars(from, from + 2, byte, 16);
    if (error != std::errc() || end != from + 2) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  if (out.size() > 255) return std::nullopt;
  return out;
}

/// An address, or the first one of a name. Asks the machine's resolver, which may take a while.
std::optional<endpoint> look_up(std::string_view text) {
  if (const auto parsed = endpoint::parse(text)) return parsed;
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string name(text.substr(0, colon)), port(text.substr(colon + 1));
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.c_str(), port.c_str(), &wanted, &found) != 0) return std::nullopt;
  std::optional<endpoint> out;
  if (found->ai_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, found->ai_addr, sizeof v4);
    out = endpoint{ip_address::v4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  } else if (found->ai_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, found->ai_addr, sizeof v6);
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    out = endpoint{ip_address::v6(bytes), ntohs(v6.sin6_port)};
  }
  ::freeaddrinfo(found);
  return out;
}

}  // namespace

bool upstream::parse(std::string_view text, upstream& out, std::string& why) {
  why = "must be socks5://[USER:PASSWORD@]HOST:PORT or http://[USER:PASSWORD@]HOST:PORT";
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos) return false;
  const auto how = text.substr(0, scheme);
  if (how != "socks5" && how != "http") return false;
  out.how = how == "http" ? protocol::http : protocol::socks5;
  text = text.substr(scheme + 3);
  if (text.ends_with('/')) text.remove_suffix(1);
  if (const auto at = text.rfind('@'); at != std::string_view::npos) {
    const auto who = text.substr(0, at);
    const auto colon = who.find(':');
    const auto user = decoded(who.substr(0, colon));
    const auto password = decoded(colon == std::string_view::npos ? "" : who.substr(colon + 1));
    if (!user || user->empty() || !password) return false;
    out.who = {*user, *password};
    text = text.substr(at + 1);
  }
  const auto where = look_up(text);
  if (!where || where->port == 0) {
    why = "no address is known of " + std::string(text) + ": " + why;
    return false;
  }
  out.where = *where;
  return true;
}

task<std::error_code> upstream::ask(any_stream& proxy, const endpoint& to) const {
  return how == protocol::http ? http_connect(proxy, who, to) : socks5_connect(proxy, who, to);
}

}  // namespace weir::gate

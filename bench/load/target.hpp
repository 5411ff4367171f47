// What a load is put on: a URL, taken apart. Owns the schemes and what can be said in them; makes
// no connection.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::load {

enum class scheme : std::uint8_t { tcp, unix_socket, http, https, h2, h2c, ws, redis, udp, dns };

/// What stands behind a bare stream or datagram socket.
enum class service : std::uint8_t {
  echo,      ///< gives back what it is sent
  discard,   ///< takes, and says nothing
  chargen,   ///< sends, unasked
  exchange,  ///< a request, an answer: of a size, or up to a delimiter
};

struct target {
  std::string text;  ///< as it was given
  scheme kind = scheme::tcp;
  service what = service::echo;
  std::string host;  ///< a name or an address; an IPv6 address without its brackets
  std::uint16_t port = 0;
  std::string path;  ///< HTTP: path and query; dns: the name asked for; unix: the socket's name

  bool secure() const { return kind == scheme::https || kind == scheme::h2; }
  bool datagrams() const { return kind == scheme::udp || kind == scheme::dns; }
  bool http() const {
    return kind == scheme::http || kind == scheme::https || kind == scheme::h2 ||
           kind == scheme::h2c;
  }
  /// "example.org", "[::1]:8080": the scheme's own port is left out.
  std::string authority() const;
};

/// Throws std::invalid_argument that says what is wrong with it, and what would be right.
target parse_target(std::string_view text);

/// Throws std::invalid_argument for another word.
service parse_service(std::string_view word);

/// "example.org:80" or the name of a Unix socket.
std::string place_of(const target& to);

}  // namespace weir::load

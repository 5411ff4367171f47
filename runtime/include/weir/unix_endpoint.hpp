// Names of Unix sockets, and how one listens: a sibling of endpoint, which carries no path.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weir/options.hpp"

namespace weir {

/// Where a Unix socket is: a path, an abstract name (written "@name"; it goes with its socket), or
/// nowhere (unnamed). Written "unix:/run/app.sock", "unix:@app" and "unix:".
class unix_endpoint {
 public:
  static constexpr std::size_t max_size = 107;  // sun_path without its end

  unix_endpoint() = default;
  /// A path, or "@name". Throws std::invalid_argument where it is longer than max_size, has a zero
  /// byte in it, or is "@" alone.
  explicit unix_endpoint(std::string_view name);
  /// Reads "unix:...".
  static std::optional<unix_endpoint> parse(std::string_view text);

  bool is_unnamed() const { return size_ == 0; }
  bool is_abstract() const { return size_ != 0 && text_[0] == '@'; }
  bool is_path() const { return size_ != 0 && text_[0] != '@'; }
  /// The path, or "@name", or nothing.
  std::string_view name() const { return {text_.data(), size_}; }
  std::string to_string() const { return "unix:" + std::string(name()); }

  friend bool operator==(const unix_endpoint& a, const unix_endpoint& b) {
    return a.name() == b.name();
  }

 private:
  std::uint8_t size_ = 0;
  std::array<char, max_size> text_{};
};

/// Who is on the other end.
struct unix_credentials {
  std::int32_t pid = 0;  ///< 0 where it is not known here (another namespace's)
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

/// Who sent a datagram.
struct unix_sender {
  unix_endpoint name;  ///< unnamed where it has none: it cannot be answered
  unix_credentials credentials;
};

/// Of datagram sockets. What is not set is the machine's.
struct unix_datagram_options {
  std::optional<std::uint32_t> send_buffer = {};  ///< bytes on their way to others (SO_SNDBUF)
  std::optional<std::uint32_t> mode = {};         ///< as unix_listen_options::mode
};

/// What is not set comes from the configuration's [listen]. `sharded` is operation_not_supported.
struct unix_listen_options {
  std::optional<std::uint32_t> backlog = {};
  std::optional<weir::sharing> sharing = {};
  /// Who may connect, as chmod(1) has it: 0660. Unset: what the umask leaves. Of paths.
  std::optional<std::uint32_t> mode = {};
};

}  // namespace weir

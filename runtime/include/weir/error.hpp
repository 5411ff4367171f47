// Errors as weir reports them: std::error_code everywhere, compared against std::errc, plus the few
// conditions that std::errc has no word for. An operation throws io_error, or hands the code back
// in its nothrow() form.
#pragma once

#include <cstddef>
#include <string>
#include <system_error>

#include "weir/stack/result.hpp"

namespace weir {

/// What std::errc cannot say.
enum class error : int {
  end_of_stream = 1,  ///< the peer ended the stream before as much had come as was asked for
  limit_exceeded,  ///< a bound that the caller or the configuration set (a line too long, a queue
                   ///< full)
  closed,          ///< the channel, listener or scope was closed
  truncated,       ///< a secured stream ended without its peer's word that this is the end
  untrusted,       ///< the peer could not prove who it is
};
const std::error_category& error_category() noexcept;
inline std::error_code make_error_code(error e) noexcept {
  return {static_cast<int>(e), error_category()};
}

}  // namespace weir

template <>
struct std::is_error_code_enum<weir::error> : std::true_type {};

namespace weir {

/// Thrown by operations. what() names the operation and the reason: "read_some: Connection reset by
/// peer".
class io_error : public std::system_error {
 public:
  io_error(std::error_code code, const char* operation) : std::system_error(code, operation) {}
  io_error(std::error_code code, const std::string& what) : std::system_error(code, what) {}
};

/// What a transfer did: bytes moved, and why it stopped short if it did. Trivial, so that it may be
/// destructured.
struct transfer {
  std::error_code ec;
  std::size_t n = 0;
  explicit operator bool() const { return !ec; }
};

/// How the peer's sending ended (any_stream::peer_closed()).
struct peer_end {
  std::error_code ec;   ///< of the wait: why it is not known
  std::error_code why;  ///< that the connection broke; none: it has sent all that it had to
  explicit operator bool() const { return !ec; }
};

inline std::error_code canceled_error() {
  return std::make_error_code(std::errc::operation_canceled);
}
inline std::error_code timeout_error() { return std::make_error_code(std::errc::timed_out); }

}  // namespace weir

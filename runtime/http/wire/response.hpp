// HTTP/1.1 responses into bytes: heads and small bodies in one buffer, large constant bodies by
// reference, so that a batch of pipelined answers leaves in one gathered write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http::wire {

/// The Date field, written anew once a second (RFC 9110 5.6.7, IMF-fixdate).
class date_cache {
 public:
  /// Its value. `now` is seconds since 1970.
  std::string_view at(std::int64_t now);
  /// The fields that all answers begin with, whole lines: Server and Date.
  std::string_view fields_at(std::int64_t now);

 private:
  std::int64_t written_ = -1;
  std::string text_;
};

struct response {
  int status = 200;
  std::string_view content_type = "text/plain";
  std::string_view body;             ///< constant: it outlives the write
  std::uint64_t content_length = 0;  ///< of what follows, where there is no body here
  std::string_view location;
  std::string_view fields;  ///< whole header fields, each with its CRLF
  bool send_body = true;    ///< false: HEAD
  bool keep_alive = true;
  unsigned minor_version = 1;  ///< the request's: HTTP/1.0 is told that the connection goes on
};

class response_writer {
 public:
  explicit response_writer(date_cache& date) : date_(date) {}

  /// `now` is seconds since 1970. The body is referred to when it is large, and copied when it is
  /// small.
  void add(const response& what, std::int64_t now);
  /// The head alone; the caller sends `content_length` bytes after it.
  void add_head(const response& what, std::int64_t now);
  /// A short text that says what the status means; the rest is as in `like`.
  void add_status(int status, response like, std::int64_t now);

  bool empty() const { return pieces_.empty(); }
  /// Whether it is time to write before more is added.
  bool full() const { return pieces_.size() >= most_pieces || text_.size() >= most_text; }
  /// What was added, in order; valid until the next change.
  std::span<const std::span<const std::byte>> parts();
  void clear();

 private:
  static constexpr std::size_t most_pieces = 64;
  static constexpr std::size_t most_text = 64 * 1024;
  static constexpr std::size_t copied_up_to = 1024;

  struct piece {
    std::string_view external;  // or, when empty:
    std::size_t from = 0, to = 0;
  };
  void note_text(std::size_t from);

  date_cache& date_;
  std::string text_;
  std::vector<piece> pieces_;
  std::vector<std::span<const std::byte>> parts_;
};

}  // namespace weir::http::wire

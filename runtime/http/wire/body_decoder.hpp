// The body of a message, as its head says it is framed (RFC 9112 6 and 7): a length, chunks, or
// until the connection ends. Gives the content piece by piece where it lies, without a copy.
// Strict: a chunk's lines end at CR LF, its size has no sign and no more digits than it needs to
// be beyond every limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/http/wire/head_splitter.hpp"
#include "weir/http/message.hpp"

namespace weir::http::wire {

enum class framing : std::uint8_t { none, length, chunked, until_close };

struct body_limits {
  std::uint64_t content = 1024 * 1024;  ///< bytes, without chunk lines
  std::size_t extensions = 4096;        ///< bytes after the sizes of chunks, of a whole message
  std::size_t trailers = 8 * 1024;      ///< bytes
};

class body_decoder {
 public:
  enum class outcome : std::uint8_t { more, content, complete, malformed, too_long, trailers_long };

  void begin(framing how, std::uint64_t length, const body_limits& limits);
  /// Takes from the front of `bytes`. With `content`, content() lies in `bytes` as they were.
  /// Complete is given once, without a byte of what follows.
  outcome feed(std::span<const std::byte>& bytes);
  std::span<const std::byte> content() const { return content_; }
  /// After the end; the text stays until begin().
  std::span<const field> trailers() const { return trailers_; }
  /// Whether the connection's end completes it.
  bool ends_with_connection() const { return how_ == framing::until_close; }

 private:
  enum class at : std::uint8_t {
    size,
    padding,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailers
  };

  outcome feed_chunked(std::span<const std::byte>& bytes);
  outcome feed_chunk_line(char c);
  outcome feed_trailers(std::span<const std::byte>& bytes);
  outcome give(std::span<const std::byte>& bytes);

  framing how_ = framing::none;
  at state_ = at::size;
  std::uint64_t left_ = 0;  // of the body, or of the chunk
  std::uint64_t total_ = 0;
  std::size_t extensions_ = 0;
  unsigned digits_ = 0;
  body_limits limits_;
  std::span<const std::byte> content_;
  head_splitter trailer_lines_;
  std::vector<field> trailers_;
};

/// Splits "Name: value" lines, as head_splitter gives them: each ends at CR LF, and there is no
/// other CR in it. False: a name that is no token (RFC 9110 5.6.2), a line without a colon.
bool parse_fields(std::string_view lines, std::vector<field>& into);
/// RFC 9110 5.6.2.
bool is_token(std::string_view text);
/// RFC 9110 5.5: no control character, so no line end.
bool is_field_value(std::string_view text);

}  // namespace weir::http::wire

// HTTP/1 answers out of bytes (RFC 9112), for clients: as strict as request_parser is about where a
// head and a body end, since an answer that is cut in the wrong place becomes another request's.
// No I/O.
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/http/wire/body_decoder.hpp"
#include "runtime/http/wire/head_splitter.hpp"
#include "weir/http/message.hpp"

namespace weir::http::wire {

struct response_limits {
  std::size_t head = 64 * 1024;  ///< bytes of status line and header fields, of trailers
  std::size_t fields = 256;
  std::uint64_t body = UINT64_MAX;
  std::size_t extensions = 16 * 1024;
};

/// An answer's head. Refers to the parser, until its next answer begins.
struct response_head {
  int status = 0;
  unsigned minor_version = 1;
  bool keep_alive = true;
  framing body = framing::none;
  std::uint64_t length = 0;
  std::span<const field> fields;

  bool interim() const { return status < 200 && status != 101; }
};

class response_parser {
 public:
  enum class outcome : std::uint8_t {
    more,
    head,       ///< head(); an interim one is followed by another head, any other by its body
    content,    ///< content() lies in the bytes that were given
    complete,   ///< what follows was left
    malformed,  ///< or beyond a limit: the connection cannot go on
  };

  explicit response_parser(const response_limits& limits);
  response_parser(const response_parser&) = delete;
  response_parser& operator=(const response_parser&) = delete;

  /// The next answer is one to this method: HEAD's has no body (RFC 9112 6.3).
  void expect(method asked);
  outcome feed(std::span<const std::byte>& bytes);
  /// The connection has ended: whether that completes the answer.
  bool end();
  const response_head& head() const { return head_; }
  std::span<const std::byte> content() const { return body_.content(); }
  std::span<const field> trailers() const { return body_.trailers(); }
  /// Not a byte of an answer has come.
  bool untouched() const { return !begun_ || splitter_.untouched(); }

 private:
  outcome feed_head(std::span<const std::byte>& bytes);
  bool read_head();
  bool read_framing();

  response_limits limits_;
  llhttp_settings_t settings_;
  head_splitter splitter_;
  body_decoder body_;
  std::vector<field> fields_;
  response_head head_;
  method asked_ = method::get;
  bool begun_ = false;
  bool in_body_ = false;
};

}  // namespace weir::http::wire

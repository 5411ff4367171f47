// HTTP/1 requests out of bytes (RFC 9112): strict, and bounded in everything that a client can
// send. llhttp reads the head, of which it sees one whole piece, after head_splitter found its end
// and before anything of it is believed. No I/O and no answers. Where nginx refuses, so does this.
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/http/wire/body_decoder.hpp"
#include "runtime/http/wire/head_splitter.hpp"
#include "runtime/http/wire/target.hpp"
#include "weir/http/message.hpp"

namespace weir::http::wire {

struct request_limits {
  std::size_t head = 16 * 1024;      ///< bytes of request line and header fields
  std::size_t fields = 128;          ///< header fields
  std::uint64_t body = 1024 * 1024;  ///< bytes of content
  std::size_t extensions = 4096;     ///< bytes of a body's chunk extensions, all told
};

/// A request's head. Everything refers to the parser, until its next request begins.
struct request_head {
  http::method method = method::get;
  std::string_view method_name;
  std::string_view target;  ///< as it was sent
  target_parts parts;       ///< of it
  /// Which host is asked for: an absolute target's, else the Host field's. Empty in HTTP/1.0 only.
  std::string_view host;
  unsigned minor_version = 1;  ///< 0 or 1: a later one is treated as 1 (RFC 9110 2.5)
  bool keep_alive = true;      ///< the client wants the connection to go on
  bool expects_continue = false;
  framing body = framing::none;
  std::uint64_t length = 0;  ///< of the body, where its framing is `length`
  std::span<const field> fields;

  bool has_body() const { return body == framing::chunked || length != 0; }
};

class request_parser {
 public:
  enum class outcome : std::uint8_t {
    more,      ///< everything was taken, and the request is not complete
    head,      ///< head() is known; then come content and complete
    content,   ///< a piece of the body: content() lies in the bytes that were given
    complete,  ///< the request is over; what follows it was left
    refused,   ///< refusal() is the status to answer with; the connection cannot go on
  };

  explicit request_parser(const request_limits& limits);
  request_parser(const request_parser&) = delete;
  request_parser& operator=(const request_parser&) = delete;

  /// Takes from the front of `bytes`, which may be empty: after `head` the next call may give
  /// `complete` without another byte.
  outcome feed(std::span<const std::byte>& bytes);
  /// From `head` until the call after `complete`.
  const request_head& head() const { return head_; }
  std::span<const std::byte> content() const { return body_.content(); }
  /// From `complete` on.
  std::span<const field> trailers() const { return body_.trailers(); }
  int refusal() const { return refusal_; }
  /// Nothing of a next request has come, but empty lines perhaps.
  bool idle() const { return at_ == at::between; }
  /// It was given bytes of a next request, or empty lines before one.
  bool begun() const { return begun_ && !splitter_.untouched(); }

 private:
  enum class at : std::uint8_t { between, in_head, in_body };

  outcome feed_head(std::span<const std::byte>& bytes);
  outcome feed_body(std::span<const std::byte>& bytes);
  int check_request_line();
  int ask_llhttp();
  int read_head();
  int read_fields();
  int read_framing(const field& f, bool length);
  outcome refuse(int status);

  request_limits limits_;
  head_splitter splitter_;
  body_decoder body_;
  std::vector<field> fields_;
  request_head head_;
  at at_ = at::between;
  bool begun_ = false;  // bytes of the next request have been asked for
  // Of the request line: where its method, its target and itself end.
  std::size_t method_end_ = 0, target_end_ = 0, line_end_ = 0;
  int refusal_ = 0;
};

}  // namespace weir::http::wire

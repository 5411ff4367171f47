// HTTP/1.x requests out of bytes (RFC 9112), on llhttp: strict, and bounded in everything that a
// client can send. Used by the admin endpoint and by examples/http_server. No I/O and no answers; a
// request's body is counted and dropped, since nothing here has a use for one.
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace http {

struct request_limits {
  std::uint64_t head = 16 * 1024;    ///< bytes of request line and header fields
  std::uint64_t body = 1024 * 1024;  ///< bytes
};

enum class method : std::uint8_t { get, head, other };

struct request {
  http::method method = method::get;
  std::string_view target;  ///< as it was sent; valid until the next call of feed()
  std::string_view host;    ///< the Host field's value, as long; empty where there was none
  bool keep_alive = true;   ///< the client wants the connection to go on
};

class request_parser {
 public:
  enum class outcome : std::uint8_t {
    more,      ///< everything was taken, and the request is not complete
    complete,  ///< current() is a request; what follows it was left
    refused,   ///< refusal() is the status to answer with; the connection cannot go on
  };

  explicit request_parser(const request_limits& limits);
  request_parser(const request_parser&) = delete;
  request_parser& operator=(const request_parser&) = delete;

  /// Takes from the front of `bytes` up to the end of one request.
  outcome feed(std::span<const std::byte>& bytes);
  const http::request& current() const { return request_; }
  int refusal() const { return refusal_; }
  /// Nothing of a next request has come.
  bool idle() const { return !begun_; }

 private:
  static request_parser& self(llhttp_t* parser) {
    return *static_cast<request_parser*>(parser->data);
  }
  static llhttp_settings_t callbacks();
  int head_complete();
  void begin();
  outcome after_error(llhttp_errno_t error);
  int refuse(int status);

  request_limits limits_;
  llhttp_t parser_;
  llhttp_settings_t settings_;
  http::request request_;
  std::string target_;
  std::string host_;
  std::string field_;        // of the header field that is being read, as far as it matters
  std::string first_bytes_;  // of the request, to tell an unknown method from garbage
  std::uint64_t head_bytes_ = 0;
  std::uint64_t body_bytes_ = 0;  // as transferred, with chunk headers and trailers
  std::uint64_t content_bytes_ = 0;
  unsigned hosts_ = 0;
  int refusal_ = 0;
  bool begun_ = false;
  bool complete_ = false;
  bool in_head_ = true;
  bool in_target_ = true;
  bool in_host_ = false;
  bool expects_ = false;
};

}  // namespace http

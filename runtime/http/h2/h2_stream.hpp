// One request on an HTTP/2 connection, and its answer: what has come of it, and what is to go.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/http/h2/h2_callbacks.hpp"
#include "weir/http/body.hpp"
#include "weir/http/request.hpp"
#include "weir/sync.hpp"

namespace weir::http {

class h2_session;

class h2_stream final : public detail::body_source, public detail::body_sink, public h2_outgoing {
 public:
  h2_stream(h2_session& on, std::int32_t number) : id(number), on_(on) {}

  /// A field of the head, or of the trailers behind the body.
  void add(std::string_view name, std::string_view value);
  /// The head is there. Gives the status that it is refused with, or 0.
  int read_head();
  detail::request_parts parts() const;
  /// Nobody reads its body any more.
  void drop();

  task<std::span<const std::byte>> read_body() override;
  std::span<const field> body_trailers() const override { return trailer_fields_; }
  /// Waits until the connection has taken them.
  task<> write_body(std::span<const std::byte> bytes) override;
  void add_trailer(std::string_view name, std::string_view value) override;
  /// Until `out` has been taken, and the end where all is given.
  task<> all_taken();

  const std::int32_t id;

  // Coming. Unread pieces are bounded by the window that the client was given.
  std::deque<std::string> pieces;
  std::size_t head_bytes = 0, head_fields = 0;
  std::uint64_t received = 0;
  std::size_t empty = 0;  // DATA frames
  bool too_long = false;  // its head
  bool has_head = false;
  bool all_came = false;
  bool dropping = false;
  bool expects = false;  // 100 before it sends
  bool closed = false;   // by the client, or with the connection
  event came;

  std::optional<std::uint64_t> left;  // to be written, where its length was said

 private:
  h2_session& on_;
  // A deque: what a request gives refers to them.
  std::deque<std::pair<std::string, std::string>> texts_;
  std::string* cookie_ = nullptr;  // of them
  std::vector<field> fields_, trailer_fields_;
  std::string method_, path_, authority_;
  http::method method_code_ = http::method::get;
  std::string_view plain_path_, query_;
  std::string current_;  // what the reader has
  duration waited_{};    // for the client to send the body
};

}  // namespace weir::http

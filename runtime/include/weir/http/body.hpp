// Bodies, piece by piece in both directions, at the speed of whoever is slower: reading asks the
// peer for more, writing waits until the peer takes it. Nothing is collected but by read_all().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "weir/http/message.hpp"
#include "weir/task.hpp"

namespace weir::http {

/// A request that cannot be carried out, and the status that says why. Thrown by what reads a body;
/// a handler may throw it, or let it pass: the server answers with the status.
class status_error : public std::runtime_error {
 public:
  explicit status_error(int status);
  int status() const { return status_; }

 private:
  int status_;
};

namespace detail {

/// Where a body comes from.
class body_source {
 public:
  virtual task<std::span<const std::byte>> read_body() = 0;
  virtual std::span<const field> body_trailers() const = 0;

 protected:
  ~body_source() = default;
};

/// Where a body goes.
class body_sink {
 public:
  virtual task<> write_body(std::span<const std::byte> bytes) = 0;
  virtual void add_trailer(std::string_view name, std::string_view value) = 0;

 protected:
  ~body_sink() = default;
};

}  // namespace detail

struct read_all_options {
  std::size_t max = 1024 * 1024;  ///< bytes
};

/// A message's body as it comes in. Of one message, and on the shard of its connection. A body that
/// nobody reads is dropped when the message is answered.
class body_reader {
 public:
  explicit body_reader(detail::body_source& from) : from_(&from) {}

  /// The next piece, which stays until the next call; empty at the end. Throws status_error: 408
  /// (too slow), 413 (beyond the limit), 400 (malformed, or the connection ended within it);
  /// io_error. Of an answer the same in its own words: see client.hpp.
  task<std::span<const std::byte>> read() { return from_->read_body(); }
  /// The rest. Beyond `max` it is status_error(413).
  task<std::string> read_all(read_all_options options = {});
  /// What came after the last piece; known once read() has given the end.
  std::span<const field> trailers() const { return from_->body_trailers(); }

 private:
  detail::body_source* from_;
};

/// A message's body as it goes out.
class body_writer {
 public:
  explicit body_writer(detail::body_sink& to) : to_(&to) {}

  /// Returns when the connection has taken the bytes. An empty piece is nothing. Throws io_error.
  task<> write(std::span<const std::byte> bytes) { return to_->write_body(bytes); }
  task<> write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  /// A field to send after the body, where its framing has room for one (chunks); dropped where it
  /// has none. Throws std::invalid_argument.
  void trailer(std::string_view name, std::string_view value) { to_->add_trailer(name, value); }

 private:
  detail::body_sink* to_;
};

}  // namespace weir::http

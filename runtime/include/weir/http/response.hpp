// An answer as a handler makes it: a status, fields, and a body that is a text, a part of a file,
// or written piece by piece. How it is framed on the wire is the connection's business, and so are
// Date, Content-Length, Transfer-Encoding and Connection.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "weir/detail/posix_file.hpp"
#include "weir/http/body.hpp"
#include "weir/http/message.hpp"
#include "weir/task.hpp"

namespace weir {
class any_stream;
}

namespace weir::http {

/// An open regular file, closed when it goes.
class open_file {
 public:
  open_file() = default;
  explicit open_file(int descriptor) : file_(unique_fd(descriptor), true) {}

  int descriptor() const { return file_.native_handle(); }
  weir::detail::file_handle& handle() { return file_; }

 private:
  weir::detail::posix_file file_;
};

class response {
 public:
  /// Writes the body. Runs after the handler has returned; the object is kept until it has ended.
  using producer = std::function<task<>(body_writer&)>;
  /// Takes the connection over after 101: the stream, and what the client has already sent.
  using takeover = std::function<task<>(any_stream&, std::string)>;

  struct file_part {
    open_file file;
    std::uint64_t offset = 0, length = 0;
  };
  struct stream_part {
    producer write;
    std::optional<std::uint64_t> length;
  };

  response() = default;
  explicit response(int status) : status_(status) {}

  int status() const { return status_; }
  response& status(int status) { return status_ = status, *this; }
  /// Adds a field. Throws std::invalid_argument for a name that is no token, a value with a line
  /// end or another control character in it, and for a field that is the connection's business.
  response& field(std::string_view name, std::string_view value);
  std::span<const std::pair<std::string, std::string>> fields() const { return fields_; }
  /// The value of the first field of that name; empty where there is none.
  std::string_view field(std::string_view name) const;
  /// field() in place of those of that name.
  response& replace(std::string_view name, std::string_view value) {
    return remove(name).field(name, value);
  }
  response& remove(std::string_view name);

  /// The body, in one of its forms.
  response& body(std::string text) { return body_ = std::move(text), *this; }
  response& constant_body(std::string_view text) { return body_ = text, *this; }  ///< outlives it
  response& body(file_part part) { return body_ = std::move(part), *this; }
  /// With a length exactly so many bytes are to be written, without one as many as come.
  response& body(producer write, std::optional<std::uint64_t> length = {}) {
    return body_ = stream_part{std::move(write), length}, *this;
  }
  response& upgrade(takeover with) { return body_ = std::move(with), *this; }

  using any_body = std::variant<std::string, std::string_view, file_part, stream_part, takeover>;
  any_body& body() { return body_; }

 private:
  int status_ = 200;
  std::vector<std::pair<std::string, std::string>> fields_;
  any_body body_;
};

response text(std::string body);
response html(std::string body);
response json(std::string body);
/// A text as JSON has it: in quotes, escaped.
std::string json_string(std::string_view text);
/// "404 Not Found", as text.
response plain_status(int status);
/// 301, 302, 303, 307 or 308.
response redirect(int status, std::string_view location);

}  // namespace weir::http

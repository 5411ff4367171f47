// Which handler answers which request: by method and by the path's segments.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/http/request.hpp"
#include "weir/http/response.hpp"
#include "weir/task.hpp"

namespace weir::http {

/// Answers a request. May be a coroutine lambda: whoever has the handler keeps it, and its
/// captures, longer than any request.
using handler = std::function<task<response>(request&)>;

/// A pattern is a path whose segments are literal or one {name}, which takes one segment that is
/// not empty; the last may be {name...}, which takes the rest, slashes and all. Segments are
/// compared decoded. Of several that match, one without names wins, then the one that was added
/// first. HEAD is answered by GET's handler, without the body. A path that only other methods have
/// is 405 with Allow, one that nobody has goes to otherwise(), else it is 404.
class router {
 public:
  /// Throws std::invalid_argument for a pattern that is none.
  router& on(method what, std::string_view pattern, handler answer);
  router& get(std::string_view pattern, handler answer) {
    return on(method::get, pattern, std::move(answer));
  }
  router& post(std::string_view pattern, handler answer) {
    return on(method::post, pattern, std::move(answer));
  }
  router& put(std::string_view pattern, handler answer) {
    return on(method::put, pattern, std::move(answer));
  }
  router& delete_(std::string_view pattern, handler answer) {
    return on(method::delete_, pattern, std::move(answer));
  }
  router& patch(std::string_view pattern, handler answer) {
    return on(method::patch, pattern, std::move(answer));
  }
  router& otherwise(handler answer) {
    otherwise_ = std::move(answer);
    return *this;
  }

  task<response> operator()(request& asked) const;

 private:
  task<response> search(request& asked) const;
  struct segment {
    std::string text;  // literal, or a name
    bool is_name = false, takes_rest = false;
  };
  struct route {
    http::method what;
    std::vector<segment> segments;
    std::string literal;  // the path itself, where nothing in it is a name or an escape
    bool has_names = false;
    handler answer;
  };
  using decoded = std::vector<std::string>;
  static bool matches(const route& of, const decoded& path);
  static void note_parts(const route& of, const decoded& path, request& asked);

  std::vector<route> routes_;
  handler otherwise_;
};

}  // namespace weir::http

// Bodies in two pieces, for tests that say that one is five bytes long.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "weir/http.hpp"
#include "weir/task.hpp"

namespace weir::test {

struct two_pieces {
  std::size_t first, second;
  bool as_said() const { return first + second == 5; }
  http::response::producer writer() const {
    return [a = first, b = second](http::body_writer& to) -> task<> {
      co_await to.write(std::string(a, 'x'));
      co_await to.write(std::string(b, 'x'));
    };
  }
};

/// One piece and none, and two of which neither is too long by itself.
inline constexpr std::array<two_pieces, 8> pieces_of_about_five{
    {{4, 0}, {5, 0}, {6, 0}, {0, 5}, {2, 2}, {2, 3}, {3, 3}, {5, 1}}};

}  // namespace weir::test

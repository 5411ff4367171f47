// Finds where a message's head ends, and refuses what a lenient reader would see differently: two
// readers that disagree about the end of a head are what request smuggling is made of. A line ends
// at CR LF and nowhere else, a head at an empty line; a CR or LF alone, a folded line (RFC 9112
// 5.2) and control characters are errors. Serves trailers as well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::http::wire {

class head_splitter {
 public:
  enum class outcome : std::uint8_t {
    more,      ///< everything was taken, and the head is not complete
    line,      ///< the first line is complete: text() is that line. Given once
    complete,  ///< text() is the head
    malformed,
    too_long,
  };

  /// For the next head. `skip_empty_lines`: those before it are no part of it (RFC 9112 2.2).
  void begin(std::size_t most_bytes, bool skip_empty_lines);
  /// Takes from the front of `bytes` up to the end of the head.
  outcome feed(std::span<const std::byte>& bytes);
  /// What has been taken, with its line ends; of the whole head without the empty line at its end.
  /// May be written to: a parser corrects what it understands in another way.
  std::string& text() { return text_; }
  /// Whether the first line has ended.
  bool in_fields() const { return first_line_ended_; }
  /// Not a byte has come, empty lines included.
  bool untouched() const { return taken_ == 0; }

 private:
  enum class at : std::uint8_t { line_begin, in_line, after_cr };

  std::string text_;
  std::size_t most_ = 0, taken_ = 0;
  at state_ = at::line_begin;
  bool line_is_empty_ = true;
  bool first_line_ended_ = false;
  bool skip_empty_lines_ = true;
};

}  // namespace weir::http::wire

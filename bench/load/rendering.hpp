// Requests as bytes: rendered once, with places that are filled in for each request. A place has a
// width of its own, so that what was said of lengths stays true.
//
//   {n}           the request's number, 10 digits
//   {connection}  its connection's number, 5 digits
//   {random}      16 hexadecimal digits, another one for each request
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "load/plan.hpp"

namespace weir::load {

/// A text with places.
class rendering {
 public:
  rendering() = default;
  /// `text`: as a user wrote it, its places in braces. Any other brace is itself.
  explicit rendering(std::string_view text);

  const std::string& text() const { return text_; }  ///< with zeros in its places
  std::size_t size() const { return text_.size(); }
  void add(std::string_view bytes) { text_ += bytes; }
  void add(const rendering& other);
  /// Adds the text, its places filled in.
  void append_to(std::string& out, std::uint64_t n, unsigned connection,
                 std::uint64_t random) const;

 private:
  enum class filling : std::uint8_t { number, connection, random };
  struct place {
    std::size_t at;
    filling with;
  };
  std::string text_;
  std::vector<place> places_;
};

/// The requests of a plan as bytes, and which one comes next.
class request_source {
 public:
  explicit request_source(const plan& of);

  struct one {
    rendering bytes;
    duration think;
    bool head = false;  ///< HTTP: answered without content
  };
  /// By weight; `random`: 64 bits.
  std::size_t choose(std::uint64_t random) const;
  const one& at(std::size_t index) const { return all_[index]; }
  std::size_t size() const { return all_.size(); }

 private:
  std::vector<one> all_;
  std::vector<double> up_to_;  // weights added up, to 1
};

/// 64 bits of a sequence that its seed decides (splitmix64).
inline std::uint64_t next_random(std::uint64_t& state) noexcept {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Words of a redis command: between blanks, or in double quotes. Throws std::invalid_argument.
std::vector<std::string> split_words(std::string_view text);

}  // namespace weir::load

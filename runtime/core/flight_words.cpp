// Text without memory: for a signal's handler, and so for everybody.
#include "runtime/core/flight_words.hpp"

#include <string.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "weir/error.hpp"

#if defined(WEIR_HAS_PLACES)
#include <bit>
#endif

namespace weir::detail {
namespace {

class line {
 public:
  explicit line(std::span<char> into) : room_(into) {}

  line& operator<<(std::string_view text) noexcept {
    const auto n = std::min(text.size(), room_.size() - used_);
    std::copy_n(text.begin(), n, room_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += n;
    return *this;
  }
  line& number(std::uint64_t value, int base = 10, std::size_t digits = 1) noexcept {
    std::array<char, 20> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value, base).ptr;
    const auto n = static_cast<std::size_t>(end - text.data());
    for (auto i = n; i < digits; ++i) *this << "0";
    return *this << std::string_view(text.data(), n);
  }
  line& seconds(std::int64_t ns) noexcept {
    constexpr std::int64_t us = 1000, s = 1'000'000;
    const auto of = static_cast<std::uint64_t>(std::abs(ns) / us);
    return number(of / s) << ".", number(of % s, 10, 6), *this;
  }
  line& address(const ip_address& a) noexcept {
    const auto bytes = a.bytes();
    if (a.is_v4()) {
      for (std::size_t i = 0; i < bytes.size(); ++i) *this << (i == 0 ? "" : "."), number(bytes[i]);
      return *this;
    }
    *this << "[";
    for (std::size_t i = 0; i < bytes.size(); i += 2)
      *this << (i == 0 ? "" : ":"), number(unsigned{bytes[i]} << 8 | bytes[i + 1], 16);
    return *this << "]";
  }
  line& place(source_at at) noexcept {
#if defined(WEIR_HAS_PLACES)
    const auto location = std::bit_cast<std::source_location>(at);
    const std::string_view file = location.file_name();
    *this << file.substr(file.rfind('/') + 1) << ":";
    return number(location.line());
#else
    (void)at;
    return *this;
#endif
  }
  std::string_view text() const noexcept { return {room_.data(), used_}; }

 private:
  std::span<char> room_;
  std::size_t used_ = 0;
};

void add_about(line& out, const flight_event& event) noexcept {
  if (event.about == nullptr) return;
  switch (about_of(event.what)) {
    case flight_about::place: (out << ", at ").place(static_cast<source_at>(event.about)); return;
    case flight_about::counter: out << ": " << static_cast<const char*>(event.about); return;
    case flight_about::socket:
      (out << ", socket ").number(reinterpret_cast<std::uintptr_t>(event.about), 16);
      return;
    case flight_about::nothing: return;
  }
}

void add_count(line& out, const flight_event& event) noexcept {
  using kind = flight_event::kind;
  switch (event.what) {
    case kind::sent_again: (out << ", bytes: ").number(event.count); return;
    case kind::drain_begun:
    case kind::drain_ended_early: (out << ", tasks: ").number(event.count); return;
    default:
      if (event.count != 1) (out << ", times: ").number(event.count);
  }
}

}  // namespace

const char* words_of_error(const flight_event& event) noexcept {
  if (event.of_weir) switch (static_cast<weir::error>(event.error)) {
      case weir::error::end_of_stream: return "end of stream";
      case weir::error::limit_exceeded: return "limit exceeded";
      case weir::error::closed: return "closed";
      case weir::error::truncated: return "stream cut off";
      case weir::error::untrusted: return "peer not trusted";
    }
  const char* text = event.of_weir ? nullptr : ::strerrordesc_np(event.error);
  return text == nullptr ? "unknown error" : text;
}

std::string_view in_words(const flight_event& event, instant now, std::span<char> into) noexcept {
  line out(into);
  const auto ago = (event.at - now).count();
  (out << (ago <= 0 ? "-" : "+")).seconds(ago) << " s " << words_of(event.what);
  if (event.peer.port != 0) (out << " ").address(event.peer.address) << ":";
  if (event.peer.port != 0) out.number(event.peer.port);
  if (event.port != 0) (out << " at port ").number(event.port);
  add_about(out, event);
  add_count(out, event);
  if (event.lasted_us != 0)
    (out << ", lasted ").seconds(std::int64_t{event.lasted_us} * 1000) << " s";
  if (event.error != 0) out << ": " << words_of_error(event);
  return out.text();
}

std::vector<std::string> lines_of_last(const flight_recorder& of, instant now, std::size_t most) {
  std::vector<flight_event> events(std::min(most, of.size()));
  events.resize(of.last(events));
  std::vector<std::string> out;
  std::array<char, 512> text;
  for (const auto& event : events) out.emplace_back(in_words(event, now, text));
  return out;
}

}  // namespace weir::detail

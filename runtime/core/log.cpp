// Lines, where they go, and what may stand in them.
#include "runtime/core/log.hpp"

#include <array>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <utility>

#include "weir/log.hpp"

namespace weir::detail {
namespace {

/// A process has one stderr, and one place where its lines go.
struct outlet_of_process {
  std::mutex lock;
  log_sink sink;
};
outlet_of_process& outlet() {
  static auto* const one = new outlet_of_process;  // lines may come until the very end
  return *one;
}

/// The length of the well-formed UTF-8 sequence (RFC 3629) that the text begins with; 0: none, or
/// one of the control characters.
std::size_t harmless(std::string_view text) {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto in = [&](std::size_t i, unsigned least, unsigned most) {
    return at(i) >= least && at(i) <= most;
  };
  const auto first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  if (first == 0xc2) return in(1, 0xa0, 0xbf) ? 2 : 0;  // below: C1, with another terminal's CSI
  if (first >= 0xc3 && first <= 0xdf) return in(1, 0x80, 0xbf) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool second = in(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
    return second && in(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool second = in(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
    return second && in(2, 0x80, 0xbf) && in(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

void write_text(const log_record& record) {
  std::string line(record.of_weir ? "weir" : to_string(record.level));
  line += ": " + printable(record.text);
  for (const auto& [key, value] : record.values)
    line += " " + printable(key) + "=" + printable(value);
  std::fprintf(stderr, "%s\n", line.c_str());
}

/// As JSON has it: what is no UTF-8 is made printable before.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

void write_json(const log_record& record) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  std::array<char, 32> time{};
  std::snprintf(time.data(), time.size(), "%lld.%03d", static_cast<long long>(now.count() / 1000),
                static_cast<int>(now.count() % 1000));
  std::string line = std::string("{\"time\":") + time.data() +
                     ",\"level\":" + quoted(to_string(record.level)) +
                     ",\"from\":" + (record.of_weir ? "\"weir\"" : "\"program\"") +
                     ",\"text\":" + quoted(record.text);
  if (!record.file.empty())
    line += ",\"place\":" + quoted(std::string(record.file) + ":" + std::to_string(record.line));
  if (!record.values.empty()) line += ",\"values\":{";
  bool first = true;
  for (const auto& [key, value] : record.values) {
    line += (first ? "" : ",") + quoted(key) + ":" + quoted(value);
    first = false;
  }
  if (!first) line += "}";
  std::fprintf(stderr, "%s}\n", line.c_str());
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto length = harmless(text);
    if (length == 0) {
      constexpr std::string_view digits = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(text[0]);
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
    out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

namespace {
void hand_out(const log_record& record) noexcept try {
  thread_local bool inside = false;
  if (inside) return;
  auto& out = outlet();
  const std::lock_guard locked(out.lock);
  inside = true;
  try {
    if (out.sink)
      out.sink(record);
    else
      write_text(record);
  } catch (...) {  // no memory for it
    std::fputs("weir: a line is missing here\n", stderr);
  }
  inside = false;
} catch (...) {  // no lock
}
}  // namespace

void log_line(std::string_view text) noexcept {
  hand_out({.level = log_level::warning, .of_weir = true, .text = text, .values = {}, .file = {}});
}

}  // namespace weir::detail

namespace weir {

std::string_view to_string(log_level level) {
  switch (level) {
    case log_level::debug: return "debug";
    case log_level::info: return "info";
    case log_level::warning: return "warning";
    case log_level::error: return "error";
  }
  return "?";
}

log_sink set_log_sink(log_sink sink) {
  auto& out = detail::outlet();
  const std::lock_guard locked(out.lock);
  return std::exchange(out.sink, std::move(sink));
}

log_sink log_as_text() { return &detail::write_text; }
log_sink log_as_json() { return &detail::write_json; }

#if defined(WEIR_HAS_PLACES)
void log(log_level level, std::string_view text, std::initializer_list<log_value> values,
         const std::source_location& here) noexcept {
  detail::hand_out({.level = level,
                    .of_weir = false,
                    .text = text,
                    .values = {values.begin(), values.size()},
                    .file = here.file_name(),
                    .line = here.line()});
}
#else
void log(log_level level, std::string_view text, std::initializer_list<log_value> values) noexcept {
  detail::hand_out({.level = level,
                    .of_weir = false,
                    .text = text,
                    .values = {values.begin(), values.size()},
                    .file = {}});
}
#endif

}  // namespace weir

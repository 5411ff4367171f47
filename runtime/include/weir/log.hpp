// Log lines, weir's and the program's, and where they go: stderr as text (the default), stderr as
// JSON lines, or a function of the program's own.
//
//   weir::log(weir::log_level::warning, "the shop is full", {{"customer", name}});
//   weir::set_log_sink(weir::log_as_json());
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>

#include "weir/detail/place.hpp"

namespace weir {

enum class log_level : std::uint8_t { debug, info, warning, error };
std::string_view to_string(log_level level);

/// One key and its value.
struct log_value {
  std::string_view key, value;
};

/// Valid during the sink's call. The text and the values may hold what peers sent: a sink that
/// writes to a terminal makes control characters harmless, as weir's own do.
struct log_record {
  log_level level = log_level::info;
  bool of_weir = false;  ///< of the runtime, not of the program
  std::string_view text;
  std::span<const log_value> values;
  std::string_view file;  ///< where it was written; empty: not known
  std::uint32_t line = 0;
};

/// Called on any thread, one call at a time. What it throws is dropped, and so is what it logs
/// itself.
using log_sink = std::function<void(const log_record&)>;

/// Lines go there from now on; gives where they went before. An empty one is log_as_text(). Any
/// thread; waits for a call that is under way.
log_sink set_log_sink(log_sink sink);

/// "weir: text key=value", "warning: text key=value", on stderr.
log_sink log_as_text();
/// {"time":...,"level":"warning","from":"program","text":"...","place":"shop.cpp:12",...}: one line
/// each, on stderr. The keys of a record are members of "values".
log_sink log_as_json();

/// Writes a line. Any thread. Not for data paths: the sink is called at once.
#if defined(WEIR_HAS_PLACES)
void log(log_level level, std::string_view text, std::initializer_list<log_value> values = {},
         const std::source_location& here = std::source_location::current()) noexcept;
#else
void log(log_level level, std::string_view text,
         std::initializer_list<log_value> values = {}) noexcept;
#endif

}  // namespace weir

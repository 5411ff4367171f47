// The one table of configuration keys: name, kind, meaning, what is allowed, how it is stored. The
// file reader, the environment, the command line, the help text and --print-config all walk this
// table; no key is spelled elsewhere.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config.hpp"

namespace weir::detail {

enum class key_kind { boolean, number, text, list };

struct key {
  std::string name;  ///< "listen.backlog"
  key_kind kind;
  std::string placeholder;  ///< of the value in the help text; empty for booleans
  std::string help;
  std::string allowed;  ///< completes "must be ..."
  /// Stores what was given (one value, or the elements of a list). False: not allowed, and nothing
  /// was stored.
  std::function<bool(config&, std::span<const std::string>)> assign;
  /// The value in the form that assign() takes.
  std::function<std::vector<std::string>(const config&)> show;

  std::string section() const;      ///< "listen"; empty for keys outside every section
  std::string environment() const;  ///< "WEIR_LISTEN_BACKLOG"
  std::string option() const;       ///< "--listen.backlog"
};

/// All keys, in the order in which they are shown.
std::span<const key> keys();
const key* find_key(std::string_view name);

/// One key as some place set it.
struct setting {
  const key* what;
  std::vector<std::string> values;
  std::string place;  ///< "server.toml:3", "environment variable WEIR_SHARDS", "command line"
};
/// Applies it; throws config_error that names place, key, value and what is allowed.
void apply(const setting& given, config& target);

/// What the file sets, in its order. Throws config_error (the file cannot be read, is not TOML, has
/// an unknown key).
std::vector<setting> read_file(const std::string& path);
/// What "NAME=value" strings that begin with WEIR_ set. Throws config_error for a name that is no
/// key's.
std::vector<setting> read_environment(std::span<const std::string> environment);

/// Checks that involve more than one key. `place_of` says where a key was set; throws config_error.
void check_together(const config& settings,
                    const std::function<std::string(std::string_view)>& place_of);

/// "; did you mean '--shards'?" for the candidate nearest to `given`, or nothing when none is near.
std::string did_you_mean(std::string_view given, std::span<const std::string> candidates);

}  // namespace weir::detail

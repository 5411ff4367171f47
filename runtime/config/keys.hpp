// The table of configuration keys: name, kind, meaning, what is allowed, how it is stored. The file
// reader, the environment, the command line, the help text and --print-config all walk one table:
// weir's keys, spelled in keys.cpp and nowhere else, and behind them the program's own.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/config.hpp"

namespace weir::detail {

/// plain: text, or a number, taken as it is written.
enum class key_kind { boolean, number, text, list, plain };

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
  bool secret = false;           ///< its value is never printed
  std::string short_forms = {};  ///< ",--http", on the command line

  std::string section() const;      ///< "listen"; empty for keys outside every section
  std::string environment() const;  ///< "WEIR_LISTEN_BACKLOG"
  std::string option() const;       ///< "--listen.backlog"
};

/// Weir's keys, in the order in which they are shown.
std::span<const key> keys();

/// The keys of [network.NAME]s, which are there once a place has named the network. They stay where
/// they are.
class network_keys {
 public:
  /// Of the network so called; of what is no network's name, none.
  std::span<const key> of(std::string_view name);
  /// As the help shows them.
  static std::vector<key> of_any();

 private:
  std::map<std::string, std::vector<key>, std::less<>> made_;
};
bool is_network_name(std::string_view name);
/// Those of one; the name is not judged.
std::vector<key> keys_of_network(const std::string& name);
inline constexpr std::string_view network_rule =
    "a network's name is a lower-case letter, and up to 15 lower-case letters and digits more";

/// The back end becomes the network that `backend` names, where it names one.
config with_default_network(config settings);

/// The settings as a TOML file: the keys of `table`, each under its section.
std::string to_toml(std::span<const key> table, const config& settings);

/// One key as some place set it.
struct setting {
  const key* what;
  std::vector<std::string> values;
  std::string place;  ///< "server.toml:3", "environment variable WEIR_SHARDS", "command line"
};
/// Applies it; throws config_error that names place, key, value and what is allowed.
void apply(const setting& given, config& target);

enum class unknown_keys { refused, passed_over };

/// What the file sets, in its order. Throws config_error (the file cannot be read, is not TOML, has
/// an unknown key).
std::vector<setting> read_file(const std::string& path, std::span<const key> table,
                               network_keys& networks, unknown_keys unknown);
/// What "NAME=value" strings that begin with WEIR_ set. A name that is no key's goes into
/// `warnings` as a line, since others name variables too: Kubernetes gives each program WEIR_PORT
/// and its like where a service is called "weir".
std::vector<setting> read_environment(std::span<const std::string> environment,
                                      std::span<const key> table, network_keys& networks,
                                      std::vector<std::string>& warnings);

/// The parts, without spaces around them.
std::vector<std::string> split_at_commas(std::string_view text);

/// Checks that involve more than one key. `place_of` says where a key was set; throws config_error.
void check_together(const config& settings,
                    const std::function<std::string(std::string_view)>& place_of);

/// "; did you mean '--shards'?" for the candidate nearest to `given`, or nothing when none is near.
/// The first `alike` characters, which all of them share, say nothing about nearness.
std::string did_you_mean(std::string_view given, std::span<const std::string> candidates,
                         std::size_t alike = 0);

}  // namespace weir::detail

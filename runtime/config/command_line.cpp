// config_parser: a program's command line, on CLI11, and the order in which the places of a
// configuration apply: defaults, file, environment, command line.
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "runtime/config/keys.hpp"
#include "runtime/core/log.hpp"

namespace weir {
namespace {

using detail::key;
using detail::key_kind;
using detail::setting;

constexpr const char* command_line_place = "command line";

/// Every value that was given, in order, untouched: what it means is this file's business.
CLI::callback_t keep() {
  return [](const CLI::results_t&) { return true; };
}

/// An option of the program's own. It is a key like weir's, whose values are kept as they were
/// given until all places have been read, and then handed to the program.
struct own_option {
  key_kind kind;
  std::string placeholder, help;
  std::string initial = {};                                  // as the values below would have it
  std::function<std::string(std::string_view)> accept = {};  // of repeated(), and of value()
  std::string* target = nullptr;                             // of value()
  bool* truth = nullptr;                                     // of flag()
  std::string name = {}, short_forms = {};
};

struct given_values {
  std::vector<std::string> values;
  std::string place;  // empty: nowhere
};

/// What a command line asks for beyond a configuration.
enum class request { run, help, version, print_config };

}  // namespace

struct config_parser::impl {
  /// One reading of all places.
  struct outcome {
    config settings;
    request wanted = request::run;
    std::string toml;  // where the request is to print the configuration
  };

  std::string name, summary;
  std::vector<own_option> own;
  detail::unknown_keys unknown_in_files = detail::unknown_keys::refused;

  void add(const std::string& option, own_option what);
  std::vector<key> table(std::vector<given_values>& given) const;
  void declare(CLI::App& app, std::span<const key> table) const;
  void take_own(const std::vector<given_values>& given) const;
  outcome parse(std::vector<std::string> arguments, std::span<const std::string> environment) const;
};

namespace {

bool is_weirs(const key& k) {
  if (k.name.starts_with("network.")) return true;
  return std::any_of(detail::keys().begin(), detail::keys().end(),
                     [&](auto& w) { return w.name == k.name; });
}

std::string group_of(const key& k) {
  if (!is_weirs(k)) return "This program";
  auto section = k.section();
  return section.empty() ? "Back end and threads" : "[" + section + "]";
}

std::string help_of(const key& k) {
  if (!is_weirs(k)) return k.help;
  std::string shown;
  for (auto& one : k.show(config{})) shown += (shown.empty() ? "" : ",") + one;
  auto choices = k.kind == key_kind::text && k.placeholder == "NAME" &&
                         k.allowed.find("name") == std::string::npos
                     ? ": " + k.allowed
                     : "";
  return fmt::format("{}{} [{}]", k.help, choices, shown);
}

bool truth_of(const std::string& option, const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  throw config_error(
      fmt::format("{}: {} = '{}': must be true or false", command_line_place, option, text));
}

/// Options without a value are flags that may have one: --pin, --pin=false.
CLI::Option* declare_one(CLI::App& app, const std::string& option, const std::string& placeholder,
                         const std::string& help, bool flag) {
  if (flag) return app.add_flag(option, help)->take_all();
  return app.add_option(option, keep(), help)
      ->type_name(placeholder)
      ->type_size(1)
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
}

/// A list of weir's may be given as one text; the program's own values may hold commas.
std::vector<std::string> values_of(const key& k, std::vector<std::string> given) {
  if (k.kind != key_kind::list) return {given.back()};  // the last one wins
  if (!is_weirs(k)) return given;
  std::vector<std::string> values;
  for (auto& one : given) {
    auto parts = detail::split_at_commas(one);
    values.insert(values.end(), parts.begin(), parts.end());
  }
  return values;
}

std::vector<setting> settings_of(const CLI::App& app, std::span<const key> table) {
  std::vector<setting> out;
  for (auto& k : table)
    if (auto given = app.get_option(k.option())->results(); !given.empty())
      out.push_back({&k, values_of(k, std::move(given)), command_line_place});
  return out;
}

[[noreturn]] void refuse_leftovers(const std::vector<std::string>& left,
                                   const std::vector<std::string>& known) {
  auto word = left.front();
  if (word.size() < 2 || word[0] != '-')
    throw config_error(fmt::format("{}: unexpected argument '{}'", command_line_place, word));
  word = word.substr(0, word.find('='));
  throw config_error(fmt::format("{}: unknown option '{}'{}", command_line_place, word,
                                 detail::did_you_mean(word, known)));
}

/// CLI11 takes "--key=" for "--key", and the next argument for its value.
void refuse_empty_values(const std::vector<std::string>& arguments) {
  for (auto& argument : arguments)
    if (argument.starts_with("--") && argument.size() > 3 && argument.ends_with('=') &&
        argument.find('=') == argument.size() - 1)
      throw config_error(fmt::format("{}: {} needs a value", command_line_place,
                                     argument.substr(0, argument.size() - 1)));
}

std::vector<std::string> option_names(std::span<const key> table) {
  std::vector<std::string> names = {"--config", "--print-config", "--help", "--version"};
  for (auto& k : table) {
    names.push_back(k.option());
    for (auto& one : detail::split_at_commas(k.short_forms))
      if (!one.empty()) names.push_back(one);
  }
  return names;
}

void parse_arguments(CLI::App& app, std::vector<std::string> arguments,
                     std::span<const key> table) {
  refuse_empty_values(arguments);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ArgumentMismatch& error) {
    std::string what = error.what();
    throw config_error(
        fmt::format("{}: {} needs a value", command_line_place, what.substr(0, what.find(':'))));
  } catch (const CLI::ParseError& error) {
    throw config_error(fmt::format("{}: {}", command_line_place, error.what()));
  }
  if (auto left = app.remaining(); !left.empty()) refuse_leftovers(left, option_names(table));
}

}  // namespace

/// `option` is "--name", perhaps with short forms behind commas.
void config_parser::impl::add(const std::string& option, own_option what) {
  const auto comma = std::min(option.find(','), option.size());
  assert(option.starts_with("--") && comma > 2 && "an option is called --name");
  what.name = option.substr(2, comma - 2);
  [[maybe_unused]] const bool taken =
      std::any_of(detail::keys().begin(), detail::keys().end(),
                  [&](auto& k) { return k.name == what.name || k.section() == what.name; });
  assert(!taken && what.name != "network" && "weir has a key or a section of this name");
  what.short_forms = option.substr(comma);
  own.push_back(std::move(what));
}

namespace {

/// The keys of networks that the command line names: --network.lan.device weir1.
std::vector<key> networks_named_in(const std::vector<std::string>& arguments,
                                   detail::network_keys& networks) {
  std::vector<key> out;
  for (const auto& one : arguments) {
    if (!one.starts_with("--network.")) continue;
    const auto name = one.substr(10, one.find('.', 10) - 10);
    const auto keys = networks.of(name);
    if (keys.empty())
      throw config_error(fmt::format("{}: {}: {}", command_line_place, one.substr(0, one.find('=')),
                                     detail::network_rule));
    if (std::ranges::find(out, keys.front().name, &key::name) == out.end())
      out.insert(out.end(), keys.begin(), keys.end());
  }
  return out;
}

}  // namespace

/// Weir's keys, and the program's own, which put their values into `given`.
std::vector<key> config_parser::impl::table(std::vector<given_values>& given) const {
  std::vector<key> out(detail::keys().begin(), detail::keys().end());
  given.resize(own.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    auto& o = own[i];
    auto& values = given[i].values;
    if (o.kind != key_kind::list) values = {o.initial};
    key k{o.name, o.kind, o.placeholder, o.help, "", {}, {}};
    k.allowed = o.kind == key_kind::boolean ? "true or false"
                : o.kind == key_kind::list  ? "a list of texts"
                                            : "a text or a number";
    k.short_forms = o.short_forms;
    k.assign = [&values, kind = o.kind](config&, std::span<const std::string> to) {
      if (kind == key_kind::boolean && to[0] != "true" && to[0] != "false") return false;
      values.assign(to.begin(), to.end());
      return true;
    };
    k.show = [&values](const config&) { return values; };
    out.push_back(std::move(k));
  }
  return out;
}

void config_parser::impl::declare(CLI::App& app, std::span<const key> table) const {
  app.allow_extras();
  app.set_help_flag();
  app.get_formatter()->column_width(36);
  const auto declare_key = [&](const key& k) {
    declare_one(app, k.option() + k.short_forms, k.placeholder, help_of(k),
                k.kind == key_kind::boolean)
        ->group(group_of(k));
  };
  for (auto& k : table)
    if (!is_weirs(k)) declare_key(k);
  declare_one(app, "--config", "FILE", "read this TOML file", false)->group("Configuration");
  declare_one(app, "--print-config", "", "print the effective configuration as TOML, and exit",
              true)
      ->group("Configuration");
  declare_one(app, "--help", "", "print this, and exit", true)->group("Configuration");
  declare_one(app, "--version", "", "print the version, and exit", true)->group("Configuration");
  for (auto& k : table)
    if (is_weirs(k)) declare_key(k);
  app.footer(
      "Each key, this program's own too, may also stand in the file (backlog = 5 under [listen])\n"
      "and in the environment (WEIR_LISTEN_BACKLOG=5, lists with commas). The command line wins\n"
      "over the environment, that over the file.");
}

void config_parser::impl::take_own(const std::vector<given_values>& given) const {
  for (std::size_t i = 0; i < own.size(); ++i) {
    auto& o = own[i];
    auto& [values, place] = given[i];
    if (place.empty()) continue;
    if (o.truth != nullptr) *o.truth = values[0] == "true";
    if (o.target != nullptr) *o.target = values[0];
    if (!o.accept) continue;
    for (auto& one : values)
      if (auto why = o.accept(one); !why.empty())
        throw config_error(fmt::format("{}: {} = '{}': {}", place, o.name, one, why));
  }
}

config_parser::impl::outcome config_parser::impl::parse(
    std::vector<std::string> arguments, std::span<const std::string> environment) const {
  std::vector<given_values> given;
  auto keys = table(given);
  detail::network_keys networks;
  const auto of_networks = networks_named_in(arguments, networks);
  auto all = keys;
  all.insert(all.end(), of_networks.begin(), of_networks.end());
  CLI::App app(summary, name);
  declare(app, all);
  parse_arguments(app, std::move(arguments), all);
  auto asked = [&](const char* flag) {
    auto results = app.get_option(flag)->results();
    return !results.empty() && truth_of(flag, results.back());
  };
  outcome out;
  if (asked("--help")) out.wanted = request::help;
  if (asked("--version")) out.wanted = request::version;
  if (out.wanted != request::run) return out;

  std::map<std::string, std::string, std::less<>> places;
  auto apply_all = [&](const std::vector<setting>& settings) {
    for (auto& s : settings) {
      detail::apply(s, out.settings);
      places[s.what->name] = s.place;
    }
  };
  auto files = app.get_option("--config")->results();
  if (!files.empty()) apply_all(detail::read_file(files.back(), keys, networks, unknown_in_files));
  std::vector<std::string> warnings;
  apply_all(detail::read_environment(environment, keys, networks, warnings));
  for (auto& one : warnings) detail::log_line(one);
  apply_all(settings_of(app, all));
  detail::check_together(out.settings, [&](std::string_view key) {
    auto found = places.find(key);
    return found == places.end() ? std::string("default") : found->second;
  });
  for (std::size_t i = 0; i < own.size(); ++i)
    if (auto found = places.find(own[i].name); found != places.end())
      given[i].place = found->second;
  take_own(given);
  if (asked("--print-config")) {
    out.wanted = request::print_config;
    for (const auto& one : out.settings.networks) {
      const auto of_one = networks.of(one.name);
      keys.insert(keys.end(), of_one.begin(), of_one.end());
    }
    out.toml = detail::to_toml(keys, out.settings);
  }
  out.settings = detail::with_default_network(std::move(out.settings));
  return out;
}

config_parser::config_parser(std::string name, std::string summary)
    : impl_(std::make_unique<impl>()) {
  impl_->name = std::move(name);
  impl_->summary = std::move(summary);
}
config_parser::~config_parser() = default;

void config_parser::repeated(const std::string& option, const std::string& placeholder,
                             const std::string& help,
                             std::function<std::string(std::string_view)> accept) {
  impl_->add(option, {key_kind::list, placeholder, help, "", std::move(accept)});
}

void config_parser::value(const std::string& option, const std::string& placeholder,
                          const std::string& help, const std::string& initial,
                          std::function<std::string(std::string_view)> accept) {
  const auto shown = initial.empty() ? help : fmt::format("{} [{}]", help, initial);
  impl_->add(option, {key_kind::plain, placeholder, shown, initial, std::move(accept)});
}

void config_parser::value(const std::string& option, const std::string& placeholder,
                          const std::string& help, std::string& target) {
  value(option, placeholder, help, target, {});
  impl_->own.back().target = &target;
}

void config_parser::flag(const std::string& option, const std::string& help, bool& target) {
  impl_->add(option, {key_kind::boolean, "", help, target ? "true" : "false"});
  impl_->own.back().truth = &target;
}

void config_parser::pass_over_unknown_keys_in_files() {
  impl_->unknown_in_files = detail::unknown_keys::passed_over;
}

config config_parser::parse(const std::vector<std::string>& arguments,
                            const std::vector<std::string>& environment) const {
  return impl_->parse(arguments, environment).settings;
}

std::string config_parser::help() const {
  CLI::App app(impl_->summary, impl_->name);
  std::vector<given_values> given;
  auto keys = impl_->table(given);
  const auto networks = detail::network_keys::of_any();
  keys.insert(keys.end(), networks.begin(), networks.end());
  impl_->declare(app, keys);
  return app.help();
}

config config_parser::parse_or_exit(int argc, char** argv) const {
  std::vector<std::string> environment;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable)
    environment.emplace_back(*variable);
  try {
    auto got = impl_->parse({argv + (argc > 0 ? 1 : 0), argv + argc}, environment);
    if (got.wanted == request::run) return std::move(got.settings);
    if (got.wanted == request::help) fmt::print("{}", help());
    if (got.wanted == request::version) fmt::print("{} (weir {})\n", impl_->name, WEIR_VERSION);
    if (got.wanted == request::print_config) fmt::print("{}", got.toml);
    bool written = std::fflush(stdout) == 0;
    std::exit(written ? 0 : 1);
  } catch (const config_error& error) {
    fmt::print(stderr, "{}: {}\n", impl_->name, error.what());
    std::exit(2);
  }
}

config config::from_args(int argc, char** argv) {
  std::string name = argc > 0 ? argv[0] : "weir";
  if (auto slash = name.rfind('/'); slash != std::string::npos) name = name.substr(slash + 1);
  return config_parser(name, "A server on weir.").parse_or_exit(argc, argv);
}

}  // namespace weir

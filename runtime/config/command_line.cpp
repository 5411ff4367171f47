// config_parser: a program's command line, on CLI11, and the order in which the places of a
// configuration apply: defaults, file, environment, command line.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "config/keys.hpp"

namespace weir {
namespace {

constexpr const char* command_line_place = "command line";

/// Every value that was given, in order, untouched: what it means is this file's business.
CLI::callback_t keep() {
  return [](const CLI::results_t&) { return true; };
}

struct own_option {
  std::string name, placeholder, help;
  std::function<std::string(std::string_view)> accept;  // of repeated()
  std::string* target = nullptr;                        // of value()
  bool* truth = nullptr;                                // of flag()
};

/// What a command line asks for beyond a configuration.
enum class request { run, help, version, print_config };

struct parsed {
  config settings;
  request wanted = request::run;
};

}  // namespace

struct config_parser::impl {
  std::string name, summary;
  std::vector<own_option> own;

  parsed parse(std::vector<std::string> arguments, std::span<const std::string> environment) const;
  void declare(CLI::App& app) const;
  void take_own(const CLI::App& app) const;
  std::vector<std::string> option_names() const;
};

namespace {

using detail::key;
using detail::key_kind;
using detail::setting;

std::string group_of(const key& k) {
  auto section = k.section();
  return section.empty() ? "Back end and threads" : "[" + section + "]";
}

std::string help_of(const key& k) {
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

std::vector<setting> settings_of(const CLI::App& app) {
  std::vector<setting> out;
  for (auto& k : detail::keys()) {
    auto given = app.get_option(k.option())->results();
    if (given.empty()) continue;
    if (k.kind != key_kind::list) given.erase(given.begin(), given.end() - 1);  // the last one wins
    std::vector<std::string> values;
    for (auto& one : given)
      for (std::size_t from = 0; from <= one.size();) {
        auto comma = k.kind == key_kind::list ? one.find(',', from) : std::string::npos;
        auto end = comma == std::string::npos ? one.size() : comma;
        values.push_back(one.substr(from, end - from));
        from = end + 1;
      }
    out.push_back({&k, std::move(values), command_line_place});
  }
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

void parse_arguments(CLI::App& app, std::vector<std::string> arguments,
                     const std::vector<std::string>& known) {
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
  if (auto left = app.remaining(); !left.empty()) refuse_leftovers(left, known);
}

}  // namespace

void config_parser::impl::declare(CLI::App& app) const {
  app.allow_extras();
  app.set_help_flag();
  app.get_formatter()->column_width(36);
  for (auto& o : own)
    declare_one(app, o.name, o.placeholder, o.help, o.truth != nullptr)->group("This program");
  declare_one(app, "--config", "FILE", "read this TOML file", false)->group("Configuration");
  declare_one(app, "--print-config", "", "print the effective configuration as TOML, and exit",
              true)
      ->group("Configuration");
  declare_one(app, "--help", "", "print this, and exit", true)->group("Configuration");
  declare_one(app, "--version", "", "print the version, and exit", true)->group("Configuration");
  for (auto& k : detail::keys())
    declare_one(app, k.option(), k.placeholder, help_of(k), k.kind == key_kind::boolean)
        ->group(group_of(k));
  app.footer(
      "Each key may also stand in the file (backlog = 5 under [listen]) and in the environment\n"
      "(WEIR_LISTEN_BACKLOG=5). The command line wins over the environment, that over the file.");
}

void config_parser::impl::take_own(const CLI::App& app) const {
  for (auto& o : own) {
    auto given = app.get_option(o.name)->results();
    if (given.empty()) continue;
    if (o.truth != nullptr) *o.truth = truth_of(o.name, given.back());
    if (o.target != nullptr) *o.target = given.back();
    if (!o.accept) continue;
    for (auto& one : given)
      if (auto why = o.accept(one); !why.empty())
        throw config_error(fmt::format("{}: {} {}: {}", command_line_place, o.name, one, why));
  }
}

std::vector<std::string> config_parser::impl::option_names() const {
  std::vector<std::string> names = {"--config", "--print-config", "--help", "--version"};
  for (auto& o : own) names.push_back(o.name);
  for (auto& k : detail::keys()) names.push_back(k.option());
  return names;
}

parsed config_parser::impl::parse(std::vector<std::string> arguments,
                                  std::span<const std::string> environment) const {
  CLI::App app(summary, name);
  declare(app);
  parse_arguments(app, std::move(arguments), option_names());
  auto asked = [&](const char* flag) {
    auto given = app.get_option(flag)->results();
    return !given.empty() && truth_of(flag, given.back());
  };
  parsed out;
  if (asked("--help")) {
    out.wanted = request::help;
    return out;
  }
  if (asked("--version")) {
    out.wanted = request::version;
    return out;
  }

  std::map<std::string, std::string, std::less<>> places;
  auto apply_all = [&](const std::vector<setting>& settings) {
    for (auto& s : settings) {
      detail::apply(s, out.settings);
      places[s.what->name] = s.place;
    }
  };
  auto files = app.get_option("--config")->results();
  if (!files.empty()) apply_all(detail::read_file(files.back()));
  apply_all(detail::read_environment(environment));
  apply_all(settings_of(app));
  detail::check_together(out.settings, [&](std::string_view key) {
    auto found = places.find(key);
    return found == places.end() ? std::string("default") : found->second;
  });
  take_own(app);
  if (asked("--print-config")) out.wanted = request::print_config;
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
  impl_->own.push_back({option, placeholder, help, std::move(accept)});
}

void config_parser::value(const std::string& option, const std::string& placeholder,
                          const std::string& help, std::string& target) {
  auto text = target.empty() ? help : fmt::format("{} [{}]", help, target);
  impl_->own.push_back({option, placeholder, text, {}, &target});
}

void config_parser::flag(const std::string& option, const std::string& help, bool& target) {
  impl_->own.push_back({option, "", help, {}, nullptr, &target});
}

config config_parser::parse(const std::vector<std::string>& arguments,
                            const std::vector<std::string>& environment) const {
  return impl_->parse(arguments, environment).settings;
}

std::string config_parser::help() const {
  CLI::App app(impl_->summary, impl_->name);
  impl_->declare(app);
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
    if (got.wanted == request::print_config) fmt::print("{}", got.settings.to_toml());
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

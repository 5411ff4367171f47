// Reads a TOML file into settings. Never applies them, and never believes the file: its size is
// bounded before it is parsed, and every key must be in the table.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <fmt/format.h>
// As headers only, whatever the package's own default is: an installed weir must not need toml++'s
// library.
#undef TOML_SHARED_LIB
#undef TOML_HEADER_ONLY
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "config/keys.hpp"

namespace weir::detail {
namespace {

constexpr std::size_t largest_file = 1u << 20;

std::string read_whole(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                       &std::fclose);
  if (!file) throw config_error(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  std::string text(largest_file + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0)
    throw config_error(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  if (text.size() > largest_file)
    throw config_error(fmt::format("{}: longer than {} bytes", path, largest_file));
  return text;
}

std::vector<std::string> key_names() {
  std::vector<std::string> names;
  for (auto& k : keys()) names.push_back(k.name);
  return names;
}

bool is_section(std::string_view name) {
  for (auto& k : keys())
    if (k.section() == name) return true;
  return false;
}

class reader {
 public:
  explicit reader(const std::string& path) : path_(path) {}

  void read_table(const toml::table& table, const std::string& prefix) {
    for (auto&& [short_key, node] : table) {
      std::string name = prefix + std::string(short_key.str());
      auto place = fmt::format("{}:{}", path_, short_key.source().begin.line);
      if (auto* section = node.as_table();
          section != nullptr && prefix.empty() && is_section(name)) {
        read_table(*section, name + ".");
        continue;
      }
      auto* known = find_key(name);
      if (known == nullptr) {
        auto kind = node.is_table() ? "section" : "key";
        throw config_error(fmt::format("{}: unknown {} '{}'{}", place, kind, name,
                                       did_you_mean(name, key_names())));
      }
      settings.push_back({known, values_of(*known, node, place), place});
    }
  }

  std::vector<setting> settings;

 private:
  static std::vector<std::string> values_of(const key& known, const toml::node& node,
                                            const std::string& place) {
    std::vector<std::string> values;
    if (auto* array = node.as_array(); array != nullptr && known.kind == key_kind::list) {
      for (auto& element : *array)
        if (auto text = element.value_exact<std::string>()) values.push_back(*text);
      if (values.size() == array->size() && !values.empty()) return values;
    } else if (auto text = node.value_exact<std::string>()) {
      return {*text};
    } else if (auto number = node.value_exact<std::int64_t>();
               number && known.kind == key_kind::number) {
      return {std::to_string(*number)};
    } else if (auto truth = node.value_exact<bool>(); truth && known.kind == key_kind::boolean) {
      return {*truth ? "true" : "false"};
    }
    throw config_error(fmt::format("{}: {}: must be {}", place, known.name, known.allowed));
  }

  const std::string& path_;
};

}  // namespace

std::vector<setting> read_file(const std::string& path) {
  auto text = read_whole(path);
  reader into(path);
  try {
    auto table = toml::parse(std::string_view(text), std::string_view(path));
    into.read_table(table, "");
  } catch (const toml::parse_error& error) {
    auto at = error.source().begin;
    std::string why(error.description());
    for (auto& c : why)
      if (c == '\n' || c == '\r') c = ' ';
    throw config_error(fmt::format("{}:{}:{}: {}", path, at.line, at.column, why));
  }
  return std::move(into.settings);
}

}  // namespace weir::detail

// Reads a TOML file into settings. Never applies them, and never believes the file: its size is
// bounded before it is parsed, and every key must be in the table.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
// As headers only, whatever the package's own default is: an installed weir must not need toml++'s
// library.
#undef TOML_SHARED_LIB
#undef TOML_HEADER_ONLY
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "runtime/config/keys.hpp"

namespace weir::detail {
namespace {

constexpr std::size_t largest_file = 1u << 20;

[[noreturn]] void unreadable(const std::string& path, const std::string& why) {
  throw config_error(fmt::format("{}: cannot be read: {}", path, why));
}

/// Of a FIFO that somebody has open to write: he may take his time.
void wait_for_writer(const std::string& path, int fd) {
  constexpr int patience_ms = 10'000;
  pollfd watched{fd, POLLIN, 0};
  if (::poll(&watched, 1, patience_ms) == 0) unreadable(path, "its writer says nothing");
}

struct descriptor {
  int fd;
  ~descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::string read_whole(const std::string& path) {
  // Without waiting: the start of a server does not hang on a FIFO that nobody writes to.
  const descriptor file{::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (file.fd < 0) unreadable(path, std::strerror(errno));
  std::string text(largest_file + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const auto n = ::read(file.fd, text.data() + size, text.size() - size);
    if (n < 0 && errno == EAGAIN) wait_for_writer(path, file.fd);
    if (n < 0 && errno != EINTR && errno != EAGAIN) unreadable(path, std::strerror(errno));
    if (n == 0) break;
    if (n > 0) size += static_cast<std::size_t>(n);
  }
  struct stat about{};
  if (size == 0 && ::fstat(file.fd, &about) == 0 && S_ISFIFO(about.st_mode))
    unreadable(path, "a FIFO that nobody writes to");
  if (size > largest_file)
    throw config_error(fmt::format("{}: longer than {} bytes", path, largest_file));
  text.resize(size);
  return text;
}

class reader {
 public:
  reader(const std::string& path, std::span<const key> table, network_keys& networks,
         unknown_keys unknown)
      : path_(path), table_(table), networks_(networks), unknown_(unknown) {}

  void read_table(const toml::table& from, const std::string& prefix) {
    for (auto&& [short_key, node] : from) {
      const std::string name = prefix + std::string(short_key.str());
      const auto place = fmt::format("{}:{}", path_, short_key.source().begin.line);
      const auto* section = node.as_table();
      if (section != nullptr && name == "network") {
        read_networks(*section);
        continue;
      }
      if (section != nullptr && prefix.empty() && is_section(name)) {
        read_table(*section, name + ".");
        continue;
      }
      const auto known =
          std::find_if(table_.begin(), table_.end(), [&](auto& k) { return k.name == name; });
      if (known != table_.end())
        settings.push_back({&*known, values_of(*known, node, place), place});
      else if (unknown_ == unknown_keys::refused)
        refuse(name, section != nullptr, place);
    }
  }

  /// [network.NAME]s. One without a key is there, too.
  void read_networks(const toml::table& from) {
    for (auto&& [name, node] : from) {
      const auto place = fmt::format("{}:{}", path_, name.source().begin.line);
      const auto* section = node.as_table();
      if (section == nullptr || !is_network_name(name.str()))
        throw config_error(fmt::format("{}: 'network.{}': {}", place, name.str(),
                                       section == nullptr ? "must be a section" : network_rule));
      const auto keys = networks_.of(name.str());
      settings.push_back({&keys.front(), keys.front().show(config{}), place});
      reader inside(path_, keys, networks_, unknown_);
      inside.read_table(*section, fmt::format("network.{}.", name.str()));
      settings.insert(settings.end(), inside.settings.begin(), inside.settings.end());
    }
  }

  std::vector<setting> settings;

 private:
  bool is_section(std::string_view name) const {
    return std::any_of(table_.begin(), table_.end(), [&](auto& k) { return k.section() == name; });
  }

  [[noreturn]] void refuse(const std::string& name, bool section, const std::string& place) const {
    std::vector<std::string> names;
    for (auto& k : table_) names.push_back(k.name);
    throw config_error(fmt::format("{}: unknown {} '{}'{}", place, section ? "section" : "key",
                                   name, did_you_mean(name, names)));
  }

  static std::vector<std::string> values_of(const key& known, const toml::node& node,
                                            const std::string& place) {
    using enum key_kind;
    std::vector<std::string> values;
    if (auto* array = node.as_array(); array != nullptr && known.kind == list) {
      for (auto& element : *array)
        if (auto text = element.value_exact<std::string>()) values.push_back(*text);
      if (values.size() == array->size()) return values;
    } else if (auto text = node.value_exact<std::string>()) {
      return {*text};
    } else if (auto whole = node.value_exact<std::int64_t>();
               whole && (known.kind == number || known.kind == plain)) {
      return {std::to_string(*whole)};
    } else if (auto real = node.value_exact<double>(); real && known.kind == plain) {
      return {fmt::format("{}", *real)};
    } else if (auto truth = node.value_exact<bool>(); truth && known.kind == boolean) {
      return {*truth ? "true" : "false"};
    }
    throw config_error(fmt::format("{}: {}: must be {}", place, known.name, known.allowed));
  }

  const std::string& path_;
  std::span<const key> table_;
  network_keys& networks_;
  unknown_keys unknown_;
};

/// Whether the line, counted from 1, may show the value of a secret key.
bool tells_a_secret(std::string_view text, std::size_t line, std::span<const key> table) {
  for (; line > 1 && !text.empty(); --line)
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  text = text.substr(0, text.find('\n'));
  return std::any_of(table.begin(), table.end(), [&](auto& k) {
    return k.secret && text.find(k.name.substr(k.name.rfind('.') + 1)) != std::string_view::npos;
  });
}

}  // namespace

std::vector<setting> read_file(const std::string& path, std::span<const key> table,
                               network_keys& networks, unknown_keys unknown) {
  auto text = read_whole(path);
  reader into(path, table, networks, unknown);
  try {
    into.read_table(toml::parse(std::string_view(text), std::string_view(path)), "");
  } catch (const toml::parse_error& error) {
    const auto at = error.source().begin;
    // The parser's words quote what they are about.
    std::string why(tells_a_secret(text, at.line, table) ? "is no TOML" : error.description());
    std::replace(why.begin(), why.end(), '\n', ' ');
    throw config_error(fmt::format("{}:{}:{}: {}", path, at.line, at.column, why));
  }
  return std::move(into.settings);
}

}  // namespace weir::detail

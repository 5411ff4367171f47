// resolv.conf(5) and hosts(5).
#include "runtime/resolve/files.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>

#include "runtime/resolve/message.hpp"

namespace weir::detail {
namespace {

constexpr std::uint16_t dns_port = 53;

/// The line's words, without what follows '#' or ';'.
std::vector<std::string_view> words_of(std::string_view line) {
  line = line.substr(0, line.find_first_of("#;"));
  std::vector<std::string_view> out;
  while (!line.empty()) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) break;
    line.remove_prefix(begin);
    const auto end = std::min(line.find_first_of(" \t\r"), line.size());
    out.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return out;
}

template <class Each>
void for_each_line(std::string_view text, Each each) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (auto words = words_of(text.substr(0, end)); words.size() >= 2) each(words);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

void read_option(std::string_view option, resolver_settings& into) {
  constexpr std::string_view ndots = "ndots:";
  constexpr unsigned most = 15;  // as resolv.conf(5) has it
  if (!option.starts_with(ndots)) return;
  option.remove_prefix(ndots.size());
  unsigned value = 0;
  const auto end = std::from_chars(option.data(), option.data() + option.size(), value);
  if (end.ec == std::errc()) into.ndots = std::min(value, most);
}

}  // namespace

void read_resolv_conf(std::string_view text, resolver_settings& into) {
  for_each_line(text, [&](const std::vector<std::string_view>& words) {
    if (words[0] == "nameserver") {
      auto address = ip_address::parse(words[1]);
      if (address && into.servers.size() < max_servers)
        into.servers.emplace_back(*address, dns_port);
    } else if (words[0] == "search" || words[0] == "domain") {
      into.search.clear();  // the last such line counts
      for (std::size_t i = 1; i < words.size() && into.search.size() < max_search; ++i)
        if (auto name = host_name(words[i]); !name.empty()) into.search.push_back(std::move(name));
    } else if (words[0] == "options") {
      for (auto word : words) read_option(word, into);
    }
  });
}

hosts_table::hosts_table(std::string_view text) {
  for_each_line(text.substr(0, max_file), [&](const std::vector<std::string_view>& words) {
    auto address = ip_address::parse(words[0]);
    if (!address) return;
    for (std::size_t i = 1; i < words.size(); ++i) {
      auto name = host_name(words[i]);
      if (name.empty()) continue;
      names_.emplace(*address, name);
      addresses_.emplace(std::move(name), *address);
    }
  });
}

std::vector<ip_address> hosts_table::addresses(const std::string& name) const {
  std::vector<ip_address> out;
  const auto [begin, end] = addresses_.equal_range(name);
  for (auto i = begin; i != end; ++i)
    if (std::ranges::find(out, i->second) == out.end()) out.push_back(i->second);
  return out;
}

std::vector<std::string> hosts_table::names(const ip_address& address) const {
  std::vector<std::string> out;
  const auto [begin, end] = names_.equal_range(address);
  for (auto i = begin; i != end; ++i)
    if (std::ranges::find(out, i->second) == out.end()) out.push_back(i->second);
  return out;
}

std::string read_small_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(max_file, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

}  // namespace weir::detail

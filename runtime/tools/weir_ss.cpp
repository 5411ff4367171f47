// weir-ss: what a running server's sockets are doing, in the manner of ss(8). It asks the server's
// admin endpoint (observe.listen), and so sees the stack's own sockets, which no kernel knows, as
// well as the kernel's.
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/core/log.hpp"
#include "runtime/tools/asked_server.hpp"
#include "runtime/tools/http_get.hpp"
#include "runtime/tools/socket_tables.hpp"
#include "weir/config.hpp"

namespace {

constexpr int exit_no_answer = 1;
constexpr int exit_usage = 2;
constexpr const char* program = "weir-ss";

struct letter {
  char name;
  const char* option;
};
constexpr letter letters[] = {{'l', "--listening"}, {'a', "--all"},       {'t', "--tcp"},
                              {'u', "--udp"},       {'i', "--info"},      {'n', "--numeric"},
                              {'p', "--processes"}, {'H', "--no-header"}, {'j', "--json"},
                              {'h', "--help"}};

const char* option_of(char name) {
  for (auto& one : letters)
    if (one.name == name) return one.option;
  return nullptr;
}

bool is_flag(std::string_view word) {
  for (auto& one : letters)
    if (word == one.option) return true;
  return word == "--version" || word == "--print-config";
}

/// -tlnp into long options, and an address into --observe.listen: weir's parser knows just those.
std::vector<std::string> spelled_out(int argc, char** argv) {
  std::vector<std::string> out = {program};
  bool value_follows = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool is_value = value_follows;
    value_follows = false;
    if (is_value) {
      out.emplace_back(word);
    } else if (word.starts_with("--")) {
      value_follows = word.find('=') == std::string_view::npos && !is_flag(word);
      out.emplace_back(word);
    } else if (word.size() > 1 && word[0] == '-') {
      for (char c : word.substr(1)) {
        const auto* option = option_of(c);
        out.push_back(option != nullptr ? option : std::string("-") + c);
      }
    } else if (auto address = ss::address_in(word)) {
      out.push_back("--observe.listen=" + *address);
    } else {
      out.emplace_back(word);
    }
  }
  return out;
}

int show(const weir::endpoint& where, const ss::selection& wanted, bool json) {
  auto got = ss::http_get(where, "/sockets?connections=4096");
  const auto no_weir = [&](std::string_view why) {
    fmt::print(stderr, "{}: {}: what listens there is no admin endpoint of weir ({})\n", program,
               where.to_string(), weir::detail::printable(why));
    return exit_no_answer;
  };
  if (got.status != 200) return no_weir(fmt::format("HTTP status {}", got.status));
  try {
    const auto sockets = nlohmann::json::parse(got.body);
    const auto tables = ss::to_tables(sockets, wanted);
    if (!ss::print(json ? got.body : tables)) return exit_no_answer;
    if (const auto left_out = sockets.at("connections_left_out").get<std::uint64_t>();
        left_out != 0 && !wanted.listening)
      fmt::print(stderr, "{}: {} more connections are not shown\n", program, left_out);
    for (auto& shard : sockets.at("silent_shards"))
      fmt::print(stderr, "{}: shard {} does not answer\n", program, shard.get<unsigned>());
  } catch (const nlohmann::json::exception& error) {
    return no_weir(error.what());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ss::selection wanted;
  bool json = false, numeric = false, no_header = false;
  weir::config_parser parser(
      program,
      "What a server's sockets are doing: weir-ss [-ltuainpH] [ADDR:PORT]. ADDR:PORT is the "
      "server's observe.listen, which may also come from --config or the environment.");
  parser.flag("--ss.listening,--listening", "-l: listeners, instead of connections",
              wanted.listening);
  parser.flag("--ss.all,--all", "-a: listeners, connections and UDP sockets", wanted.all);
  parser.flag("--ss.info,--info", "-i: TCP's numbers on a second line", wanted.info);
  parser.flag("--ss.processes,--processes", "-p: which program and shard holds a socket",
              wanted.processes);
  parser.flag("--ss.no-header,--no-header", "-H: no line of titles", no_header);
  parser.flag("--ss.json,--json", "-j: what the server says, as it is", json);
  parser.flag("--ss.tcp,--tcp", "-t: TCP connections, which is what is shown if nothing is said",
              wanted.tcp);
  parser.flag("--ss.udp,--udp", "-u: UDP sockets", wanted.udp);
  parser.flag("--ss.numeric,--numeric", "-n: numbers instead of names, as always", numeric);
  parser.pass_over_unknown_keys_in_files();  // the file is the server's
  auto words = spelled_out(argc, argv);
  std::vector<char*> pointers;
  pointers.reserve(words.size());
  for (auto& word : words) pointers.push_back(word.data());
  const auto settings = parser.parse_or_exit(static_cast<int>(pointers.size()), pointers.data());
  wanted.header = !no_header;
  const auto where = weir::endpoint::parse(settings.observe.listen);
  if (!where || where->port == 0) {
    fmt::print(stderr,
               "{}: which server? Give the ADDR:PORT of its observe.listen, as an argument, in "
               "WEIR_OBSERVE_LISTEN or with --config FILE\n",
               program);
    return exit_usage;
  }
  try {
    return show(ss::reachable(*where), wanted, json);
  } catch (const ss::get_error& error) {
    fmt::print(stderr, "{}: {}\n", program, weir::detail::printable(error.what()));
    return exit_no_answer;
  }
}

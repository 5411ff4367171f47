// weir-ps: what every coroutine of a running server waits for, since when, and at which line of its
// source. It asks the server's admin endpoint (observe.listen).
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
#include "runtime/tools/task_tables.hpp"
#include "weir/config.hpp"

namespace {

constexpr int exit_no_answer = 1;
constexpr int exit_usage = 2;
constexpr const char* program = "weir-ps";

struct wishes {
  ps::form form = ps::form::list;
  bool json = false;
  bool header = true;
  std::uint64_t stuck_ms = 0;
  std::uint64_t most = 1000;
};

/// An address into --observe.listen: weir's parser knows just that.
std::vector<std::string> spelled_out(int argc, char** argv) {
  std::vector<std::string> out = {program};
  bool value_follows = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    auto address = value_follows || word.starts_with("-") ? std::nullopt : ss::address_in(word);
    value_follows = word == "--stuck" || word == "--most" || word == "--config";
    out.push_back(address ? "--observe.listen=" + *address : std::string(word));
  }
  return out;
}

int show(const weir::endpoint& where, const wishes& wanted) {
  const auto listed = wanted.form == ps::form::groups ? 0 : wanted.most;
  const auto got =
      ss::http_get(where, fmt::format("/tasks?listed={}&stuck_ms={}", listed, wanted.stuck_ms));
  const auto no_weir = [&](std::string_view why) {
    fmt::print(stderr, "{}: {}: what listens there is no admin endpoint that knows tasks ({})\n",
               program, where.to_string(), weir::detail::printable(why));
    return exit_no_answer;
  };
  if (got.status != 200) return no_weir(fmt::format("HTTP status {}", got.status));
  try {
    const auto tasks = nlohmann::json::parse(got.body);
    const auto text = ps::to_text(tasks, wanted.form, wanted.header);
    if (!ss::print(wanted.json ? got.body : text)) return exit_no_answer;
    if (const auto left = tasks.at("tasks_left_out").get<std::uint64_t>();
        left != 0 && wanted.form != ps::form::groups)
      fmt::print(stderr, "{}: {} more are not shown; --group counts them all\n", program, left);
    for (const auto& one : tasks.at("silent_shards")) {
      fmt::print(stderr, "{}: shard {} does not turn", program, one.at("shard").get<unsigned>());
      if (one.contains("resumed"))
        fmt::print(stderr, ": it resumed {}, which had waited at {}",
                   weir::detail::printable(one["resumed"].at("function").get<std::string>()),
                   weir::detail::printable(one["resumed"].at("place").get<std::string>()));
      fmt::print(stderr, "\n");
    }
    if (!tasks.at("places_known").get<bool>())
      fmt::print(stderr, "{}: the server was built without places (WEIR_WITH_TASKS)\n", program);
  } catch (const nlohmann::json::exception& error) {
    return no_weir(error.what());
  }
  return 0;
}

std::string read_count(std::string_view text, std::uint64_t& into) {
  constexpr std::uint64_t most = 100'000;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || value > most) return "must be a number up to 100000";
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (text.empty() || value > most) return "must be a number up to 100000";
  into = value;
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  wishes wanted;
  bool tree = false, group = false, no_header = false;
  weir::config_parser parser(
      program,
      "What every coroutine of a server waits for: weir-ps [--tree|--group] [--stuck 10s] "
      "ADDR:PORT. ADDR:PORT is the server's observe.listen, which may also come from --config or "
      "the environment.");
  parser.flag("--ps.tree,--tree", "each coroutine below the one that awaits it, scope and shard",
              tree);
  parser.flag("--ps.group,--group", "by place, with counts", group);
  parser.flag("--ps.no-header,--no-header", "no line of titles", no_header);
  parser.flag("--ps.json,--json", "what the server says, as it is", wanted.json);
  parser.value("--ps.stuck,--stuck", "TIME", "only what has waited for so long: 10s, 200ms, 5m", "",
               [&](std::string_view text) -> std::string {
                 const auto ms = ps::milliseconds_in(text);
                 if (!ms) return "must be a time: 10s, 200ms, 5m";
                 wanted.stuck_ms = *ms;
                 return "";
               });
  parser.value("--ps.most,--most", "N", "at most so many of each shard, the longest waits", "1000",
               [&](std::string_view text) { return read_count(text, wanted.most); });
  parser.pass_over_unknown_keys_in_files();  // the file is the server's
  auto words = spelled_out(argc, argv);
  std::vector<char*> pointers;
  pointers.reserve(words.size());
  for (auto& word : words) pointers.push_back(word.data());
  const auto settings = parser.parse_or_exit(static_cast<int>(pointers.size()), pointers.data());
  wanted.header = !no_header;
  wanted.form = group ? ps::form::groups : tree ? ps::form::tree : ps::form::list;
  const auto where = weir::endpoint::parse(settings.observe.listen);
  if (!where || where->port == 0) {
    fmt::print(stderr,
               "{}: which server? Give the ADDR:PORT of its observe.listen, as an argument, in "
               "WEIR_OBSERVE_LISTEN or with --config FILE\n",
               program);
    return exit_usage;
  }
  try {
    return show(ss::reachable(*where), wanted);
  } catch (const ss::get_error& error) {
    fmt::print(stderr, "{}: {}\n", program, weir::detail::printable(error.what()));
    return exit_no_answer;
  }
}

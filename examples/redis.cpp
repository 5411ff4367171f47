// redis: a server for strings in memory that speaks Redis' protocol (RESP 2), and with --to
// ADDR:PORT a client that sends one command, --command "SET name value", and shows the answer.
#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <weir/reader.hpp>
#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

constexpr long most_words = 1024;           // of a command or an answer
constexpr std::size_t longest = 64 * 1024;  // of its lines and strings

using words = std::vector<std::string>;
using keyspace = std::map<std::string, std::string>;
struct program {
  std::vector<examples::offer> offers;
  std::optional<weir::endpoint> to;
  std::string command;
};
using mistake = std::invalid_argument;

long number_in(std::string_view line, long most) {
  long out = 0;
  const auto read = std::from_chars(line.data() + 1, line.data() + line.size(), out);
  if (read.ec != std::errc() || read.ptr != line.data() + line.size() || out < 0 || out > most)
    throw mistake("a length that is none, or too long");
  return out;
}

std::string bulk(std::string_view text) { return fmt::format("${}\r\n{}\r\n", text.size(), text); }

/// One value; an array's elements one after another. Each with its type in front: "$text", ":12".
weir::task<words> read_value(weir::buffered_reader& from) {
  words out;
  for (long left = 1; left > 0; --left) {
    std::string line(weir::as_text(co_await from.read_until("\r\n")));
    line.resize(line.size() - 2);
    if (line.starts_with('*')) left += number_in(line, most_words - left);
    if (line.starts_with('$') && line != "$-1") {
      const auto size = static_cast<std::size_t>(number_in(line, longest - 2));
      line = "$" + std::string(weir::as_text(co_await from.read_exactly(size + 2)));
      if (!line.ends_with("\r\n")) throw mistake("a string without its end");
      line.resize(line.size() - 2);
    }
    if (line.empty()) throw mistake("a line without a type");
    if (line[0] != '*') out.push_back(std::move(line));
    if (out.size() > most_words) throw mistake("too many words");
  }
  co_return out;
}

std::string answer(keyspace& keys, const words& asked) {
  for (const auto& word : asked)
    if (!word.starts_with('$')) throw mistake("a command is made of strings");
  auto name = asked.empty() ? "" : asked[0].substr(1);
  for (auto& c : name) c = static_cast<char>(std::toupper(c));
  const auto n = asked.size();
  const auto word = [&](std::size_t i) { return asked[i].substr(1); };
  if (name == "PING") return n > 1 ? bulk(word(1)) : "+PONG\r\n";
  if (name == "SET" && n == 3) return keys[word(1)] = word(2), "+OK\r\n";
  if (name == "GET" && n == 2) {
    const auto found = keys.find(word(1));
    return found == keys.end() ? "$-1\r\n" : bulk(found->second);
  }
  if (name == "DEL" && n == 2) return fmt::format(":{}\r\n", keys.erase(word(1)));
  if (name == "MGET" && n > 1) {
    auto out = fmt::format("*{}\r\n", n - 1);
    for (std::size_t i = 1; i < n; ++i) out += answer(keys, {"$GET", asked[i]});
    return out;
  }
  return "-ERR unknown command, or not so many words\r\n";
}

weir::task<> session(weir::tcp_stream peer, keyspace& keys) {
  std::vector<std::byte> storage(longest);
  weir::buffered_reader from(peer, storage);
  std::string said;
  try {
    for (;;) {
      auto asked = co_await read_value(from);
      said += answer(keys, asked);
      if (!from.buffered().empty() && said.size() < longest) continue;  // pipelined
      co_await peer.write_all(said);
      said.clear();
    }
  } catch (const mistake& what) {
    said += fmt::format("-ERR Protocol error: {}\r\n", what.what());
  }
  co_await peer.write_all(said);
}

weir::task<> ask(weir::shard& shard, program& wanted) {
  auto peer = co_await shard.connect(*wanted.to);
  std::vector<std::byte> storage(longest);
  weir::buffered_reader from(peer, storage);
  words asked;
  std::istringstream text(wanted.command);
  for (std::string word; text >> word;) asked.push_back(bulk(word));
  const auto said = fmt::format("*{}\r\n{}", asked.size(), fmt::join(asked, ""));
  co_await peer.write_all(said);
  const auto got = co_await read_value(from);
  for (const auto& line : got) {
    fmt::print("{}\n", line == "$-1" ? "(nil)" : line.substr(1));
  }
}

weir::task<> serve(weir::shard& shard, program& wanted, examples::announcement& announce) {
  if (wanted.to) co_return co_await ask(shard, wanted);
  keyspace keys;
  auto listener = examples::listen_for(shard, wanted.offers.front());
  wanted.offers.front().where = listener.local_endpoint();
  announce.shard_listens(shard, wanted.offers);
  weir::scope sessions(shard, {.max = 10'000});
  while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer), keys));
  co_await sessions.drain(std::chrono::seconds(1));
}

}  // namespace

int main(int argc, char** argv) {
  program wanted;
  weir::config_parser parser("redis", "A small Redis, and its client.");
  parser.value("--redis", "ADDR:PORT", "serve here", "", [&](std::string_view text) {
    return examples::add_offer(wanted.offers, "redis", text);
  });
  parser.value("--to", "ADDR:PORT", "send --command there", "", [&](std::string_view text) {
    wanted.to = weir::endpoint::parse(text);
    return wanted.to ? "" : "must be ADDR:PORT";
  });
  parser.value("--command", "WORDS", "with spaces between them", wanted.command);
  const auto settings = parser.parse_or_exit(argc, argv);
  if ((wanted.offers.size() != 1) == !wanted.to || settings.shards != 1) {
    fmt::print(stderr, "redis: give --redis or --to, and one shard\n\n{}", parser.help());
    return 2;
  }
  examples::announcement announce("redis");
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, wanted, announce); });
}

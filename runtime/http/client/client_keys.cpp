// The keys of a client's settings in a program's configuration: [client] (weir/http/client.hpp).
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "weir/config.hpp"
#include "weir/http/client.hpp"

namespace weir::http {
namespace {

constexpr std::uint64_t longest_ms = 86'400'000;

/// Adds keys that are numbers. What `field` refers to has the default.
class numbers {
 public:
  explicit numbers(config_parser& parser) : parser_(parser) {}

  template <class Set>
  void add(const std::string& name, std::uint64_t least, std::uint64_t most, std::uint64_t initial,
           const std::string& help, Set set) {
    auto accept = [=](std::string_view text) -> std::string {
      std::uint64_t value = 0;
      const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (failure != std::errc{} || end != text.data() + text.size() || value < least ||
          value > most)
        return fmt::format("must be a number from {} to {}", least, most);
      set(value);
      return "";
    };
    parser_.value("--client." + name, "N", help, std::to_string(initial), accept);
  }
  template <class Number>
  void add(const std::string& name, std::uint64_t least, std::uint64_t most,
           const std::string& help, Number& field) {
    add(name, least, most, field, help,
        [&field](std::uint64_t value) { field = static_cast<Number>(value); });
  }
  void add_time(const std::string& name, const std::string& help, duration& field) {
    using std::chrono::milliseconds;
    const auto initial =
        field == no_limit ? 0 : std::chrono::duration_cast<milliseconds>(field).count();
    add(name, 0, longest_ms, static_cast<std::uint64_t>(initial), help + " (0 = no limit)",
        [&field](std::uint64_t value) {
          field = value == 0 ? no_limit : duration(milliseconds(value));
        });
  }

 private:
  config_parser& parser_;
};

}  // namespace

void add_client_keys(config_parser& parser, client_settings& into) {
  numbers keys(parser);
  keys.add_time("connect_timeout_ms", "to connect, names and handshakes included",
                into.connect_timeout);
  keys.add_time("write_timeout_ms", "for a server that does not read", into.write_timeout);
  keys.add_time("head_timeout_ms", "from the request's end to the answer's head",
                into.head_timeout);
  keys.add_time("body_timeout_ms", "between two pieces of an answer's body", into.body_timeout);
  keys.add_time("idle_timeout_ms", "that a connection is kept without requests", into.idle_timeout);
  keys.add("max_redirects", 0, 100, "redirects that are followed", into.max_redirects);
  keys.add("max_head", 256, 1u << 20, "bytes of an answer's head", into.max_head);
  keys.add("max_connections_per_origin", 1, 100'000, "connections to a server; more requests wait",
           into.max_connections_per_origin);
  keys.add("max_idle_connections", 0, 100'000, "connections kept without requests, of all servers",
           into.max_idle_connections);
  keys.add("most_expansion", 1, 1'000'000, "times that a compressed answer may grow",
           into.most_expansion);
  parser.value("--client.proxy", "ADDR:PORT", "the proxy that requests go through",
               into.proxy ? into.proxy->to_string() : "", [&into](std::string_view text) {
                 into.proxy = endpoint::parse(text);
                 return std::string(into.proxy ? "" : "must be ADDR:PORT");
               });
}

}  // namespace weir::http

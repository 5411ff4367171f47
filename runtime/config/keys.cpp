// The table of configuration keys, and the few kinds of value that they have.
#include "runtime/config/keys.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "runtime/config/key_texts.hpp"
#include "runtime/config/uring_features.hpp"

namespace weir::detail {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string join(std::span<const std::string> words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i)
    out += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return out;
}

// In each of these, `field` gives the key's member of a config, const or not.

template <class Field>
key boolean(std::string name, std::string help, Field field) {
  auto assign = [field](config& c, std::span<const std::string> given) {
    if (given[0] != "true" && given[0] != "false") return false;
    field(c) = given[0] == "true";
    return true;
  };
  auto show = [field](const config& c) {
    return std::vector<std::string>{field(c) ? "true" : "false"};
  };
  return {std::move(name), key_kind::boolean, "", std::move(help), "true or false", assign, show};
}

/// `zero`, if given, is the word that stands for 0.
template <class Field>
key number(std::string name, std::uint64_t least, std::uint64_t most, std::string zero,
           std::string help, Field field) {
  auto assign = [=](config& c, std::span<const std::string> given) {
    using type = std::remove_cvref_t<decltype(field(c))>;
    if (!zero.empty() && given[0] == zero) {
      field(c) = 0;
      return true;
    }
    auto value = parse_number(given[0]);
    if (!value || *value < least || *value > most) return false;
    field(c) = static_cast<type>(*value);
    return true;
  };
  auto show = [=](const config& c) {
    bool as_word = field(c) == 0 && !zero.empty();
    return std::vector<std::string>{as_word ? zero : std::to_string(field(c))};
  };
  auto allowed = fmt::format("a number from {} to {}{}", least, most,
                             zero.empty() ? "" : " or '" + zero + "'");
  return {std::move(name), key_kind::number, "N", std::move(help), allowed, assign, show};
}

/// A word beside the numbers, for a value that is outside their range.
template <class Value, class Field>
key or_word(key plain, std::string word, Value value, Field field) {
  auto assign = [=, of_number = plain.assign](config& c, std::span<const std::string> given) {
    if (given[0] != word) return of_number(c, given);
    field(c) = value;
    return true;
  };
  auto show = [=, of_number = plain.show](const config& c) {
    return field(c) == value ? std::vector<std::string>{word} : of_number(c);
  };
  plain.allowed += " or '" + word + "'";
  plain.assign = assign;
  plain.show = show;
  return plain;
}

template <class Value>
using choices = std::vector<std::pair<std::string, Value>>;

template <class Value, class Field>
key choice(std::string name, choices<Value> words, std::string help, Field field) {
  std::vector<std::string> spelled;
  for (auto& [word, value] : words) spelled.push_back(word);
  auto assign = [=](config& c, std::span<const std::string> given) {
    auto found =
        std::find_if(words.begin(), words.end(), [&](auto& w) { return w.first == given[0]; });
    if (found == words.end()) return false;
    field(c) = found->second;
    return true;
  };
  auto show = [=](const config& c) {
    for (auto& [word, value] : words)
      if (value == field(c)) return std::vector<std::string>{word};
    return std::vector<std::string>{""};
  };
  auto allowed = join(spelled);
  return {std::move(name), key_kind::text, "NAME", std::move(help), allowed, assign, show};
}

choices<std::string> words(std::initializer_list<const char*> list) {
  choices<std::string> out;
  for (auto* word : list) out.emplace_back(word, word);
  return out;
}

/// `accept` looks at what is neither empty nor `off`; `off`, if given, is the word that stands for
/// the empty string.
template <class Field>
key text(std::string name, std::string placeholder, std::string off, std::string allowed,
         std::string help, bool (*accept)(const std::string&), Field field) {
  auto assign = [=](config& c, std::span<const std::string> given) {
    if (!off.empty() && given[0] == off) {
      field(c).clear();
      return true;
    }
    if (given[0].empty() || !accept(given[0])) return false;
    field(c) = given[0];
    return true;
  };
  auto show = [=](const config& c) {
    return std::vector<std::string>{field(c).empty() ? off : field(c)};
  };
  if (!off.empty()) allowed += " or '" + off + "'";
  return {std::move(name),
          key_kind::text,
          std::move(placeholder),
          std::move(help),
          allowed,
          assign,
          show};
}

/// `effective` gives the list with its default applied.
template <class Field, class Effective>
key prefixes(std::string name, std::string help, Field field, Effective effective) {
  static constexpr std::size_t most = 16;
  auto assign = [=](config& c, std::span<const std::string> given) {
    std::vector<ip_prefix> parsed;
    for (auto& one : given) {
      auto prefix = ip_prefix::parse(one);
      if (!prefix || one.find('/') == std::string::npos || prefix->length == 0) return false;
      auto& a = prefix->address;
      if (a.is_unspecified() || a.is_multicast() || a.is_loopback() || a.is_limited_broadcast())
        return false;
      if (prefix->broadcast() == a) return false;
      parsed.push_back(*prefix);
    }
    if (parsed.empty() || parsed.size() > most) return false;
    field(c) = std::move(parsed);
    return true;
  };
  auto show = [=](const config& c) {
    std::vector<std::string> out;
    for (auto& prefix : effective(c)) out.push_back(prefix.to_string());
    return out;
  };
  return {std::move(name),
          key_kind::list,
          "ADDR/LEN",
          std::move(help),
          fmt::format("a host's address with its prefix length, such as 198.18.0.2/24 or "
                      "fd00::2/64 (at most {})",
                      most),
          assign,
          show};
}

/// Networks, as routes have them; the word "none" stands for none.
template <class Field>
key routes(std::string name, std::string help, Field field) {
  static constexpr std::size_t most = 16;
  auto assign = [=](config& c, std::span<const std::string> given) {
    std::vector<ip_prefix> parsed;
    const bool cleared = given.size() == 1 && given[0] == "none";
    for (auto& one : given) {
      if (cleared) break;
      auto prefix = ip_prefix::parse(one);
      if (!prefix || one.find('/') == std::string::npos || prefix->length == 0 ||
          prefix->address.is_multicast() || prefix->address.is_loopback())
        return false;
      parsed.push_back(*prefix);
    }
    if (parsed.size() > most) return false;
    field(c) = std::move(parsed);
    return true;
  };
  auto show = [=](const config& c) {
    std::vector<std::string> out;
    for (auto& prefix : field(c)) out.push_back(prefix.to_string());
    return out.empty() ? std::vector<std::string>{"none"} : out;
  };
  auto allowed =
      fmt::format("'none', or networks such as 10.0.0.0/8 or fd00::/64 (at most {})", most);
  return {std::move(name), key_kind::list, "NET/LEN", std::move(help), allowed, assign, show};
}

/// A back end by its word, or what may be a network's name: whether it is one is judged when all
/// places are read.
key or_network(key plain) {
  plain.assign = [of_words = plain.assign](config& c, std::span<const std::string> given) {
    if (of_words(c, given)) return true;
    if (!is_network_name(given[0])) return false;
    c.backend = given[0];
    return true;
  };
  plain.show = [](const config& c) { return std::vector<std::string>{c.backend}; };
  return plain;
}

/// Any of some words, or the one word for none.
template <class Field>
key words_of(std::string name, std::vector<std::string> known, std::string none, std::string help,
             Field field) {
  auto allowed = "'" + none + "', or any of " + join(known);
  auto assign = [=](config& c, std::span<const std::string> given) {
    const bool cleared = given.size() == 1 && given[0] == none;
    for (auto& one : given)
      if (!cleared && std::ranges::find(known, one) == known.end()) return false;
    field(c).assign(given.begin(), cleared ? given.begin() : given.end());
    return true;
  };
  auto show = [=](const config& c) {
    return field(c).empty() ? std::vector<std::string>{none} : field(c);
  };
  return {std::move(name), key_kind::list, "NAME", std::move(help), allowed, assign, show};
}

/// Any words, each not empty.
template <class Field>
key texts(std::string name, std::string placeholder, std::string none, std::string allowed,
          std::string help, Field field) {
  auto assign = [=](config& c, std::span<const std::string> given) {
    const bool cleared = given.size() == 1 && given[0] == none;
    if (std::ranges::any_of(given, [](const auto& one) { return one.empty(); })) return false;
    field(c).assign(given.begin(), cleared ? given.begin() : given.end());
    return true;
  };
  auto show = [=](const config& c) {
    return field(c).empty() ? std::vector<std::string>{none} : field(c);
  };
  allowed += " or '" + none + "'";
  return {std::move(name),
          key_kind::list,
          std::move(placeholder),
          std::move(help),
          allowed,
          assign,
          show};
}

/// Name servers; the word "system" stands for those that /etc/resolv.conf names.
template <class Field>
key servers(std::string name, std::string help, Field field) {
  static constexpr std::size_t most = 8;
  static constexpr std::uint16_t usual_port = 53;
  auto assign = [=](config& c, std::span<const std::string> given) {
    std::vector<endpoint> parsed;
    const bool of_system = given.size() == 1 && given[0] == "system";
    for (auto& one : given) {
      if (of_system) break;
      auto address = ip_address::parse(one);
      auto server =
          address ? endpoint(*address, usual_port) : endpoint::parse(one).value_or(endpoint());
      if (server.port == 0 || server.address.is_unspecified() || server.address.is_multicast())
        return false;
      parsed.push_back(server);
    }
    if (parsed.size() > most) return false;
    field(c) = std::move(parsed);
    return true;
  };
  auto show = [=](const config& c) {
    std::vector<std::string> out;
    for (auto& server : field(c)) out.push_back(server.to_string());
    return out.empty() ? std::vector<std::string>{"system"} : out;
  };
  auto allowed = fmt::format("'system', or addresses with or without a port (at most {})", most);
  return {std::move(name), key_kind::list, "ADDR[:PORT]", std::move(help), allowed, assign, show};
}

/// With their own names, as words.
choices<std::string> profile_words() {
  choices<std::string> out{{"kernel", ""}};
  for (const auto& profile : uring_profiles) out.emplace_back(profile.name, profile.name);
  return out;
}
std::vector<std::string> feature_words() {
  std::vector<std::string> out;
  for (const auto& feature : uring_feature_table) out.emplace_back(feature.name);
  return out;
}

/// The keys of a device and the stack on it; `of` gives their section of a config.
using effective_addresses = std::function<std::vector<ip_prefix>(const config&)>;
template <class Section>
void add_stack_keys(std::vector<key>& k, const std::string& section, Section of,
                    const effective_addresses& own, const effective_addresses& kernels) {
  k.push_back(text(section + ".device", "NAME", "",
                   "a device name of at most 15 characters, without '/', ':', '%' or spaces",
                   "TUN or TAP device, created if absent", is_device_name,
                   [of](auto& c) -> auto& { return of(c).device; }));
  k.push_back(
      choice(section + ".link",
             choices<device_link>{{"auto", device_link::as_device},
                                  {"ip", device_link::ip},
                                  {"ethernet", device_link::ethernet}},
             "what the device carries; auto: what it is, and IP packets where it is created",
             [of](auto& c) -> auto& { return of(c).link; }));
  k.push_back(prefixes(
      section + ".address", "the stack's own address (repeatable)",
      [of](auto& c) -> auto& { return of(c).address; }, own));
  k.push_back(prefixes(
      section + ".host_address",
      "given to the kernel's end of a device that weir creates (repeatable)",
      [of](auto& c) -> auto& { return of(c).host_address; }, kernels));
  k.push_back(routes(section + ".route",
                     "network that the kernel sends to a device that weir creates (repeatable)",
                     [of](auto& c) -> auto& { return of(c).route; }));
  k.push_back(number(section + ".mtu", 576, 65535, "", "bytes of the device's longest packet",
                     [of](auto& c) -> auto& { return of(c).mtu; }));
  k.push_back(boolean(section + ".offload", "checksum and segmentation offload on the device",
                      [of](auto& c) -> auto& { return of(c).offload; }));
  k.push_back(number(section + ".queues", 1, 256, "shards", "queues of the device",
                     [of](auto& c) -> auto& { return of(c).queues; }));
  k.push_back(text(section + ".handover", "unix:NAME", "off",
                   "'unix:' and a path, or '@' and a name",
                   "the program that has the device is asked there, and replaced without a "
                   "connection lost",
                   is_unix_name, [of](auto& c) -> auto& { return of(c).handover; }));
}

/// [network.NAME] of a config, which is there once something was set in it.
struct named_network {
  std::string name;

  const config::network_section& operator()(const config& c) const {
    static const auto unset = [] {
      config::network_section none;
      none.stack.device.clear();
      return none;
    }();
    const auto found = std::ranges::find(c.networks, name, &config::network_section::name);
    return found == c.networks.end() ? unset : *found;
  }
  config::network_section& operator()(config& c) const {
    const auto found = std::ranges::find(c.networks, name, &config::network_section::name);
    if (found != c.networks.end()) return *found;
    auto& added = c.networks.emplace_back();
    added.name = name;
    added.stack.device = name.substr(0, 15);  // the longest that there is
    return added;
  }
};

constexpr std::uint64_t largest_buffer =
    1u << 30;  // RFC 7323 2.3: the largest window that can be announced

constexpr std::uint64_t longest_defer_ms = 3'600'000;
constexpr std::uint64_t largest_owner_key = INT64_MAX;  // what TOML can say

std::vector<key> make_keys() {
  std::vector<key> k;
  k.push_back(or_network(
      choice("backend", words({"uring", "asio", "stack", "sim", "auto"}),
             "where sockets live: in the kernel through io_uring or Asio, or in weir's own stack",
             [](auto& c) -> auto& { return c.backend; })));
  k.push_back(number("shards", 0, 1024, "", "threads; 0 = one per core",
                     [](auto& c) -> auto& { return c.shards; }));
  k.push_back(boolean("pin", "pin each shard to its core", [](auto& c) -> auto& { return c.pin; }));
  auto busy_poll = [](auto& c) -> auto& { return c.busy_poll_us; };
  k.push_back(
      or_word(number("busy_poll_us", 0, 1'000'000, "",
                     "spin this long for completions before sleeping; auto: while traffic makes "
                     "it pay",
                     busy_poll),
              "auto", config::busy_poll_auto, busy_poll));

  k.push_back(number("listen.backlog", 1, 65535, "", "accept queue bound",
                     [](auto& c) -> auto& { return c.listen.backlog; }));
  k.push_back(number("listen.syn_backlog", 1, 1'048'576, "", "SYN queue bound (stack)",
                     [](auto& c) -> auto& { return c.listen.syn_backlog; }));
  k.push_back(choice("listen.sharing",
                     choices<sharing>{{"exclusive", sharing::exclusive},
                                      {"shared", sharing::shared},
                                      {"sharded", sharing::sharded}},
                     "how listeners on one address and port share connections",
                     [](auto& c) -> auto& { return c.listen.sharing; }));
  k.push_back(choice("listen.policy",
                     choices<sharding_policy>{{"hash", sharding_policy::hash},
                                              {"round_robin", sharding_policy::round_robin},
                                              {"least_loaded", sharding_policy::least_loaded}},
                     "which member of a sharded group gets a connection",
                     [](auto& c) -> auto& { return c.listen.policy; }));
  k.push_back(choice("listen.overflow",
                     choices<overflow>{{"drop", overflow::drop}, {"reset", overflow::reset}},
                     "what a full accept queue does to a new connection",
                     [](auto& c) -> auto& { return c.listen.overflow; }));
  k.push_back(boolean("listen.allow_wildcard", "permit listening on 0.0.0.0 and [::]",
                      [](auto& c) -> auto& { return c.listen.allow_wildcard; }));
  k.push_back(number("listen.defer_accept_ms", 1, longest_defer_ms, "off",
                     "accept a connection when its first data is there, or after this long",
                     [](auto& c) -> auto& { return c.listen.defer_accept_ms; }));
  k.push_back(number("listen.owner_key", 1, largest_owner_key, "random",
                     "who lacks it cannot join the listeners of an address (stack)",
                     [](auto& c) -> auto& { return c.listen.owner_key; }));
  k.back().secret = true;

  k.push_back(boolean("tcp.nodelay", "send small segments at once (Nagle off)",
                      [](auto& c) -> auto& { return c.tcp.nodelay; }));
  k.push_back(number("tcp.receive_buffer", 4096, largest_buffer, "auto",
                     "bytes, upper bound of auto-tuning",
                     [](auto& c) -> auto& { return c.tcp.receive_buffer; }));
  k.push_back(number("tcp.send_buffer", 4096, largest_buffer, "auto",
                     "bytes, upper bound of auto-tuning",
                     [](auto& c) -> auto& { return c.tcp.send_buffer; }));
  k.push_back(number("tcp.user_timeout_ms", 1, 86'400'000, "off",
                     "a peer may not acknowledge, or not read, for this long",
                     [](auto& c) -> auto& { return c.tcp.user_timeout_ms; }));
  k.push_back(choice("tcp.congestion", words({"cubic", "reno"}), "congestion control of the stack",
                     [](auto& c) -> auto& { return c.tcp.congestion; }));

  add_stack_keys(
      k, "stack", [](auto& c) -> auto& { return c.stack; }, &config::stack_addresses,
      &config::stack_host_addresses);
  k.push_back(choice(
      "stack.placement",
      choices<placement>{{"inline", placement::inline_}, {"dedicated", placement::dedicated}},
      "the stack on each shard, or on a core of its own",
      [](auto& c) -> auto& { return c.stack.placement; }));
  k.push_back(boolean("stack.private_net", "run in a network namespace of its own",
                      [](auto& c) -> auto& { return c.stack.private_net; }));

  k.push_back(number("stop.linger_ms", 0, 3'600'000, "",
                     "how long closed connections may still deliver at the end, before a reset",
                     [](auto& c) -> auto& { return c.stop.linger_ms; }));

  k.push_back(number("offload.threads", 1, 1024, "", "threads for blocking work, at most",
                     [](auto& c) -> auto& { return c.offload.threads; }));
  k.push_back(number("offload.queue", 1, 1'048'576, "", "pieces of work that may wait for a thread",
                     [](auto& c) -> auto& { return c.offload.queue; }));

  k.push_back(servers("resolve.servers", "name server (repeatable)",
                      [](auto& c) -> auto& { return c.resolve.servers; }));
  k.push_back(number("resolve.timeout_ms", 1, 600'000, "",
                     "how long a name may take, with all servers and tries",
                     [](auto& c) -> auto& { return c.resolve.timeout_ms; }));
  k.push_back(number("resolve.cache", 0, 1'048'576, "", "answers of name servers kept by a shard",
                     [](auto& c) -> auto& { return c.resolve.cache; }));
  k.push_back(text("resolve.network", "NAME", "default", "the name of a network",
                   "the network that name servers are asked through", is_network_text,
                   [](auto& c) -> auto& { return c.resolve.network; }));

  k.push_back(choice("uring.profile", profile_words(),
                     "use no more of io_uring than that Linux release knows",
                     [](auto& c) -> auto& { return c.uring.profile; }));
  k.push_back(words_of("uring.hide", feature_words(), "none",
                       "feature of io_uring to do without, by weir-probe's name (repeatable)",
                       [](auto& c) -> auto& { return c.uring.hide; }));

  k.push_back(number("http.max_head", 256, 1u << 20, "",
                     "bytes of a request's line and fields; beyond: 414, 431",
                     [](auto& c) -> auto& { return c.http.max_head; }));
  k.push_back(number("http.max_fields", 1, 10'000, "", "fields of a request; beyond: 431",
                     [](auto& c) -> auto& { return c.http.max_fields; }));
  k.push_back(number("http.max_body", 0, std::uint64_t(1) << 40, "",
                     "bytes of a request's body; beyond: 413",
                     [](auto& c) -> auto& { return c.http.max_body; }));
  k.push_back(number("http.max_connections", 1, 10'000'000, "",
                     "of an HTTP server's shard; one more is closed at once",
                     [](auto& c) -> auto& { return c.http.max_connections; }));
  k.push_back(number("http.head_timeout_ms", 0, 86'400'000, "",
                     "for a request's head to come (0 = none); then 408",
                     [](auto& c) -> auto& { return c.http.head_timeout_ms; }));
  k.push_back(number("http.body_timeout_ms", 0, 86'400'000, "",
                     "for a body that comes too slowly (0 = none); then 408",
                     [](auto& c) -> auto& { return c.http.body_timeout_ms; }));
  k.push_back(number("http.idle_timeout_ms", 0, 86'400'000, "", "between requests (0 = none)",
                     [](auto& c) -> auto& { return c.http.idle_timeout_ms; }));
  k.push_back(number("http.write_timeout_ms", 0, 86'400'000, "",
                     "for a client that does not read (0 = none)",
                     [](auto& c) -> auto& { return c.http.write_timeout_ms; }));
  k.push_back(number("http.drain_ms", 0, 86'400'000, "",
                     "wait for HTTP connections after the request to stop (0 = to their end)",
                     [](auto& c) -> auto& { return c.http.drain_ms; }));
  k.push_back(boolean("http.compress", "gzip or zstd for clients that ask; see docs/http.md first",
                      [](auto& c) -> auto& { return c.http.compress; }));
  k.push_back(number("http.compress_least", 0, std::uint64_t(1) << 30, "",
                     "bytes of a body that is worth compressing",
                     [](auto& c) -> auto& { return c.http.compress_least; }));
  k.push_back(number("http.compress_at_once", 1, 100'000, "",
                     "bodies of a shard that are compressed at once; more go as they are",
                     [](auto& c) -> auto& { return c.http.compress_at_once; }));

  k.push_back(text("tls.certificate", "FILE", "none", "a file name",
                   "our certificate and the chain behind it, PEM", is_anything,
                   [](auto& c) -> auto& { return c.tls.certificate; }));
  k.push_back(text("tls.key", "FILE", "certificate", "a file name",
                   "the certificate's private key, PEM; unless it is in the same file", is_anything,
                   [](auto& c) -> auto& { return c.tls.key; }));
  k.push_back(text("tls.authorities", "FILE", "system", "a file name",
                   "whose certificates to trust, PEM; unless those that the system trusts",
                   is_anything, [](auto& c) -> auto& { return c.tls.authorities; }));
  k.push_back(choice("tls.minimum", choices<std::string>{{"1.2", "1.2"}, {"1.3", "1.3"}},
                     "the oldest version of TLS to speak",
                     [](auto& c) -> auto& { return c.tls.minimum; }));
  k.push_back(texts("tls.others", "FILE", "none", "file names",
                    "certificate for other names with its key, PEM (repeatable)",
                    [](auto& c) -> auto& { return c.tls.others; }));
  k.push_back(text("tls.ticket_secret", "FILE", "none", "a file name",
                   "32 bytes or more; who has the same resumes each other's sessions", is_anything,
                   [](auto& c) -> auto& { return c.tls.ticket_secret; }));

  k.push_back(text("observe.listen", "ADDR:PORT", "off",
                   "an address and port, such as 127.0.0.1:9100",
                   "admin endpoint: /metrics, /sockets, /tasks and a live page", is_endpoint,
                   [](auto& c) -> auto& { return c.observe.listen; }));
  k.push_back(text("observe.network", "NAME", "own", "the name of a network",
                   "where the admin endpoint listens; own: the machine's sockets, on a thread",
                   is_network_text, [](auto& c) -> auto& { return c.observe.network; }));
  k.push_back(text("observe.pcap", "FILE", "off", "a file name",
                   "write what the stack sends and receives to this file", is_anything,
                   [](auto& c) -> auto& { return c.observe.pcap; }));
  k.push_back(number("observe.recorder", 1, 1'000'000, "off",
                     "how many of its last events each shard keeps: /recorder, SIGQUIT, crashes",
                     [](auto& c) -> auto& { return c.observe.recorder; }));

  k.push_back(number("tasks.stall_ms", 1, 3'600'000, "off",
                     "report a shard that has not turned for so long, with its thread's stack",
                     [](auto& c) -> auto& { return c.tasks.stall_ms; }));
  return k;
}

}  // namespace

std::vector<key> keys_of_network(const std::string& name) {
  std::vector<key> k;
  const named_network at{name};
  k.push_back(choice("network." + name + ".backend", words({"stack", "kernel"}),
                     "a stack on a device, or this machine's sockets by another name",
                     [at](auto& c) -> auto& { return at(c).backend; }));
  add_stack_keys(
      k, "network." + name, [at](auto& c) -> auto& { return at(c).stack; },
      [at](const config& c) { return at(c).stack.address; },
      [at](const config& c) { return at(c).stack.host_address; });
  return k;
}

std::string key::section() const {
  auto dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

std::string key::environment() const {
  std::string out = "WEIR_";
  for (unsigned char c : name)
    out += c == '.' || c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return out;
}

std::string key::option() const { return "--" + name; }

std::span<const key> keys() {
  static const std::vector<key> table = make_keys();
  return table;
}

void apply(const setting& given, config& target) {
  if (given.what->assign(target, given.values)) return;
  if (given.what->secret || given.values.empty())
    throw config_error(
        fmt::format("{}: {}: must be {}", given.place, given.what->name, given.what->allowed));
  std::string value;
  for (auto& one : given.values) value += (value.empty() ? "" : ",") + one;
  throw config_error(fmt::format("{}: {} = '{}': must be {}", given.place, given.what->name, value,
                                 given.what->allowed));
}

}  // namespace weir::detail

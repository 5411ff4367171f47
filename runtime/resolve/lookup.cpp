// From names to records: text of addresses, localhost (RFC 6761), the hosts file, then name servers
// with search domains as resolv.conf(5) has them. And the resolver's own surface.
#include <algorithm>
#include <tuple>

#include "runtime/core/log.hpp"
#include "runtime/resolve/order.hpp"
#include "runtime/resolve/resolver_state.hpp"
#include "weir/udp.hpp"
#include "weir/when.hpp"

namespace weir {
namespace {

class name_category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "weir.name"; }
  std::string message(int code) const override {
    switch (static_cast<name_error>(code)) {
      case name_error::not_found: return "there is no such name";
      case name_error::no_data: return "the name has no such record";
      case name_error::server_failed: return "no name server could answer";
    }
    return "unknown error " + std::to_string(code);
  }
};

}  // namespace

const std::error_category& name_error_category() noexcept {
  static const name_category the;
  return the;
}

namespace detail {
namespace {

/// What a name may stand for, the likeliest first.
std::vector<std::string> candidates(const resolver_settings& settings, std::string_view given,
                                    const std::string& name) {
  std::vector<std::string> out;
  const bool complete = given.ends_with('.');
  const auto dots = static_cast<unsigned>(std::ranges::count(name, '.'));
  if (complete || dots >= settings.ndots) out.push_back(name);
  if (complete) return out;
  for (const auto& domain : settings.search)
    if (auto longer = host_name(name + '.' + domain); !longer.empty()) out.push_back(longer);
  if (dots < settings.ndots) out.push_back(name);
  return out;
}

bool is_localhost(const std::string& name) {
  return name == "localhost" || name.ends_with(".localhost");
}

/// Tells what is known without a question. False: nothing is.
bool known_beforehand(const resolver_state& r, const std::string& given, const std::string& name,
                      bool v4, bool v6, address_listener& to) {
  std::vector<ip_address> all;
  if (auto address = ip_address::parse(given))
    all = {*address};
  else if (is_localhost(name))
    all = {ip_address::loopback_v6(), ip_address::loopback_v4()};
  else
    all = r.hosts.addresses(name);
  std::erase_if(all, [&](const ip_address& a) { return a.is_v4() ? !v4 : !v6; });
  for (const auto& one : all) to.found(one.family(), {one});
  if (all.empty()) return false;
  to.complete(ip_family::v6);
  to.complete(ip_family::v4);
  return true;
}

/// One family of one name.
task<std::error_code> find_family(resolver_state& r, std::string name, ip_family family,
                                  address_listener& to, std::string& words) {
  const auto type = family == ip_family::v4 ? record_type::a : record_type::aaaa;
  const question q{std::move(name), type};
  auto got = co_await ask(r, q, words);
  std::error_code error = got ? (*got)->error : got.error();
  if (!error && (*got)->addresses.empty()) error = name_error::no_data;
  if (!error) to.found(family, (*got)->addresses);
  to.complete(family);
  co_return error;
}

bool is_negative(std::error_code error) {
  return error == name_error::not_found || error == name_error::no_data;
}

/// Both families of one name: nothing when either was found. A server's failure tells more than a
/// name that is not there.
task<std::error_code> find_both(resolver_state& r, std::string name, bool v4, bool v6,
                                address_listener& to, std::string& words) {
  if (!v4 || !v6)
    co_return co_await find_family(r, std::move(name), v4 ? ip_family::v4 : ip_family::v6, to,
                                   words);
  std::string of_v6, of_v4;
  auto both = co_await when_all(find_family(r, name, ip_family::v6, to, of_v6),
                                find_family(r, name, ip_family::v4, to, of_v4));
  const auto v6_error = std::get<0>(both), v4_error = std::get<1>(both);
  if (!v6_error || !v4_error) co_return std::error_code();
  words = is_negative(v6_error) || of_v6.empty() ? of_v4 : of_v6;
  if (!is_negative(v6_error)) co_return v6_error;
  if (!is_negative(v4_error)) co_return v4_error;
  co_return v4_error == name_error::no_data ? v4_error : v6_error;
}

/// Collects what find_addresses() tells.
class collector final : public address_listener {
 public:
  void found(ip_family, const std::vector<ip_address>& some) override {
    all.insert(all.end(), some.begin(), some.end());
  }
  void complete(ip_family) override {}
  std::vector<ip_address> all;
};

task<result<std::vector<ip_address>>> look_up_addresses(resolver_state& r, std::string name,
                                                        bool v4, bool v6, std::string& words) {
  collector found;
  auto error = co_await find_addresses(r, std::move(name), v4, v6, found, words);
  if (!error) co_return best_first(r.owner, found.all);
  co_return error;
}

/// RFC 2782: by priority; among equals by chance, in proportion to their weights, those without
/// first in the running order.
void order_services(resolver_state& r, std::vector<service_record>& all) {
  sort_in_place(all, [](const service_record& s) { return std::tuple(s.priority, s.weight != 0); });
  for (auto first = all.begin(); first != all.end(); ++first) {
    std::uint64_t sum = 0;
    for (auto i = first; i != all.end() && i->priority == first->priority; ++i) sum += i->weight;
    auto running = r.draw() % (sum + 1);
    auto chosen = first;
    while (running > chosen->weight) running -= chosen++->weight;
    std::rotate(first, chosen, chosen + 1);
  }
}

task<result<std::vector<service_record>>> look_up_services(resolver_state& r, std::string given,
                                                           std::string& words) {
  const question q{host_name(given), record_type::srv};
  if (q.name.empty()) co_return std::make_error_code(std::errc::invalid_argument);
  auto got = co_await ask(r, q, words);
  const auto error = got ? (*got)->error : got.error();
  if (error) co_return error;
  auto all = (*got)->services;
  order_services(r, all);
  co_return all;
}

task<result<std::vector<std::string>>> look_up_names(resolver_state& r, ip_address address,
                                                     std::string& words) {
  if (auto known = r.hosts.names(address); !known.empty()) co_return known;
  const question q{reverse_name(address), record_type::ptr};
  auto got = co_await ask(r, q, words);
  const auto error = got ? (*got)->error : got.error();
  if (error) co_return error;
  co_return (*got)->names;
}

[[noreturn]] void throw_lookup_error(std::error_code code, const std::string& what,
                                     const std::string& words) {
  throw io_error(code, words.empty() ? what : what + " (" + words + ")");
}

}  // namespace

task<std::error_code> find_addresses(resolver_state& r, std::string given, bool v4, bool v6,
                                     address_listener& to, std::string& words) {
  const auto name = host_name(given);
  if (known_beforehand(r, given, name, v4, v6, to)) co_return std::error_code();
  // An address of the other family is no name either.
  if (ip_address::parse(given) || is_localhost(name)) co_return name_error::no_data;
  if (name.empty()) co_return std::make_error_code(std::errc::invalid_argument);
  std::error_code error;
  for (auto& candidate : candidates(r.settings, given, name)) {
    auto one = co_await find_both(r, candidate, v4, v6, to, words);
    // With one name that could not be looked at, those behind it would be guesses.
    if (!one || !is_negative(one)) co_return one;
    if (!error || one == name_error::no_data) error = one;
  }
  co_return error;
}

std::vector<ip_address> best_first(shard& owner, const std::vector<ip_address>& some) {
  std::vector<destination> all;
  for (const auto& address : some) {
    destination d{address, true, std::nullopt};
    // Connecting a datagram socket sends nothing, and asks the back end's routes.
    constexpr std::uint16_t any_port = 9;
    auto socket = owner.try_connect_udp({address, any_port});
    if (socket)
      d.source = socket->local_endpoint().address;
    else
      d.reachable = socket.error() == std::errc::operation_not_supported;
    all.push_back(d);
  }
  sort_destinations(all);
  std::vector<ip_address> out;
  for (const auto& d : all) out.push_back(d.address);
  return out;
}

task<result<address_call::value>> address_call::start(std::string& words) const {
  return look_up_addresses(*of, std::string(name), v4, v6, words);
}
void address_call::fail(std::error_code code, const std::string& words) const {
  throw_lookup_error(code, "addresses of " + printable(name.substr(0, longest_name)), words);
}
task<result<service_call::value>> service_call::start(std::string& words) const {
  return look_up_services(*of, std::string(name), words);
}
void service_call::fail(std::error_code code, const std::string& words) const {
  throw_lookup_error(code, "services of " + printable(name.substr(0, longest_name)), words);
}
task<result<reverse_call::value>> reverse_call::start(std::string& words) const {
  return look_up_names(*of, address, words);
}
void reverse_call::fail(std::error_code code, const std::string& words) const {
  throw_lookup_error(code, "names of " + address.to_string(), words);
}

}  // namespace detail

resolver_settings resolver_settings::of(const shard& s) {
  const auto& from = s.settings().resolve;
  resolver_settings out;
  out.timeout = std::chrono::milliseconds(from.timeout_ms);
  out.cache = from.cache;
  out.network = from.network;
  if (s.backend() != "sim") {  // whose hosts are not this machine
    detail::read_resolv_conf(detail::read_small_file("/etc/resolv.conf"), out);
    out.hosts = detail::read_small_file("/etc/hosts");
    // resolv.conf(5): without a server in the file, the one on this machine.
    if (out.servers.empty()) out.servers.emplace_back(ip_address::loopback_v4(), 53);
  }
  if (!from.servers.empty()) out.servers = from.servers;
  return out;
}

resolver::resolver(shard& owner) : resolver(owner, resolver_settings::of(owner)) {}
resolver::resolver(shard& owner, resolver_settings settings)
    : state_(std::make_unique<detail::resolver_state>(owner, std::move(settings))) {}
resolver::~resolver() = default;
const resolver_settings& resolver::settings() const { return state_->settings; }
const resolver_counters& resolver::counters() const { return state_->counters; }
std::size_t resolver::cached() const { return state_->cache.size(); }
void resolver::forget() { state_->cache.clear(); }

resolver& resolver_of(shard& s) { return s.local<resolver>(); }

}  // namespace weir

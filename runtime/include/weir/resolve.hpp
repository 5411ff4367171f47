// Names: addresses, services and host names from name servers and the hosts file, and connecting by
// name. Queries travel on weir's own sockets and timers, on the caller's shard: the same on every
// back end and in the simulator, without a thread. Target weir::resolve; docs/names.md says which
// answers are believed.
//
//   auto peer = co_await weir::connect("example.org", 443).timeout(5s);
//
//   auto& names = weir::resolver_of(shard);
//   for (auto& address : co_await names.addresses("example.org")) ...
//
// Every operation takes .timeout(d), .nothrow() and .until_stop(). Cancelling one ends it with
// operation_canceled. The names that are given stay valid until the co_await returns.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weir/config.hpp"
#include "weir/detail/call.hpp"
#include "weir/net.hpp"
#include "weir/shard.hpp"

namespace weir {

/// Why a name has nothing to give. Beside these: timed_out (no server answered in time),
/// invalid_argument (no host name: RFC 1123; an internationalized one is given in its "xn--" form).
enum class name_error : int {
  not_found = 1,  ///< there is no such name
  no_data,        ///< the name is there, and has no such record
  server_failed,  ///< every name server refused or failed
};
const std::error_category& name_error_category() noexcept;
inline std::error_code make_error_code(name_error e) noexcept {
  return {static_cast<int>(e), name_error_category()};
}

}  // namespace weir

template <>
struct std::is_error_code_enum<weir::name_error> : std::true_type {};

namespace weir {

/// One SRV record (RFC 2782).
struct service_record {
  std::uint16_t priority = 0, weight = 0, port = 0;
  std::string target;
  bool operator==(const service_record&) const = default;
};

struct resolver_settings {
  std::vector<endpoint> servers;               ///< asked in this order
  std::vector<std::string> search;             ///< domains that short names are looked up in
  unsigned ndots = 1;                          ///< a name with as many dots is tried as it is first
  duration timeout = std::chrono::seconds(5);  ///< for one question, with all servers and tries
  std::size_t cache = 1024;                    ///< answers kept; 0: none
  std::string hosts;                           ///< the text of a hosts file
  std::string network = {};                    ///< the servers'; empty: the back end's

  /// Of the configuration's [resolve], /etc/resolv.conf and /etc/hosts, which are read here; in the
  /// simulator of the configuration alone.
  static resolver_settings of(const shard& s);
};

/// What a resolver counts.
struct resolver_counters {
  std::uint64_t queries = 0;      ///< sent to servers
  std::uint64_t over_tcp = 0;     ///< of these
  std::uint64_t timeouts = 0;     ///< that no answer came to in time
  std::uint64_t ignored = 0;      ///< datagrams that answered nothing that was asked
  std::uint64_t cache_hits = 0;   ///< questions answered without a query
  std::uint64_t cache_drops = 0;  ///< answers that made room for others
  std::uint64_t joined = 0;       ///< questions that waited for the same one of another coroutine
};

class resolver;

namespace detail {
class resolver_state;

struct address_call {
  using value = std::vector<ip_address>;
  resolver_state* of;
  std::string_view name;
  bool v4, v6;
  task<result<value>> start(std::string& words) const;
  [[noreturn]] void fail(std::error_code code, const std::string& words) const;
};
struct service_call {
  using value = std::vector<service_record>;
  resolver_state* of;
  std::string_view name;
  task<result<value>> start(std::string& words) const;
  [[noreturn]] void fail(std::error_code code, const std::string& words) const;
};
struct reverse_call {
  using value = std::vector<std::string>;
  resolver_state* of;
  ip_address address;
  task<result<value>> start(std::string& words) const;
  [[noreturn]] void fail(std::error_code code, const std::string& words) const;
};
struct connect_call {
  using value = tcp_stream;
  resolver_state* of;  ///< null: the shard's
  std::string_view name;
  std::uint16_t port;
  connect_options options;
  static resolver_state& state_of(resolver& r);
  task<result<value>> start(std::string& words) const;
  [[noreturn]] void fail(std::error_code code, const std::string& words) const;
};
using connect_by_name = request<call_awaiter<connect_call>>;
}  // namespace detail

/// Thrown by connect() by name. details() names each address that was tried and what became of it:
/// "[2001:db8::1]:443: Network is unreachable; 192.0.2.1:443: Connection refused", or why there was
/// none to try.
class connect_error : public io_error {
 public:
  connect_error(std::error_code code, const std::string& what, const std::string& details)
      : io_error(code, what), details_(std::make_shared<const std::string>(details)) {}
  const std::string& details() const noexcept { return *details_; }

 private:
  std::shared_ptr<const std::string> details_;  // exceptions are copied, and must not fail then
};

/// Asks name servers and remembers what they said. Of one shard; outlives its operations.
class resolver {
 public:
  /// The shard's own settings: resolver_settings::of().
  explicit resolver(shard& owner);
  resolver(shard& owner, resolver_settings settings);
  ~resolver();
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;

  /// The addresses of a host, IPv6 and IPv4, the best first (RFC 6724); at least one. An address in
  /// text is itself; "localhost" is this machine. Errors: name_error, timed_out, invalid_argument.
  detail::request<detail::call_awaiter<detail::address_call>> addresses(std::string_view name) {
    return detail::request<detail::call_awaiter<detail::address_call>>(
        {state_.get(), name, true, true});
  }
  /// Of one family only.
  detail::request<detail::call_awaiter<detail::address_call>> addresses(std::string_view name,
                                                                        ip_family family) {
    return detail::request<detail::call_awaiter<detail::address_call>>(
        {state_.get(), name, family == ip_family::v4, family == ip_family::v6});
  }
  /// The SRV records of "_service._tcp.example.org", in the order in which to try them: by
  /// priority, and by chance as the weights say.
  detail::request<detail::call_awaiter<detail::service_call>> services(std::string_view name) {
    return detail::request<detail::call_awaiter<detail::service_call>>({state_.get(), name});
  }
  /// The names of an address: hosts file, or PTR records.
  detail::request<detail::call_awaiter<detail::reverse_call>> names(const ip_address& address) {
    return detail::request<detail::call_awaiter<detail::reverse_call>>({state_.get(), address});
  }
  /// weir::connect() through this resolver.
  detail::connect_by_name connect(std::string_view name, std::uint16_t port,
                                  const connect_options& options = {}) {
    return detail::connect_by_name({state_.get(), name, port, options});
  }

  const resolver_settings& settings() const;
  const resolver_counters& counters() const;
  std::size_t cached() const;
  void forget();  ///< empties the cache

 private:
  friend resolver& resolver_of(shard& s);
  friend struct detail::connect_call;
  std::unique_ptr<detail::resolver_state> state_;
};

/// The shard's own resolver, made by the first call.
resolver& resolver_of(shard& s);

/// Connects to a host by name, from this coroutine's shard: co_await weir::connect("example.org",
/// 443). Happy eyeballs (RFC 8305): IPv6 and IPv4 are looked up at once, a new attempt begins every
/// 250 ms, or when the last one failed, and the first connection wins; the others are cancelled.
/// .timeout(d) bounds it all. Errors, as a connect_error: the first attempt's where there was one,
/// else the lookup's; timed_out; address_not_available (port 0).
template <std::convertible_to<std::string_view> Name>
detail::connect_by_name connect(const Name& name, std::uint16_t port,
                                const connect_options& options = {}) {
  return detail::connect_by_name({nullptr, std::string_view(name), port, options});
}

}  // namespace weir

// What a resolver keeps, and its coroutines: one question to the servers (exchange.cpp), a name
// through hosts file, search domains and questions (lookup.cpp), a connection by name
// (connect.cpp).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/resolve/cache.hpp"
#include "runtime/resolve/files.hpp"
#include "runtime/resolve/message.hpp"
#include "runtime/resolve/order.hpp"
#include "stack/base/siphash.hpp"
#include "weir/resolve.hpp"
#include "weir/sync.hpp"

namespace weir::detail {

/// A question that is being asked; others who have the same one wait for it. So that nobody can
/// multiply his chances to forge an answer by having a name asked for often at once (RFC 5452 5).
struct flight {
  event done;
  known_answer got;
  std::error_code error = canceled_error();  // unless it got to its end
  std::string words;
};

class resolver_state {
 public:
  resolver_state(shard& s, resolver_settings how)
      : owner(s),
        settings(std::move(how)),
        hosts(settings.hosts),
        cache(settings.cache),
        key_{s.draw_seed(), s.draw_seed()} {
    settings.hosts = {};  // it is in the table now
  }

  /// The next of the numbers that nobody without the shard's seed can foretell.
  std::uint64_t draw() noexcept {
    stack::detail::sip_state state(key_);
    state.absorb<2>(drawn_++);
    return state.finish<4>();
  }

  shard& owner;
  resolver_settings settings;
  hosts_table hosts;
  answer_cache cache;
  resolver_counters counters;
  std::map<std::string, std::shared_ptr<flight>> flights;

 private:
  stack::siphash_key key_;
  std::uint64_t drawn_ = 0;
};

/// The answer to a question, from the cache or from the servers; that there is none is an answer as
/// well. Errors: timed_out, name_error::server_failed, operation_canceled; `words` then say what
/// became of each server.
task<result<known_answer>> ask(resolver_state& r, question q, std::string& words);
/// Asks the servers: the part of ask() behind the cache.
task<result<known_answer>> ask_servers(resolver_state& r, const question& q, std::string& words);

/// Hears of a host's addresses as they become known.
class address_listener {
 public:
  virtual ~address_listener() = default;
  virtual void found(ip_family family, const std::vector<ip_address>& some) = 0;
  /// All that there are of a family are known, for the name that is being looked at.
  virtual void complete(ip_family family) = 0;
};
/// Looks a host up: text of an address, localhost, hosts file, name servers with search domains.
/// Nothing when addresses were found, else why none were.
task<std::error_code> find_addresses(resolver_state& r, std::string name, bool v4, bool v6,
                                     address_listener& to, std::string& words);

/// Sorted, with what this shard's back end says of routes and sources.
std::vector<ip_address> best_first(shard& owner, const std::vector<ip_address>& some);

}  // namespace weir::detail

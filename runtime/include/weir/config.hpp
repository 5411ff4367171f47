// The configuration: one set of names everywhere (DESIGN.md, section 4). Defaults, then a TOML
// file, then the environment (WEIR_STACK_ADDRESS), then the command line (--stack.address). A key
// that is unknown or a value that cannot be is an error that names the place, the key and the
// nearest known key; an unknown variable in the environment is a warning, since others name some
// too. A program's own options are keys like weir's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "weir/options.hpp"
#include "weir/stack/address.hpp"

namespace weir {

/// A configuration that cannot be used. what() is one line that names the place and the key;
/// control characters in it are escaped.
class config_error : public std::runtime_error {
 public:
  explicit config_error(const std::string& what);
};

enum class placement : std::uint8_t { inline_, dedicated };
/// What a device of the stack's carries: what it is (a new one: IP packets), IP packets or Ethernet
/// frames.
enum class device_link : std::uint8_t { as_device, ip, ethernet };

struct config {
  std::string backend = "auto";  ///< uring, asio, stack, sim, auto; or a network's name
  unsigned shards = 1;           ///< threads; 0 = one per core
  bool pin = false;              ///< pin each shard to its core
  /// Spin this long for completions before sleeping; busy_poll_auto: while traffic makes it pay.
  std::uint32_t busy_poll_us = 0;
  static constexpr std::uint32_t busy_poll_auto = UINT32_MAX;

  struct listen_section {
    std::uint32_t backlog = 1024;
    std::uint32_t syn_backlog = 1024;
    weir::sharing sharing = weir::sharing::exclusive;
    sharding_policy policy = sharding_policy::hash;
    weir::overflow overflow = weir::overflow::drop;
    bool allow_wildcard = false;
    std::uint32_t defer_accept_ms = 0;  ///< 0 = off
    std::uint64_t owner_key = 0;        ///< 0 = drawn at random at each start
  } listen;

  struct tcp_section {
    bool nodelay = true;
    std::uint32_t receive_buffer = 0;  ///< bytes; 0 = auto
    std::uint32_t send_buffer = 0;     ///< bytes; 0 = auto
    std::string congestion = "cubic";  ///< cubic, reno
    std::uint32_t user_timeout_ms =
        0;  ///< a peer may not acknowledge, or not read, for this long; 0 = off
  } tcp;

  struct stack_section {
    std::string device = "weir0";
    std::vector<ip_prefix> address;       ///< empty: 198.18.0.2/24
    std::vector<ip_prefix> host_address;  ///< empty: 198.18.0.1/24
    std::vector<ip_prefix> route;  ///< what else the kernel sends to a device that weir makes
    std::uint16_t mtu = 1500;
    bool offload = true;
    unsigned queues = 0;  ///< 0 = as many as shards
    weir::placement placement = placement::inline_;
    bool private_net = false;
    device_link link = device_link::as_device;
    std::string handover;  ///< unix:NAME, where programs hand the device over; empty = never
  } stack;

  /// [network.NAME]: a network beside the back end's own. listen(), connect() and the like take it
  /// by its name.
  struct network_section {
    std::string name;
    std::string backend = "stack";  ///< stack; kernel: this machine's sockets, by this name too
    stack_section stack = {};       ///< its placement and private_net are without effect
  };
  std::vector<network_section> networks;
  /// Which of them the back end became, where `backend` named one; empty: none.
  std::string default_network;

  struct stop_section {
    /// How long closed connections may still deliver what was written, at the end of the program,
    /// before they are reset.
    std::uint32_t linger_ms = 2000;
  } stop;

  struct offload_section {
    unsigned threads = 4;        ///< of the pool for blocking work, made when first needed
    std::uint32_t queue = 1024;  ///< pieces of work that may wait for one of them
  } offload;

  struct resolve_section {
    std::vector<endpoint> servers;    ///< empty: what /etc/resolv.conf says
    std::uint32_t timeout_ms = 5000;  ///< for one name, all servers and tries
    std::uint32_t cache = 1024;       ///< answers kept by each shard; 0 = none
    std::string network;              ///< the servers' network; empty: the back end's
  } resolve;

  struct uring_section {
    std::string profile;            ///< 5.19, 6.1, 6.6: no more of io_uring than that; empty: all
    std::vector<std::string> hide;  ///< features to do without
  } uring;

  /// What an http::server is given where a program gives it nothing; of a time, 0 = no limit.
  struct http_section {
    std::uint64_t max_head = 16 * 1024;  ///< bytes
    std::uint64_t max_fields = 128;
    std::uint64_t max_body = 1024 * 1024;  ///< bytes
    std::uint64_t max_connections = 100'000;
    std::uint32_t head_timeout_ms = 10'000;
    std::uint32_t body_timeout_ms = 30'000;
    std::uint32_t idle_timeout_ms = 60'000;
    std::uint32_t write_timeout_ms = 30'000;
    std::uint32_t drain_ms = 5'000;
    bool compress = false;
    std::uint64_t compress_least = 1024;  ///< bytes
    std::uint64_t compress_at_once = 64;
  } http;

  struct tls_section {
    std::string certificate;  ///< file; ours, and the chain behind it
    std::string key;          ///< file; empty = in the certificate's
    std::string authorities;  ///< file; whom to trust; empty = whom the system trusts
    std::string minimum = "1.2";
    std::vector<std::string> others;  ///< files; each a certificate for other names, and its key
    std::string ticket_secret;        ///< file; empty = each context has its own
  } tls;

  struct observe_section {
    std::string listen;   ///< ADDR:PORT of the admin endpoint; empty = off
    std::string network;  ///< where; empty: this machine's sockets, on a thread of their own
    std::string pcap;     ///< pcapng file; empty = off
    std::uint32_t recorder = 1000;  ///< the last events that each shard keeps; 0 = off
  } observe;

  struct tasks_section {
    std::uint32_t stall_ms = 20;  ///< a shard that does not turn for longer is reported; 0 = off
  } tasks;

  /// Addresses with their default applied.
  std::vector<ip_prefix> stack_addresses() const;
  std::vector<ip_prefix> stack_host_addresses() const;
  /// shards, with 0 resolved to the number of usable cores.
  unsigned shard_count() const;

  /// For programs without options of their own: --help prints and exits 0; an error is printed and
  /// exits 2.
  static config from_args(int argc, char** argv);
  /// The effective configuration as a TOML file (--print-config).
  std::string to_toml() const;
};

/// A program's configuration: weir's keys plus its own. Used by services, http_server, the examples
/// and tools. An own option "--max-sessions" is the key `max-sessions` in a file, the variable
/// WEIR_MAX_SESSIONS, a line of --help and of --print-config; "--http.listen,--http" stands in the
/// section [http] of a file and has a short form on the command line. No option may have the name
/// of a section. A place that comes later replaces what an earlier one gave, lists too.
class config_parser {
 public:
  /// `name` and `summary` head the help text.
  config_parser(std::string name, std::string summary);
  ~config_parser();
  config_parser(const config_parser&) = delete;
  config_parser& operator=(const config_parser&) = delete;

  /// An option that may be given any number of times, --echo ADDR:PORT: a list in a file
  /// (echo = ["127.0.0.1:7"]), with commas in the environment. `accept` gets each value, once all
  /// places are read, and returns an error text ("must be ...") or nothing.
  void repeated(const std::string& option, const std::string& placeholder, const std::string& help,
                std::function<std::string(std::string_view)> accept);
  /// An option with one value that `accept` reads, if it is given. `initial` is what help and
  /// --print-config show for the default; empty: none.
  void value(const std::string& option, const std::string& placeholder, const std::string& help,
             const std::string& initial, std::function<std::string(std::string_view)> accept);
  /// An option with one value and a default shown in the help.
  void value(const std::string& option, const std::string& placeholder, const std::string& help,
             std::string& target);
  void flag(const std::string& option, const std::string& help, bool& target);
  /// For a tool that is given a server's file: the server's own keys are nothing to it.
  void pass_over_unknown_keys_in_files();

  /// Throws config_error. `environment` is "NAME=value" strings, the process's own by default.
  config parse(const std::vector<std::string>& arguments,
               const std::vector<std::string>& environment) const;
  /// The same for main(): --help and --print-config print and exit 0; errors go to stderr and
  /// exit 2.
  config parse_or_exit(int argc, char** argv) const;
  /// What --help prints.
  std::string help() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir

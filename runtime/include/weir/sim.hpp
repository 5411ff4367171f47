// Test your server in a simulated network: each host is a shard with weir's own TCP stack, all of
// them in one thread under one virtual clock and one seed. A simulated hour of an idle server takes
// no time; a lossy link, a partition or a slow peer is one line; and a run that fails can be run
// again, exactly, from its seed.
//
//   weir::sim::network net({.seed = 7});
//   auto& log = net.keep(std::vector<std::string>());  // what tasks refer to: see keep()
//   auto& server = net.add_host("10.0.0.1/24");
//   auto& client = net.add_host("10.0.0.2/24");
//   net.link(server, client, {.delay = 10ms, .loss = 0.01});
//   net.start(server, serve);       // the same task<> serve(weir::shard&) that run() takes
//   net.start(client, [&](weir::shard&) { return exercise(server.address(), log); });
//   net.run();                      // until every task that was started has ended; throws what one
//                                   // of them threw
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "weir/config.hpp"
#include "weir/shard.hpp"
#include "weir/stack/host.hpp"
#include "weir/stack/sim.hpp"
#include "weir/task.hpp"

namespace weir::detail {
class sim_disk;
}

namespace weir::sim {

struct network_options {
  std::uint64_t seed = 1;
  /// Every host's packets go to this pcapng file, with virtual time; empty: none.
  std::string pcap = {};
};

struct host_options {
  std::string name = {};                         ///< for traces; empty: the first address
  std::vector<std::string> more_addresses = {};  ///< "10.0.1.1/24", "fd00::1/64"
  weir::config settings = {};                    ///< [listen], [tcp] and [offload], stack.mtu
  stack::host_limits limits = {};
  duration offload_time = {};  ///< that each function given to offload() keeps a thread
  /// Changes the stack's defaults for every connection of this host.
  std::function<void(stack::tcp_options&)> tune = {};
};

/// Nothing can happen any more, or the limit was reached, before what was waited for. what() has a
/// line for each place at which tasks wait.
class stalled : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A simulated host's files, in memory: what weir/file.hpp finds there. Every call keeps one of the
/// host's virtual threads for host_options::offload_time. Paths that do not begin with a slash
/// begin at the root.
class disk {
 public:
  explicit disk(detail::sim_disk& inside) : inside_(&inside) {}

  /// Makes a file, and the directories that lead to it; replaces what is there.
  void put(const std::string& path, std::string contents);
  /// Null where no file is.
  const std::string* contents(const std::string& path) const;
  /// All files together; beyond it writes are no_space_on_device.
  void set_capacity(std::uint64_t bytes);
  /// The next calls fail with this.
  void fail_next(std::error_code error, unsigned times = 1);

 private:
  detail::sim_disk* inside_;
};

class attachment;
class interface;

/// One simulated machine. Owned by its network.
class host {
 public:
  weir::shard& shard();
  sim::disk disk();
  /// For counters, tcp_info and listeners' queues.
  stack::host& stack();
  const std::string& name() const;
  const ip_address& address() const;
  /// What network::add_network() added.
  sim::interface& interface(std::string_view name);
  ~host();
  host(const host&) = delete;
  host& operator=(const host&) = delete;

 private:
  friend class network;
  friend class attachment;
  struct impl;
  explicit host(std::unique_ptr<impl> inside);
  std::unique_ptr<impl> impl_;
};

/// A further interface of a host, with a stack of its own. Owned by its network.
class interface {
 public:
  /// As listen(), connect() and the like take it.
  const std::string& name() const { return name_; }
  const ip_address& address() const { return address_; }
  stack::host& stack() { return *stack_; }

 private:
  friend class network;
  friend class attachment;
  interface(std::string name, const ip_address& address)
      : name_(std::move(name)), address_(address) {}
  std::string name_;
  ip_address address_;
  stack::host* stack_ = nullptr;
  node_id node_{};
};

/// What a link joins: a host, by its first interface, or another interface.
class attachment {
 public:
  attachment(host& of);            // NOLINT(google-explicit-constructor)
  attachment(sim::interface& at);  // NOLINT(google-explicit-constructor)
  node_id node() const { return node_; }

 private:
  node_id node_;
};

/// A simulated network and everything in it. One thread; not thread-safe.
///
/// When one of the run functions throws, every task has been cancelled and has ended, on every
/// host: the network can be looked at, and run no more.
class network {
 public:
  explicit network(const network_options& options = {});
  /// Cancels what still runs on any host, and lets it end.
  ~network();
  network(const network&) = delete;
  network& operator=(const network&) = delete;

  /// A host with this address and prefix length. Throws std::invalid_argument.
  host& add_host(std::string_view address, const host_options& options = {});
  /// One more network of a host, with this address and prefix length on an interface and a stack of
  /// its own: what [network.NAME] is elsewhere. One that is called "kernel" stands for the
  /// machine's own sockets. Of `options` it takes more_addresses, the settings' [listen], [tcp] and
  /// stack.mtu, limits and tune. Throws std::invalid_argument: no address, or a name that is taken.
  sim::interface& add_network(host& of, std::string_view name, std::string_view address,
                              const host_options& options = {});
  /// Joins two hosts, or interfaces. The link may be changed, or cut, while the network runs.
  sim::link& link(const attachment& a, const attachment& b, const link_options& options = {});

  /// Packets of `from` to addresses that no host beside it has go by this link, whose other end
  /// takes them where it listens for others' addresses (shard::listen_any()).
  void send_others_by(const attachment& from, sim::link& over);

  /// Starts a task on a host; it runs within run(), run_for() and the like. `main` is kept until
  /// the task has ended, so that a coroutine lambda's captures live long enough.
  void start(host& where, std::function<task<>(weir::shard&)> main);

  /// The same for a server, which waits for ever: what run() is given. It does not keep run() from
  /// ending: once all other tasks have ended its host is asked to stop, as by a first SIGTERM, and
  /// run() waits for its end (a drain, say). Such a host does not serve again.
  void serve(host& where, std::function<task<>(weir::shard&)> main);

  /// Runs until every started task has ended. Throws what a task threw (the first); `stalled` when
  /// `limit` passes or when nothing can happen any more, with who waits for what.
  void run(duration limit = std::chrono::hours(24));
  /// Runs for this much virtual time. Throws what a task threw.
  void run_for(duration time);
  /// Runs until `done`, asked whenever nothing is left to do at an instant; false when `limit`
  /// passed before. Throws what a task threw.
  bool run_until(const std::function<bool()>& done, duration limit = std::chrono::hours(24));
  /// Runs until no packet travels and no timer is left; false when `limit` passed before. Throws
  /// what a task threw.
  bool run_until_idle(duration limit = std::chrono::hours(24));

  /// Keeps an object for the tasks, which may refer to it until they have ended, whatever ends
  /// them. Tasks that still run when a test leaves its scope (a check throws) are ended by the
  /// network's destructor, and what was declared after the network is gone by then: such things are
  /// kept here, or declared before the network.
  template <class T>
  T& keep(T object) {
    auto kept = std::make_shared<T>(std::move(object));
    keep(std::shared_ptr<void>(kept));
    return *kept;
  }

  std::uint64_t seed() const;
  instant now() const;
  /// Tasks that were started and have not ended.
  std::size_t running() const;
  /// A hash over every packet and its instant: equal runs have equal ones.
  std::uint64_t trace() const;
  sim::fabric& wires();

 private:
  struct impl;
  void keep(std::shared_ptr<void> object);

  std::unique_ptr<impl> impl_;
};

}  // namespace weir::sim

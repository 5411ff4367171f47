// A shard: one thread's runtime. It owns a driver (where completions and time come from), a
// transport (where sockets live), a timer wheel, a ready queue and a mailbox. Nothing is shared
// between shards but what crosses on purpose: submit_to(), post(). Every call below is made on the
// shard's own thread unless it says otherwise (asserted).
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "weir/detail/cancel.hpp"
#include "weir/detail/mailbox.hpp"
#include "weir/detail/operation.hpp"
#include "weir/detail/pulse.hpp"
#include "weir/detail/ready.hpp"
#include "weir/detail/timer.hpp"
#include "weir/options.hpp"
#include "weir/stack/result.hpp"
#include "weir/unix_endpoint.hpp"

namespace weir {

struct config;
class tcp_listener;
class udp_flow_listener;
class udp_socket;
class unix_listener;

namespace detail {
class connect_awaiter;
class unix_connect_awaiter;
class driver;
class flight_recorder;
class timer_wheel;
class transport;
struct socket_base;
struct surroundings;
}  // namespace detail

/// What a shard counts of itself.
struct shard_counters {
  std::uint64_t turns = 0;     ///< of the loop
  std::uint64_t resumed = 0;   ///< coroutines taken from the ready queue
  std::uint64_t messages = 0;  ///< from other shards
  std::uint64_t timers_fired = 0;
  std::uint64_t budget_exhausted =
      0;  ///< operations that were ready but had to let others run first
};

/// Posts to a shard that may be gone by then: what a callback of some other library, or a thread of
/// the program's own, keeps. Copies are handles on the same shard. Any thread.
class poster {
 public:
  poster() = default;

  /// Runs `f` on the shard, outside every coroutine, soon. False where the shard has gone: `f` was
  /// not taken, and goes here. `f` must not throw.
  bool post(std::function<void()> f) const;

 private:
  friend class shard;
  struct target;
  std::shared_ptr<target> to_;
};

class shard {
 public:
  /// `settings` outlives the shard. The pieces come from the back end's factory (see
  /// weir/runtime.hpp).
  shard(unsigned index, const config& settings, std::unique_ptr<detail::driver> driver,
        std::unique_ptr<detail::transport> transport);
  ~shard();
  shard(const shard&) = delete;
  shard& operator=(const shard&) = delete;

  unsigned index() const { return index_; }
  const config& settings() const { return *settings_; }
  /// The back end's name: "uring", "asio", "stack", "sim".
  std::string_view backend() const;
  /// The loop's idea of now: read once per turn.
  instant now() const { return now_; }
  const shard_counters& counters() const { return counters_; }
  /// How its turns are spread; measured where run_until() drives it.
  const shard_histograms& histograms() const { return histograms_; }

  /// Listens. Options that are not set come from the configuration's [listen].
  /// Throws io_error: address_in_use, address_not_available, permission_denied (a wildcard without
  /// allow_wildcard, a privileged port), operation_not_supported (an option that this back end
  /// lacks).
  tcp_listener listen(const endpoint& local, const listen_options& options = {});
  /// The same without an exception.
  result<tcp_listener> try_listen(const endpoint& local, const listen_options& options = {});

  /// Listens for others' addresses, as a gateway does (stack): whoever connects to one of them is
  /// accepted here, and the stream's local endpoint is the one that was meant. Listeners on the
  /// address itself go first. Loopback, multicast, broadcast and unspecified addresses are never
  /// among them. Throws io_error: address_in_use, invalid_argument (no such ports),
  /// not_enough_memory (64 of them), operation_not_supported (kernel sockets, several shards).
  tcp_listener listen_any(const any_destination& where, const listen_options& options = {});
  result<tcp_listener> try_listen_any(const any_destination& where,
                                      const listen_options& options = {});

  /// Connects: co_await gives a tcp_stream. Throws connection_refused, timed_out,
  /// network_unreachable, ...
  detail::request<detail::connect_awaiter> connect(const endpoint& remote,
                                                   const connect_options& options = {});

  /// The same on a Unix socket (weir/unix.hpp). An unnamed one gets an abstract name that is free.
  /// A file that a listener left behind, and on whose socket nobody listens, makes way. Throws
  /// io_error: address_in_use, permission_denied, no_such_file_or_directory, invalid_argument (a
  /// mode without a path), operation_not_supported.
  unix_listener listen(const unix_endpoint& local, const unix_listen_options& options = {});
  result<unix_listener> try_listen(const unix_endpoint& local,
                                   const unix_listen_options& options = {});

  /// Binds a UDP socket; port 0 takes a free one. Throws io_error: address_in_use,
  /// address_not_available, permission_denied (a wildcard without allow_wildcard, a privileged
  /// port), operation_not_supported (an option that this back end lacks).
  udp_socket bind_udp(const endpoint& local, const udp_options& options = {});
  /// The same without an exception.
  result<udp_socket> try_bind_udp(const endpoint& local, const udp_options& options = {});
  /// A UDP socket that talks to one remote only. `local` may stay unspecified: an address that
  /// leads there and a free port. Sends nothing, so nothing is awaited. Throws what bind_udp() and
  /// udp_socket::connect() throw.
  udp_socket connect_udp(const endpoint& remote, const endpoint& local = {},
                         const udp_options& options = {});
  result<udp_socket> try_connect_udp(const endpoint& remote, const endpoint& local = {},
                                     const udp_options& options = {});

  /// Takes datagrams for others' addresses, as a gateway does (stack): listen_any() for UDP.
  /// Throws what that throws.
  udp_flow_listener listen_any_udp(const any_destination& where,
                                   const udp_flow_options& options = {});
  result<udp_flow_listener> try_listen_any_udp(const any_destination& where,
                                               const udp_flow_options& options = {});

  /// The shards of this run(), by index, this one among them. They are there until every serve()
  /// has ended. A shard that run() did not make is alone.
  std::span<shard* const> siblings() const;

  /// Stops accepting: every accept() on this shard gives an empty result from now on. Any thread.
  void request_stop() noexcept;
  bool stop_requested() const { return stopping_.requested(); }
  /// Cancels everything that runs on this shard. Any thread.
  void request_cancel() noexcept;

  /// 64 bits that nobody can foretell; in a simulation, of its seed, and so the same in each run.
  std::uint64_t draw_seed();
  /// What a layer keeps for each shard: made as T(shard) by the first call, goes with the shard,
  /// before its back end.
  template <class T>
  T& local() {
    static constexpr char key = 0;  // its address tells one T from another
    for (auto& one : locals_)
      if (one.key == &key) return *static_cast<T*>(one.object.get());
    std::shared_ptr<T> made = std::make_shared<T>(*this);
    locals_.push_back({&key, made});
    return *made;
  }

  /// Runs `f` on the shard, outside every coroutine, soon. Any thread; `f` must not throw. The
  /// shard must be there: whoever cannot know that keeps a poster().
  void post(std::function<void()> f);
  /// The same for as long as anybody likes.
  weir::poster poster();

  // --- Running it (for run(), the simulator and tests).

  /// Drives the shard until `done` says so after a turn.
  void run_until(const std::function<bool()>& done);
  /// Runs what is ready: messages, timers, coroutines; true when something was done. What the
  /// driver has found is handed out by the driver's own turn: a loop of one's own takes
  /// weir/loop.hpp.
  bool poll();
  /// When poll() has something to do at the latest.
  instant next_deadline();
  /// Starts a root task: its end, or its exception, goes to `on_end`. Owner thread, or before the
  /// thread runs.
  void start(task<> root, std::function<void(std::exception_ptr)> on_end);
  /// Coroutines that were started here, or left behind by a scope that went, and have not ended.
  std::size_t roots() const { return roots_; }

  // --- For weir's own parts.

  /// What any thread may look at.
  detail::pulse& pulse() { return pulse_; }
  detail::driver& driver() { return *driver_; }
  detail::transport& transport() { return *transport_; }
  /// The network so called, which is made when it is first asked for. Empty: the back end's.
  /// operation_not_supported: there is none.
  result<detail::transport*> network(std::string_view name) noexcept;
  /// Without `make` it is another name of the back end's. Names live as long as the shard.
  void offer_network(std::string_view name,
                     std::function<std::unique_ptr<detail::transport>()> make = {});
  /// One that is there already.
  void add_network(std::string_view name, std::unique_ptr<detail::transport> made);
  /// Another name of a network that is offered.
  void name_network(std::string_view name, std::string_view of);
  /// In words, for an error: what networks there are where none is called `name`; else nothing.
  std::string networks_hint(std::string_view name) const;
  /// Why a network has no working socket any more, and never will: a device is gone.
  std::error_code failed_network() const noexcept;
  /// Sockets of all networks that were given up and are not gone yet.
  std::size_t closing() const;
  /// Of the networks beside the back end's: those that were made.
  std::vector<std::pair<std::string_view, detail::transport*>> other_networks() const;
  /// What the shard reaches beside its sockets: set by who makes it, before it runs.
  detail::surroundings& around() { return *around_; }
  /// Of what happens on this shard; null where observe.recorder is off.
  const std::shared_ptr<detail::flight_recorder>& recorder() const { return recorder_; }
  detail::cancel_state& root_cancel() { return cancel_; }
  detail::cancel_state& stopping() { return stopping_; }
  void make_ready(detail::ready_node& node) noexcept { ready_.push(node); }
  /// Coroutines whose wait is over, and that go on in the next turn.
  const detail::ready_queue& ready() const { return ready_; }
  void arm(detail::timer_node& timer, instant deadline) noexcept;
  bool spend_budget(unsigned cost) noexcept;
  /// Bytes that a system call copied while a coroutine ran: a turn that carries many ends sooner.
  void spend_budget_on(std::size_t bytes) noexcept;
  void note_spent(detail::socket_base& socket, std::size_t bytes) noexcept;
  /// Forgets a socket that goes while it is noted as spent.
  void forget_spent(detail::socket_base& socket) noexcept;
  /// Hands a message to this shard. Any thread; wakes the shard when it sleeps. What the message
  /// does may lead to the shard's end: that waits until this call is over.
  void deliver(detail::message& m) noexcept;
  bool on_this_thread() const noexcept;
  void root_started() { ++roots_; }
  void root_ended() { --roots_; }

 private:
  static constexpr unsigned operations_per_turn = 256;
  static constexpr unsigned least_operations = 16;  // of a coroutine, while the turn has some left
  static constexpr unsigned budget_per_turn = operations_per_turn * detail::operation_cost;
  static constexpr std::size_t bytes_per_operation = 4096;  // so a mebibyte a turn, and one call

  bool run_ready();
  bool judge_deadlines();
  bool read_mailbox();
  void settle();
  static void on_stop(detail::message& m) noexcept;
  static void on_cancel(detail::message& m) noexcept;

  struct local_object {
    const char* key;
    std::shared_ptr<void> object;
  };

  struct other_network {
    std::string_view name;
    std::string_view of;  // of which it is another name
    std::function<std::unique_ptr<detail::transport>()> make;
    std::unique_ptr<detail::transport> made;
  };

  // Sent to this shard at most once each, from any thread.
  struct request : detail::message {
    request(void (*f)(detail::message&) noexcept, shard& s) : message(f), target(&s) {}
    shard* target;
    std::atomic<bool> sent{false};
  };

  unsigned index_;
  const config* settings_;
  std::shared_ptr<detail::flight_recorder> recorder_;
  std::unique_ptr<detail::timer_wheel> timers_;
  detail::cancel_state cancel_;
  detail::cancel_state stopping_;
  detail::ready_queue ready_;
  detail::socket_base* spent_ = nullptr;
  unsigned budget_ = budget_per_turn;  // of this turn
  unsigned share_ = budget_per_turn;   // of who runs now
  instant now_;
  std::size_t roots_ = 0;
  shard_counters counters_;
  shard_histograms histograms_;
  detail::pulse pulse_;
  detail::mailbox mailbox_;
  std::atomic<unsigned> delivering_{0};  // calls of deliver()
  std::atomic<std::thread::id> thread_{};
  request stop_request_;
  request cancel_request_;
  weir::poster poster_;
  std::unique_ptr<detail::driver> driver_;
  std::unique_ptr<detail::transport> transport_;
  std::vector<other_network> networks_;
  std::unique_ptr<detail::surroundings> around_;
  std::vector<local_object> locals_;  // goes before the back end
};

/// The shard that this coroutine runs on: co_await weir::this_shard().
struct this_shard_awaiter {
  this_shard_awaiter() = default;
  bool await_ready() const noexcept { return false; }
  template <detail::weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
    owner_ = self.promise().owner;
    return false;
  }
  shard& await_resume() const noexcept { return *owner_; }

 private:
  shard* owner_ = nullptr;
};
inline this_shard_awaiter this_shard() { return {}; }

}  // namespace weir

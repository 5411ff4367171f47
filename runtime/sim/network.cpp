// sim::network: shards on virtual drivers, one fabric. It polls every shard that has something to
// do until none has, then moves the clock to the nearest of packet arrivals and deadlines. Nothing
// else makes time pass.
#include "weir/sim.hpp"

#include <algorithm>
#include <cassert>
#include <deque>

#include "runtime/core/task_report.hpp"
#include "runtime/driver/virtual/virtual_driver.hpp"
#include "runtime/observe/pcapng.hpp"
#include "runtime/sim/sim_disk.hpp"
#include "runtime/sim/sim_local.hpp"
#include "runtime/sim/sim_offload.hpp"
#include "runtime/sim/sim_stack.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "weir/detail/surroundings.hpp"

namespace weir::sim {

struct host::impl {
  std::string name;
  ip_address address;
  config settings;
  detail::virtual_driver* driver = nullptr;
  detail::stack_transport* transport = nullptr;
  std::shared_ptr<detail::sim_disk> disk;
  std::deque<sim::interface> interfaces;  // beside the first; shards and users refer to them
  std::unique_ptr<weir::shard> shard;
  bool touched = true;  // something was given to it from outside its own loop
};

host::host(std::unique_ptr<impl> inside) : impl_(std::move(inside)) {}
host::~host() = default;
weir::shard& host::shard() { return *impl_->shard; }
sim::disk host::disk() { return sim::disk(*impl_->disk); }
stack::host& host::stack() { return impl_->transport->host(); }
const std::string& host::name() const { return impl_->name; }
const ip_address& host::address() const { return impl_->address; }
sim::interface& host::interface(std::string_view name) {
  for (auto& one : impl_->interfaces)
    if (one.name() == name) return one;
  throw std::invalid_argument(impl_->name + " has no network " + std::string(name));
}

attachment::attachment(host& of) : node_(of.impl_->driver->node()) {}
attachment::attachment(sim::interface& at) : node_(at.node_) {}

struct network::impl {
  // How often one instant may be looked at before the run is called endless: a coroutine that spins
  // on yields, or a timer that is always due, would otherwise hang the test without a word.
  static constexpr unsigned max_rounds = 1'000'000;

  explicit impl(const network_options& options) : wires(options.seed) {
    if (!options.pcap.empty()) capture = std::make_unique<detail::pcapng_file>(options.pcap);
  }

  struct started {
    std::function<task<>(weir::shard&)> main;
    host* serves = nullptr;  // asked to stop when nothing but servers is left
    bool ended = false;
  };

  void start(host& where, std::function<task<>(weir::shard&)> main, bool serves);
  void stop_servers();
  std::string who_waits() const;

  void settle();
  bool poll_all();
  instant next_deadline() const;
  bool run(const std::function<bool()>& done, instant until, bool& idle);
  void end_all() noexcept;
  /// What the tasks refer to may be gone as soon as the exception has left the caller's scope.
  template <class Exception>
  [[noreturn]] void fail(Exception error) {
    end_all();
    throw error;
  }
  bool run_checked(const std::function<bool()>& done, instant until, bool& idle);

  std::vector<std::shared_ptr<void>> kept;  // first: it goes after all that may refer to it
  fabric wires;
  std::unique_ptr<detail::pcapng_file> capture;
  std::vector<std::unique_ptr<host>> hosts;
  std::vector<std::unique_ptr<started>> mains;
  std::size_t running = 0;
  std::size_t serving = 0;  // of these
  std::exception_ptr failure;
};

bool network::impl::poll_all() {
  bool any = false;
  for (auto& h : hosts) {
    auto& inside = *h->impl_;
    auto due = inside.touched || inside.driver->has_packets() ||
               inside.shard->next_deadline() <= wires.now();
    if (!due) continue;
    any = true;
    inside.touched = false;
    inside.driver->turn(wires.now());
    if (inside.shard->poll()) inside.touched = true;
  }
  return any;
}

// Everything that happens at this instant.
void network::impl::settle() {
  for (unsigned round = 0; round < max_rounds; ++round) {
    wires.advance_to(wires.now());
    if (!poll_all() && wires.next_event() > wires.now()) return;
  }
  throw stalled("the simulation does not get past " + std::to_string(wires.now().ns()) +
                " ns: something is ready again and again");
}

instant network::impl::next_deadline() const {
  auto next = wires.next_event();
  for (const auto& h : hosts) next = std::min(next, h->impl_->shard->next_deadline());
  return next;
}

// False when `until` came first; `idle` when nothing can happen any more.
bool network::impl::run(const std::function<bool()>& done, instant until, bool& idle) {
  idle = false;
  for (;;) {
    settle();
    mains.erase(std::remove_if(mains.begin(), mains.end(), [](const auto& m) { return m->ended; }),
                mains.end());
    if (failure || done()) return true;
    auto next = next_deadline();
    if (next.is_never()) {
      idle = true;
      return false;
    }
    if (next > until) {
      wires.advance_to(until);
      return false;
    }
    wires.advance_to(next);
  }
}

// Cancels what still runs on any host, and lets it end.
void network::impl::end_all() noexcept {
  auto all_ended = [&] {
    return std::all_of(hosts.begin(), hosts.end(),
                       [](const auto& h) { return h->impl_->shard->roots() == 0; });
  };
  for (auto& h : hosts) h->impl_->shard->request_cancel();
  for (auto& h : hosts) h->impl_->touched = true;
  failure = nullptr;
  bool idle = false;
  try {
    // Tasks may need virtual time to end (a drain); a failure of one does not stop the others.
    auto until = wires.now() + std::chrono::hours(24);
    while (!all_ended() && !idle && wires.now() < until) {
      run(all_ended, until, idle);
      failure = nullptr;
    }
  } catch (const stalled&) {
    // The shards' own assertions say which coroutine it was.
  }
}

// run() for the network's users: whatever leaves it as an exception leaves no task behind.
bool network::impl::run_checked(const std::function<bool()>& done, instant until, bool& idle) {
  bool reached = false;
  try {
    reached = run(done, until, idle);
  } catch (const stalled& error) {
    fail(error);
  }
  if (failure) {
    const auto first = std::exchange(failure, nullptr);
    end_all();
    std::rethrow_exception(first);
  }
  return reached;
}

network::network(const network_options& options) : impl_(std::make_unique<impl>(options)) {}

network::~network() { impl_->end_all(); }

namespace {

/// Into the settings; gives them without their prefix lengths.
std::vector<ip_address> take_addresses(std::string_view first, const host_options& options,
                                       config& settings) {
  settings.stack.address.clear();
  std::vector<ip_address> owned;
  auto add = [&](std::string_view text) {
    auto prefix = ip_prefix::parse(text);
    if (!prefix)
      throw std::invalid_argument("not an address with a prefix length: " + std::string(text));
    settings.stack.address.push_back(*prefix);
    owned.push_back(prefix->address);
  };
  add(first);
  for (const auto& more : options.more_addresses) add(more);
  return owned;
}

}  // namespace

host& network::add_host(std::string_view address, const host_options& options) {
  auto inside = std::make_unique<host::impl>();
  auto& settings = inside->settings;
  settings = options.settings;
  settings.backend = "sim";
  std::vector<ip_address> owned = take_addresses(address, options, settings);
  inside->address = owned.front();
  inside->name = options.name.empty() ? inside->address.to_string() : options.name;

  auto driver =
      std::make_unique<detail::virtual_driver>(impl_->wires, inside->name, std::move(owned));
  inside->driver = driver.get();
  auto index = static_cast<unsigned>(impl_->hosts.size());
  auto how = detail::simulated_stack(settings, impl_->wires.seed(), index);
  how.host.limits = options.limits;
  if (options.tune) options.tune(how.host.tcp);
  if (impl_->capture) how.tap = impl_->capture->add_interface(inside->name);
  auto transport = std::make_unique<detail::stack_transport>(*driver, std::move(how));
  inside->transport = transport.get();
  inside->shard =
      std::make_unique<weir::shard>(index, settings, std::move(driver), std::move(transport));
  inside->disk = std::make_shared<detail::sim_disk>([this] { return impl_->wires.now(); });
  inside->shard->around().files = inside->disk;
  auto locals = std::make_shared<detail::sim_local>(settings);
  locals->attach(*inside->shard);
  inside->shard->around().locals = std::move(locals);
  inside->shard->around().pool =
      std::make_shared<detail::sim_offload>(settings, options.offload_time);
  impl_->hosts.push_back(std::unique_ptr<host>(new host(std::move(inside))));
  return *impl_->hosts.back();
}

sim::interface& network::add_network(host& of, std::string_view name, std::string_view address,
                                     const host_options& options) {
  auto& inside = *of.impl_;
  const auto taken = [&](const sim::interface& one) { return one.name() == name; };
  if (name.empty() || name == inside.shard->backend() ||
      std::ranges::any_of(inside.interfaces, taken))
    throw std::invalid_argument("a network's name that is taken: '" + std::string(name) + "'");
  auto settings = options.settings;
  auto owned = take_addresses(address, options, settings);
  auto& made = inside.interfaces.emplace_back(sim::interface(std::string(name), owned.front()));
  const auto label = inside.name + "/" + made.name();
  const int number = inside.driver->add_interface(label, std::move(owned));
  made.node_ = inside.driver->node(number);
  // A secret of its own: the first interface's number is the host's.
  constexpr unsigned most_hosts = 1u << 16;
  auto how =
      detail::simulated_stack(settings, impl_->wires.seed(),
                              inside.shard->index() + most_hosts * static_cast<unsigned>(number));
  how.host.limits = options.limits;
  how.device = number;
  if (options.tune) options.tune(how.host.tcp);
  if (impl_->capture) how.tap = impl_->capture->add_interface(label);
  auto transport = std::make_unique<detail::stack_transport>(*inside.driver, std::move(how));
  made.stack_ = &transport->host();
  inside.shard->add_network(made.name(), std::move(transport));
  return made;
}

sim::link& network::link(const attachment& a, const attachment& b, const link_options& options) {
  return impl_->wires.join(a.node(), b.node(), options);
}

void network::send_others_by(const attachment& from, sim::link& over) {
  impl_->wires.send_others_by(from.node(), over);
}

void network::impl::start(host& where, std::function<task<>(weir::shard&)> main, bool serves) {
  mains.push_back(std::make_unique<started>());
  auto* one = mains.back().get();
  one->main = std::move(main);
  one->serves = serves ? &where : nullptr;
  ++running;
  if (serves) ++serving;
  where.impl_->touched = true;
  where.shard().start(one->main(where.shard()), [this, one](std::exception_ptr failed) {
    one->ended = true;
    --running;
    if (one->serves != nullptr) --serving;
    if (failed && !failure) failure = failed;
  });
}

void network::impl::stop_servers() {
  for (auto& one : mains) {
    if (one->ended || one->serves == nullptr) continue;
    one->serves->shard().request_stop();
    one->serves->impl_->touched = true;
  }
}

std::string network::impl::who_waits() const {
  constexpr std::size_t most_lines = 20;
  std::string out;
  for (const auto& h : hosts) {
    auto& shard = *h->impl_->shard;
    if (shard.roots() == 0) continue;
    detail::task_reporter reporter(shard, {.listed = 0, .groups = 4 * most_lines});
    while (!reporter.go_on()) {
    }
    for (const auto& line : detail::lines_by_place(reporter.take(), most_lines))
      out += "\n  " + h->name() + ": " + line;
  }
  return out;
}

void network::start(host& where, std::function<task<>(weir::shard&)> main) {
  impl_->start(where, std::move(main), false);
}
void network::serve(host& where, std::function<task<>(weir::shard&)> main) {
  impl_->start(where, std::move(main), true);
}

void network::run(duration limit) {
  bool idle = false;
  const auto until = now() + limit;
  bool ended = impl_->run_checked([this] { return impl_->running == impl_->serving; }, until, idle);
  if (ended && impl_->serving != 0) {
    impl_->stop_servers();
    ended = impl_->run_checked([this] { return impl_->running == 0; }, until, idle);
  }
  if (ended) return;
  const bool one = impl_->running == 1;
  impl_->fail(stalled((one ? "a task" : std::to_string(impl_->running) + " tasks") +
                      (!idle ? " had not ended when the limit was reached"
                       : one ? " waits for what cannot happen any more"
                             : " wait for what cannot happen any more") +
                      impl_->who_waits()));
}

void network::run_for(duration time) {
  bool idle = false;
  auto until = now() + time;
  impl_->run_checked([] { return false; }, until, idle);
  impl_->wires.advance_to(until);
}

bool network::run_until(const std::function<bool()>& done, duration limit) {
  bool idle = false;
  return impl_->run_checked(done, now() + limit, idle);
}

bool network::run_until_idle(duration limit) {
  bool idle = false;
  impl_->run_checked([] { return false; }, now() + limit, idle);
  return idle;
}

void network::keep(std::shared_ptr<void> object) { impl_->kept.push_back(std::move(object)); }

std::uint64_t network::seed() const { return impl_->wires.seed(); }
instant network::now() const { return impl_->wires.now(); }
std::size_t network::running() const { return impl_->running; }
std::uint64_t network::trace() const { return impl_->wires.trace(); }
fabric& network::wires() { return impl_->wires; }

}  // namespace weir::sim

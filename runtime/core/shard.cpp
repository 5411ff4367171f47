// The shard's loop: fire timers, read the mailbox, resume what is ready, let the transport send,
// wait in the driver. One driver turn per turn of the loop, and coroutines are resumed here and
// nowhere else.
#include "weir/shard.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <mutex>
#include <utility>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/transport.hpp"
#include "runtime/core/flight_recorder.hpp"
#include "runtime/core/log.hpp"
#include "runtime/core/sockets/arguments.hpp"
#include "runtime/core/task_report.hpp"
#include "runtime/core/timer_wheel.hpp"
#include "stack/base/probes.hpp"
#include "weir/config.hpp"
#include "weir/detail/surroundings.hpp"
#include "weir/net.hpp"

namespace weir {

namespace {

/// A coroutine without a parent: keeps its frame, reports its end, goes with it.
struct root : detail::completion, detail::ready_node {
  root(shard& s, task<> t, std::function<void(std::exception_ptr)> f)
      : completion{&detail::kind_of_end<&root::ended, &root::tell>},
        owner(&s),
        frame(t.release()),
        on_end(std::move(f)) {
    auto& promise = frame.promise();
    promise.owner = &s;
    promise.cancel = &s.root_cancel();
    promise.on_done = this;
    handle = frame;
  }
  static void tell(const detail::completion&, detail::belonging_told& out) noexcept {
    out.of = detail::belonging_told::kind::root;
  }
  static void ended(detail::completion& c, detail::promise_base&) noexcept {
    std::unique_ptr<root> self(static_cast<root*>(&c));
    auto failure = std::move(self->frame.promise().failure);
    self->frame.destroy();
    self->owner->root_ended();
    self->on_end(std::move(failure));
  }

  shard* owner;
  std::coroutine_handle<detail::task_promise<void>> frame;
  std::function<void(std::exception_ptr)> on_end;
};

/// What to do about it, where the configuration is what stands in the way.
std::string listen_hint(const config& settings, const listen_options& options,
                        std::error_code error) {
  const auto how = options.sharing.value_or(settings.listen.sharing);
  if (error == std::errc::address_in_use && settings.shards != 1 && how == sharing::exclusive)
    return " (every shard listens, and listen.sharing is exclusive: set it to sharded for an "
           "accept queue each, or shared for one among them)";
  if (error == std::errc::operation_not_supported &&
      options.policy.value_or(settings.listen.policy) != sharding_policy::hash)
    return " (listen.policy: kernel sockets know no other than hash)";
  if (error == std::errc::operation_not_supported &&
      (options.owner_key != 0 || settings.listen.owner_key != 0))
    return " (listen.owner_key: kernel sockets know no keys, SO_REUSEPORT goes by the user)";
  return "";
}

struct posted : detail::message {
  explicit posted(std::function<void()> f) : message(&posted::call), function(std::move(f)) {}
  static void call(detail::message& m) noexcept {
    std::unique_ptr<posted> self(static_cast<posted*>(&m));
    self->function();
  }
  std::function<void()> function;
};

}  // namespace

// Of the configuration, but asked by what shards do alike.
unsigned config::shard_count() const {
  if (shards != 0) return shards;
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return 1;
  return std::max(1u, static_cast<unsigned>(CPU_COUNT(&usable)));
}

struct poster::target {
  explicit target(weir::shard& s) : shard(&s) {}
  std::mutex lock;  // the shard does not go while somebody posts to it
  weir::shard* shard;
};

bool poster::post(std::function<void()> f) const {
  const auto to = to_;  // `f` may run at once, and end whoever keeps this handle
  if (to == nullptr) return false;
  std::lock_guard locked(to->lock);
  if (to->shard == nullptr) return false;
  to->shard->post(std::move(f));
  return true;
}

shard::shard(unsigned index, const config& settings, std::unique_ptr<detail::driver> driver,
             std::unique_ptr<detail::transport> transport)
    : index_(index),
      settings_(&settings),
      now_(driver->now()),
      stop_request_(&shard::on_stop, *this),
      cancel_request_(&shard::on_cancel, *this),
      driver_(std::move(driver)),
      transport_(std::move(transport)),
      around_(std::make_unique<detail::surroundings>()) {
  timers_ = std::make_unique<detail::timer_wheel>(now_);
  if (settings.observe.recorder != 0)
    recorder_ = std::make_shared<detail::flight_recorder>(settings.observe.recorder);
  around_->siblings = {this};
  transport_->attach(*this);
}

shard::~shard() {
  assert(roots_ == 0 && "a shard went while coroutines ran on it");
  if (poster_.to_ != nullptr) {
    std::lock_guard locked(poster_.to_->lock);
    poster_.to_->shard = nullptr;
  }
  while (delivering_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  locals_.clear();  // what they close is settled like the rest
  settle();
  transport_->abandon();
  for (auto& one : networks_)
    if (one.made != nullptr) one.made->abandon();
  // Posted functions that never ran must still be freed; nothing else owns its message's memory.
  read_mailbox();
}

std::uint64_t shard::draw_seed() { return driver_->draw_seed(); }

std::span<shard* const> shard::siblings() const { return around_->siblings; }

std::string_view shard::backend() const { return transport_->name(); }

tcp_listener shard::listen(const endpoint& local, const listen_options& options) {
  auto listener = try_listen(local, options);
  if (!listener)
    throw io_error(listener.error(), "listen on " + local.to_string() +
                                         listen_hint(*settings_, options, listener.error()) +
                                         networks_hint(options.network));
  return std::move(*listener);
}

result<tcp_listener> shard::try_listen(const endpoint& local, const listen_options& options) {
  assert(on_this_thread());
  const bool any = options.allow_wildcard.value_or(settings_->listen.allow_wildcard);
  if (auto error = detail::check_local(local, any)) return error;
  if (auto error = detail::check_listen(options)) return error;
  const auto at = network(options.network);
  if (!at) return at.error();
  if (options.ask && !(*at)->asks()) return std::errc::operation_not_supported;
  if (auto error = detail::check_interface(options, local, {}, (*at)->on_kernel())) return error;
  auto socket = (*at)->listen(local, options);
  if (!socket) return socket.error();
  return tcp_listener(**socket);
}

tcp_listener shard::listen_any(const any_destination& where, const listen_options& options) {
  auto listener = try_listen_any(where, options);
  if (!listener)
    throw io_error(listener.error(), "listen on any address of " + where.network.to_string() +
                                         networks_hint(options.network));
  return std::move(*listener);
}

result<tcp_listener> shard::try_listen_any(const any_destination& where,
                                           const listen_options& options) {
  assert(on_this_thread());
  if (auto error = detail::check_listen(options)) return error;
  const auto at = network(options.network);
  if (!at) return at.error();
  auto socket = (*at)->listen_any(where, options);
  if (!socket) return socket.error();
  return tcp_listener(**socket);
}

result<detail::transport*> shard::network(std::string_view name) noexcept try {
  if (name.empty() || name == backend()) return transport_.get();
  for (auto& one : networks_) {
    if (one.name != name) continue;
    if (!one.of.empty()) return network(one.of);
    if (one.made == nullptr && one.make == nullptr) return transport_.get();
    if (one.made == nullptr) {
      auto made = one.make();
      made->attach(*this);
      one.made = std::move(made);
    }
    return one.made.get();
  }
  return std::errc::operation_not_supported;
} catch (const std::system_error& error) {
  detail::log_line("network " + std::string(name) + ": " + error.what());
  return error.code();
} catch (const std::exception& error) {
  detail::log_line("network " + std::string(name) + ": " + error.what());
  return std::errc::not_enough_memory;
}

void shard::offer_network(std::string_view name,
                          std::function<std::unique_ptr<detail::transport>()> make) {
  networks_.push_back({name, {}, std::move(make), nullptr});
}

void shard::add_network(std::string_view name, std::unique_ptr<detail::transport> made) {
  made->attach(*this);
  networks_.push_back({name, {}, {}, std::move(made)});
}

void shard::name_network(std::string_view name, std::string_view of) {
  networks_.push_back({name, of, {}, nullptr});
}

std::string shard::networks_hint(std::string_view name) const {
  if (name.empty() || name == backend()) return "";
  std::string known(backend());
  for (const auto& one : networks_) {
    if (one.name == name) return "";
    known += ", " + std::string(one.name);
  }
  return " (there is no network '" + detail::printable(name) + "'; there are " + known + ")";
}

std::error_code shard::failed_network() const noexcept {
  if (const auto error = transport_->failure()) return error;
  for (const auto& one : networks_)
    if (one.made != nullptr && one.make == nullptr)
      if (const auto error = one.made->failure()) return error;
  return {};
}

std::size_t shard::closing() const {
  auto all = transport_->closing();
  for (const auto& one : networks_)
    if (one.made != nullptr) all += one.made->closing();
  return all;
}

std::vector<std::pair<std::string_view, detail::transport*>> shard::other_networks() const {
  std::vector<std::pair<std::string_view, detail::transport*>> all;
  for (const auto& one : networks_)
    if (one.made != nullptr) all.emplace_back(one.name, one.made.get());
  return all;
}

detail::request<detail::connect_awaiter> shard::connect(const endpoint& remote,
                                                        const connect_options& options) {
  return weir::connect(remote, options);
}

void shard::request_stop() noexcept {
  if (!stop_request_.sent.exchange(true)) deliver(stop_request_);
}

void shard::request_cancel() noexcept {
  if (!cancel_request_.sent.exchange(true)) deliver(cancel_request_);
}

void shard::on_stop(detail::message& m) noexcept {
  auto& self = *static_cast<request&>(m).target;
  if (self.recorder_)
    self.recorder_->add({.at = self.now_, .what = detail::flight_event::kind::stop_requested});
  self.stopping_.request();
}

void shard::on_cancel(detail::message& m) noexcept {
  auto& self = *static_cast<request&>(m).target;
  if (self.recorder_)
    self.recorder_->add({.at = self.now_, .what = detail::flight_event::kind::cancel_requested});
  self.stopping_.request();
  self.cancel_.request();
}

void shard::post(std::function<void()> f) { deliver(*new posted(std::move(f))); }

poster shard::poster() {
  assert(on_this_thread());
  if (poster_.to_ == nullptr) poster_.to_ = std::make_shared<weir::poster::target>(*this);
  return poster_;
}

void shard::deliver(detail::message& m) noexcept {
  delivering_.fetch_add(1, std::memory_order_relaxed);
  mailbox_.put(m);
  // Paired with run_until(): either the sleeper sees the message, or we see that it sleeps.
  if (pulse_.sleeping.load(std::memory_order_seq_cst)) driver_->wake();
  delivering_.fetch_sub(1, std::memory_order_release);
}

bool shard::on_this_thread() const noexcept {
  auto owner = thread_.load(std::memory_order_relaxed);
  return owner == std::thread::id{} || owner == std::this_thread::get_id();
}

void shard::start(task<> root_task, std::function<void(std::exception_ptr)> on_end) {
  ++roots_;
  ready_.push(*new root(*this, std::move(root_task), std::move(on_end)));
}

void shard::arm(detail::timer_node& timer, instant deadline) noexcept {
  timers_->arm(timer, deadline);
}

bool shard::spend_budget(unsigned cost) noexcept {
  if (budget_ < cost || share_ < cost) {
    ++counters_.budget_exhausted;
    return false;
  }
  budget_ -= cost;
  share_ -= cost;
  return true;
}

void shard::spend_budget_on(std::size_t bytes) noexcept {
  const auto cost = bytes * detail::operation_cost / bytes_per_operation;
  budget_ -= static_cast<unsigned>(std::min<std::size_t>(budget_, cost));
}

void shard::note_spent(detail::socket_base& socket, [[maybe_unused]] std::size_t bytes) noexcept {
  probe::read(index_, &socket, bytes, 0);
  if (socket.spent_noted) return;
  socket.spent_noted = true;
  socket.next_spent = spent_;
  spent_ = &socket;
}

void shard::forget_spent(detail::socket_base& socket) noexcept {
  if (!socket.spent_noted) return;
  auto** link = &spent_;
  while (*link != &socket) link = &(*link)->next_spent;
  *link = socket.next_spent;
  socket.spent_noted = false;
}

void shard::settle() {
  auto* s = std::exchange(spent_, nullptr);
  while (s != nullptr) {
    auto* next = std::exchange(s->next_spent, nullptr);
    s->spent_noted = false;
    s->at->settle(*s);
    s = next;
  }
}

/// Whoever runs first takes no more of the turn than its part: two that depend on each other, as
/// one that reads and one that passes on, keep pace.
bool shard::run_ready() {
  auto batch = ready_.take();
  const auto before = counters_.resumed;
  const auto share = std::max(budget_per_turn / std::max(batch.size(), 1u),
                              least_operations * detail::operation_cost);
  while (auto* node = batch.pop()) {
    ++counters_.resumed;
    share_ = share;
    pulse_.resumed.store(detail::place_of(detail::promise_of(node->handle)),
                         std::memory_order_relaxed);
    node->handle.resume();
  }
  if (counters_.resumed == before) return false;
  histograms_.ready.add(counters_.resumed - before);
  pulse_.resumed.store(nullptr, std::memory_order_relaxed);
  return true;
}

/// What has come before a deadline is looked at before the deadline is judged, however late this
/// turn is: whoever computed for long must not take in-time answers for missing ones. As much may
/// have come as the turn is late; beyond that, a flood does not put deadlines off.
bool shard::judge_deadlines() {
  const auto late_by = now_ - timers_->next();
  histograms_.timer_late_ns.add(static_cast<std::uint64_t>(late_by.count()));
  const auto late = std::chrono::floor<std::chrono::milliseconds>(late_by);
  auto looks = 16 + 16 * std::min<std::int64_t>(late.count(), 10'000);
  for (; looks > 0 && driver_->behind(); --looks) driver_->turn(instant{});
  const auto fired = timers_->expire(now_);
  counters_.timers_fired += fired;
  return fired != 0;
}

bool shard::read_mailbox() {
  auto* m = mailbox_.take();
  bool any = m != nullptr;
  while (m != nullptr) {
    auto* next = m->next;
    ++counters_.messages;
    m->run(*m);
    m = next;
  }
  return any;
}

bool shard::poll() {
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  pulse_.turns.store(++counters_.turns, std::memory_order_relaxed);
  now_ = driver_->now();
  budget_ = share_ = budget_per_turn;
  bool any = read_mailbox();
  if (timers_->next() <= now_) any |= judge_deadlines();
  any |= run_ready();
  settle();
  transport_->before_wait(now_);
  for (auto& one : networks_)
    if (one.made != nullptr) one.made->before_wait(now_);
  return any || !ready_.empty();
}

instant shard::next_deadline() {
  if (!ready_.empty() || !mailbox_.empty()) return now_;
  auto first = std::min(timers_->next(), transport_->next_deadline());
  for (const auto& one : networks_)
    if (one.made != nullptr) first = std::min(first, one.made->next_deadline());
  return first;
}

void shard::run_until(const std::function<bool()>& done) {
  pulse_.thread.store(::gettid(), std::memory_order_relaxed);
  pulse_.sleeping.store(false, std::memory_order_release);
  for (;;) {
    poll();
    if (done()) break;
    auto deadline = next_deadline();
    histograms_.turn_ns.add(static_cast<std::uint64_t>((driver_->now() - now_).count()));
    pulse_.sleeping.store(true, std::memory_order_seq_cst);
    if (!mailbox_.empty()) deadline = now_;
    driver_->turn(deadline);
    // Whoever sees it awake sees the turn that is to come: none lasts as long as its sleep.
    pulse_.turns.store(counters_.turns + 1, std::memory_order_relaxed);
    pulse_.sleeping.store(false, std::memory_order_release);
    // (The watcher, before it sleeps, makes every thread see that it does: membarrier(2).)
    std::atomic_signal_fence(std::memory_order_seq_cst);
    auto* bell = pulse_.bell.load(std::memory_order_acquire);  // the watcher was just made
    if (bell != nullptr && bell->asleep.load(std::memory_order_relaxed)) bell->ring();
  }
  pulse_.sleeping.store(true, std::memory_order_release);  // whoever watches waits for no turn
}

namespace detail {

void make_ready(shard& owner, ready_node& node) noexcept { owner.make_ready(node); }
void arm_timer(shard& owner, timer_node& node, duration from_now) noexcept {
  // A coroutine may have computed for long since this turn began, and a short wait must not end
  // early for it. Long ones are armed with nearly every read of a server: there the turn's own
  // clock reading will do.
  constexpr duration short_wait = std::chrono::seconds(1);
  owner.arm(node, (from_now < short_wait ? owner.driver().now() : owner.now()) + from_now);
}
bool spend_budget(shard& owner, unsigned cost) noexcept { return owner.spend_budget(cost); }
void note_spent(socket_base& socket, std::size_t bytes) noexcept {
  socket.at->owner().note_spent(socket, bytes);
}
cancel_state& stopping(shard& owner) noexcept { return owner.stopping(); }
instant clock_of(shard& of) { return of.driver().now(); }
void note_waiting([[maybe_unused]] promise_base& waiter) noexcept {
#if WEIR_WITH_TASKS
  waiter.waits_since = static_cast<std::uint64_t>(waiter.owner->now().ns());
#endif
}

void operation::park(promise_base& waiter) noexcept {
  state_ = state::pending;
  note_waiting(waiter);
  if (waiter.cancel != nullptr) waiter.cancel->add(*this);
  if (const auto limit = timer_node::set_aside(); limit != no_limit)
    arm_timer(*owner_, *this, limit);
}

void operation::on_timeout(detail::timer_node& node) noexcept {
  auto& self = static_cast<operation&>(node);
  self.timed_out_ = !self.asked_;
  if (const auto& recorder = self.owner_->recorder(); recorder && self.timed_out_)
    recorder->add({.at = self.owner_->now(),
                   .about = place_of(promise_of(self.handle)),
                   .what = flight_event::kind::timed_out});
  self.ask_to_end();
}

}  // namespace detail

}  // namespace weir

// Puts the two sides of a case onto their shards: one shard for both on kernel sockets, two threads
// for the stack on TUN (the kernel's TCP is its peer), two simulated hosts for the simulator.
#include "conformance/harness.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <future>
#include <mutex>
#include <optional>

#include "conformance/loops.hpp"
#include "runtime/backend/transport.hpp"
#include "stack/device/private_network.hpp"
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

namespace conformance {

side::step_state& side::step(int number) {
  auto& slot = steps_[number];
  if (!slot) slot = std::make_unique<step_state>();
  return *slot;
}

void side::signal(int number, std::uint64_t value) {
  other->here.post([to = other, number, value] {
    auto& reached = to->step(number);
    reached.value = value;
    reached.reached.set();
  });
}

task<std::uint64_t> side::wait(int number) {
  auto& awaited = step(number);
  co_await awaited.reached.wait();
  co_return awaited.value;
}

tcp_listener side::listen(const weir::listen_options& options) {
  auto listener = here.listen({address, 0}, options);
  signal(port_known, listener.local_endpoint().port);
  return listener;
}

tcp_listener side::listen_v6(const weir::listen_options& options) {
  auto listener = here.listen({address_v6, 0}, options);
  signal(port_known, listener.local_endpoint().port);
  return listener;
}

task<endpoint> side::target() {
  auto port = co_await wait(port_known);
  co_return endpoint(other->address, static_cast<std::uint16_t>(port));
}

task<endpoint> side::target_v6() {
  auto port = co_await wait(port_known);
  co_return endpoint(other->address_v6, static_cast<std::uint16_t>(port));
}

task<tcp_stream> side::accept_one() {
  auto listener = listen();
  auto stream = co_await listener.accept();
  REQUIRE(stream.has_value());
  co_return std::move(*stream);
}

task<tcp_stream> side::connect() {
  auto to = co_await target();
  co_return co_await weir::connect(to);
}

task<tcp_stream> side::connect(weir::connect_options options) {
  auto to = co_await target();
  co_return co_await weir::connect(to, options);
}

std::vector<std::byte> pattern(std::size_t size, std::uint64_t from) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = pattern_at(from + i);
  return bytes;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

task<std::uint64_t> read_pattern(tcp_stream& stream, std::uint64_t limit, std::uint64_t from) {
  std::vector<std::byte> buffer(64 * 1024);
  std::uint64_t total = 0;
  while (total < limit) {
    auto want = std::min<std::uint64_t>(buffer.size(), limit - total);
    auto n = co_await stream.read_some(std::span(buffer).first(want));
    if (n == 0) break;
    std::size_t same = 0;
    while (same < n && buffer[same] == pattern_at(from + total + same)) ++same;
    REQUIRE_MESSAGE(same == n, "byte ", total + same, " differs from what was sent");
    total += n;
  }
  co_return total;
}

task<std::uint64_t> write_pattern(tcp_stream& stream, std::uint64_t size, std::size_t chunk) {
  std::uint64_t sent = 0;
  while (sent < size) {
    auto bytes = pattern(std::min<std::uint64_t>(chunk, size - sent), sent);
    sent += co_await stream.write_all(bytes);
  }
  co_return sent;
}

task<std::string> read_text(weir::any_stream& stream) {
  std::string text;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await stream.read_some(buffer);
    if (n == 0) break;
    text += text_of(std::span(buffer).first(n));
  }
  co_return text;
}

namespace {

[[maybe_unused]] const auto sim_subject = weir::ip_address::v4(0x0a000001);
[[maybe_unused]] const auto sim_peer = weir::ip_address::v4(0x0a000002);

/// Real time after which a case is taken for hung: a diagnosis, not a criterion.
constexpr auto patience = 50s;

/// "uring 6.1": with no more of io_uring than Linux 6.1 has. "dedicated" is the stack too, on a
/// thread of its own.
weir::config settings_for(const std::string& variant) {
  weir::config settings;
  const auto space = variant.find(' ');
  settings.backend = variant.substr(0, space);
  if (space != std::string::npos) settings.uring.profile = variant.substr(space + 1);
  if (settings.backend == "dedicated") {
    settings.backend = "stack";
    settings.stack.placement = weir::placement::dedicated;
  }
  return settings;
}

/// The kernel of the private network answers as often as it is asked: many cases in one process
/// would else use up its ration of ICMP errors for one address.
void lift_limit_on_icmp() {
  std::ofstream("/proc/sys/net/ipv4/icmp_ratelimit") << 0;
  std::ofstream("/proc/sys/net/ipv6/icmp/ratelimit") << 0;
}

/// The machine's own reason why a back end cannot be judged here; empty when it can.
std::string forbidden(const weir::config& settings) {
  if (settings.backend == "stack") {
    static const std::string entered = [] {
      std::string why;
      if (weir::stack::enter_private_network(why)) return why;
      lift_limit_on_icmp();
      return std::string();
    }();
    if (!entered.empty()) return entered;
  }
  auto usable = weir::probe_backend(settings.backend, settings);
  return usable.usable ? "" : usable.reason;
}

/// Counts the two roots, keeps the first failure, and cancels the other side with it.
class outcome {
 public:
  void ended(std::exception_ptr failure, weir::shard& other) {
    {
      std::lock_guard lock(mutex_);
      if (failure && !failure_) {
        failure_ = failure;
        other.request_cancel();
      }
    }
    if (running_.fetch_sub(1) == 1) all_ended_.set_value();
  }
  bool finished() const { return running_.load() == 0; }
  void wait() {
    if (all_ended_.get_future().wait_for(patience) == std::future_status::ready) return;
    std::fprintf(stderr, "the case hangs\n");
    std::abort();  // its threads cannot be ended otherwise
  }
  void report() {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::atomic<int> running_{2};
  std::promise<void> all_ended_;
};

void run_on_one_shard(const weir::config& settings, const std::string& backend, coroutine subject,
                      coroutine peer) {
  auto shard = weir::make_shard(0, settings);
  side first(*shard, backend, weir::ip_address::loopback_v4(), weir::ip_address::loopback_v6());
  side second(*shard, backend, weir::ip_address::loopback_v4(), weir::ip_address::loopback_v6());
  first.other = &second;
  second.other = &first;
  outcome both;
  shard->start(subject(first), [&](std::exception_ptr failure) { both.ended(failure, *shard); });
  shard->start(peer(second), [&](std::exception_ptr failure) { both.ended(failure, *shard); });
  auto deadline = std::chrono::steady_clock::now() + patience;
  auto tick = [](weir::shard&) -> task<> {
    for (;;) co_await sleep_for(100ms);
  };
  shard->start(tick(*shard), [](std::exception_ptr) {});  // so that a hang is noticed
  bool cancelled = false;
  shard->run_until([&] {
    if (both.finished() && !cancelled) {
      cancelled = true;
      shard->request_cancel();
    }
    if (std::chrono::steady_clock::now() > deadline) {
      std::fprintf(stderr, "the case hangs\n");
      std::abort();
    }
    return both.finished() && shard->roots() == 0 && shard->transport().closing() == 0;
  });
  both.report();
}

/// Both sides on one shard of another thread.
template <class Thread>
void run_on_one_thread(const weir::config& settings, const std::string& backend, coroutine subject,
                       coroutine peer) {
  std::optional<side> first, second;
  outcome both;
  Thread judged(settings);
  auto& shard = judged.shard();
  first.emplace(shard, backend, weir::ip_address::loopback_v4(), weir::ip_address::loopback_v6());
  second.emplace(shard, backend, weir::ip_address::loopback_v4(), weir::ip_address::loopback_v6());
  first->other = &*second;
  second->other = &*first;
  shard.post([&] {
    shard.start(subject(*first), [&](std::exception_ptr f) { both.ended(f, shard); });
    shard.start(peer(*second), [&](std::exception_ptr f) { both.ended(f, shard); });
  });
  both.wait();
  both.report();
}

template <class Thread>
void run_against_the_kernel(weir::config settings, const std::string& backend, coroutine subject,
                            coroutine peer) {
  static int device = 0;
  settings.stack.device = "weirc" + std::to_string(device++);
  settings.stack.address = {*weir::ip_prefix::parse("198.18.0.2/24"),
                            *weir::ip_prefix::parse("fd00:18::2/64")};
  settings.stack.host_address = {*weir::ip_prefix::parse("198.18.0.1/24"),
                                 *weir::ip_prefix::parse("fd00:18::1/64")};
  // Before the threads, so that they go after them: a signal may still be on its way when both
  // sides have ended.
  std::optional<side> first, second;
  outcome both;
  Thread judged(settings);
  weir::shard_thread kernel(settings_for("asio"));
  const auto& ours = settings.stack.address;
  const auto& theirs = settings.stack.host_address;
  first.emplace(judged.shard(), backend, ours[0].address, ours[1].address);
  second.emplace(kernel.shard(), backend, theirs[0].address, theirs[1].address);
  first->other = &*second;
  second->other = &*first;
  first->here.post([&] {
    first->here.start(subject(*first), [&](std::exception_ptr f) { both.ended(f, second->here); });
  });
  second->here.post([&] {
    second->here.start(peer(*second), [&](std::exception_ptr f) { both.ended(f, first->here); });
  });
  both.wait();
  both.report();
}

#if WEIR_WITH_SIM
void run_in_simulation(coroutine subject, coroutine peer) {
  weir::sim::network net({.seed = 1});
  auto& left = net.add_host(sim_subject.to_string() + "/24", {.more_addresses = {"fd00:10::1/64"}});
  auto& right = net.add_host(sim_peer.to_string() + "/24", {.more_addresses = {"fd00:10::2/64"}});
  net.link(left, right, {.delay = 1ms});
  side first(left.shard(), "sim", sim_subject, *weir::ip_address::parse("fd00:10::1"));
  side second(right.shard(), "sim", sim_peer, *weir::ip_address::parse("fd00:10::2"));
  first.other = &second;
  second.other = &first;
  net.start(left, [&](weir::shard&) { return subject(first); });
  net.start(right, [&](weir::shard&) { return peer(second); });
  net.run(600s);
}
#endif

/// On a thread that can be given up when the case hangs.
template <class Thread>
void run_on_a_thread(const weir::config& settings, lonely_coroutine body) {
  Thread judged(settings);
  std::promise<std::exception_ptr> ended;
  auto& s = judged.shard();
  s.post([&] {
    s.start(body(s), [&](std::exception_ptr failure) { ended.set_value(std::move(failure)); });
  });
  auto failure = ended.get_future();
  if (failure.wait_for(patience) != std::future_status::ready) {
    std::fprintf(stderr, "the case hangs\n");
    std::abort();
  }
  if (auto what = failure.get()) std::rethrow_exception(what);
}

}  // namespace

void run_alone(std::string_view variant, lonely_coroutine body) {
  const std::string name(variant.substr(0, variant.find(' ')));
#if WEIR_WITH_SIM
  if (name == "sim") {
    weir::sim::network net({.seed = 1});
    net.start(net.add_host(sim_subject.to_string() + "/24"), body);
    return net.run(600s);
  }
#endif
  auto settings = settings_for(std::string(variant));
  if (auto why = forbidden(settings); !why.empty()) {
    std::printf("SKIPPED: %s: %s\n", name.c_str(), why.c_str());
    return;
  }
  settings.stack.device = "weirl";
  if (in_somebodys_loop()) return run_on_a_thread<loop_thread>(settings, body);
  run_on_a_thread<weir::shard_thread>(settings, body);
}

void run_case(std::string_view variant, coroutine subject, coroutine peer) {
  const std::string name(variant.substr(0, variant.find(' ')));
#if WEIR_WITH_SIM
  if (name == "sim") return run_in_simulation(subject, peer);
#endif
  const auto settings = settings_for(std::string(variant));
  if (auto why = forbidden(settings); !why.empty()) {
    std::printf("SKIPPED: %s: %s\n", name.c_str(), why.c_str());
    return;
  }
  const bool on_stack = settings.backend == "stack";
  if (in_somebodys_loop() && on_stack)
    return run_against_the_kernel<loop_thread>(settings, name, subject, peer);
  if (in_somebodys_loop()) return run_on_one_thread<loop_thread>(settings, name, subject, peer);
  if (on_stack) return run_against_the_kernel<weir::shard_thread>(settings, name, subject, peer);
  run_on_one_shard(settings, name, subject, peer);
}

}  // namespace conformance

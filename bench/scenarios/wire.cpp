// weir-bench wire: see scenarios.hpp. The clock is the machine's; everything else is in this
// thread.
#include <fmt/core.h>

#include <array>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "process.hpp"
#include "scenarios/memory_wire.hpp"
#include "scenarios/scenarios.hpp"
#include "statistics.hpp"

namespace weir::bench {
namespace {

constexpr std::uint16_t echo_port = 7;
constexpr std::uint64_t warm_up = 2000;
constexpr int turns_at_most = 64;  // of the wire, before what was sent must have arrived

stack::host_options host_at(const char* address, std::uint8_t secret) {
  stack::host_options out;
  out.addresses = {*ip_prefix::parse(address)};
  out.secret.fill(secret);
  // A short life after death, so that ports come back: see the note that is printed.
  out.tcp.time_wait = std::chrono::milliseconds(1);
  return out;
}

/// A client on a, an echo server on b.
class world {
 public:
  explicit world(bool offload, bool real_clock = true)
      : real_clock_(real_clock),
        wire_(host_at("10.0.0.1/24", 1), host_at("10.0.0.2/24", 2), offload),
        listener_(*wire_.b().listen(weir::endpoint("10.0.0.2", echo_port))) {}

  /// Connects, and stays connected.
  void open() {
    auto now = this->now();
    client_ =
        *wire_.a().connect(now, weir::endpoint("10.0.0.2", echo_port), {}, wire_.a().options().tcp);
    for (int turn = 0; turn < turns_at_most; ++turn) {
      wire_.deliver(now);
      if (auto accepted = wire_.b().accept(listener_)) {
        server_ = *accepted;
        wire_.deliver(now);
        return;
      }
    }
    throw std::runtime_error("wire: no connection came about");
  }
  /// One message there and back.
  void round_trip(std::size_t size) {
    const auto now = this->now();
    send(wire_.a(), client_, std::span(message_).first(size), now);
    std::size_t back = 0;
    for (int turn = 0; turn < turns_at_most && back < size; ++turn) {
      wire_.a().flush(now);
      wire_.deliver_to_b(now);
      for (auto head = wire_.b().peek(server_); !head.empty(); head = wire_.b().peek(server_)) {
        send(wire_.b(), server_, head, now);
        wire_.b().consume(now, server_, head.size());
      }
      wire_.b().flush(now);
      wire_.deliver_to_a(now);
      for (auto head = wire_.a().peek(client_); !head.empty(); head = wire_.a().peek(client_)) {
        back += head.size();
        wire_.a().consume(now, client_, head.size());
      }
    }
    if (back != size) throw std::runtime_error("wire: a message did not come back");
    drop_events();
  }
  /// The client closes first, then the server; both ends are gone afterwards, but for TIME_WAIT.
  void shut() {
    const auto now = this->now();
    wire_.a().close(now, client_);
    wire_.deliver(now);
    wire_.b().close(now, server_);
    wire_.deliver(now);
    wire_.deliver(now);
    wire_.a().advance(now);
    wire_.b().advance(now);
    drop_events();
  }

 private:
  static void send(stack::host& from, stack::socket_id id, std::span<const std::byte> bytes,
                   instant now) {
    const std::span<const std::byte> parts[] = {bytes};
    if (auto taken = from.send(now, id, parts); !taken || *taken != bytes.size())
      throw std::runtime_error("wire: a send queue took less than the message");
  }
  void drop_events() {
    stack::event e;
    while (wire_.a().next_event(e) || wire_.b().next_event(e)) {
    }
  }
  instant now() {
    if (real_clock_) return memory_wire::now();
    return clock_ += std::chrono::microseconds(5);
  }

  bool real_clock_;
  instant clock_ = instant::from_ns(1'000'000'000);
  memory_wire wire_;
  stack::socket_id listener_, client_ = stack::socket_id::none, server_ = stack::socket_id::none;
  std::vector<std::byte> message_ = std::vector<std::byte>(65536);
};

/// Nanoseconds for one call of `step`, over `seconds`.
double time_of(double seconds, const std::function<void()>& step) {
  const auto begin = thread_cpu_ns();
  const auto length = static_cast<std::uint64_t>(seconds * 1e9);
  std::uint64_t count = 0, now = begin;
  while (now - begin < length) {
    for (int i = 0; i < 64; ++i) step();
    count += 64;
    now = thread_cpu_ns();
  }
  return static_cast<double>(now - begin) / static_cast<double>(count);
}

struct figure {
  std::string_view name;
  std::function<void()> step;
  std::vector<double> rounds;
};

}  // namespace

[[gnu::noinline]] void counted_steps(std::uint64_t count, const std::function<void()>& step) {
  for (std::uint64_t i = 0; i < count; ++i) step();
}

int run_wire(const wire_settings& settings) {
  const auto cpus = allowed_cpus();
  pin_this_thread(cpus.back());
  const bool clock = settings.count == 0;
  world offloaded(true, clock), summed(false, clock), short_lived(true, clock),
      short_summed(false, clock);
  offloaded.open();
  summed.open();
  const auto once = [](world& w) {
    w.open();
    w.round_trip(64);
    w.shut();
  };
  std::vector<figure> figures{
      {"64 B there and back", [&] { offloaded.round_trip(64); }, {}},
      {"  with checksums", [&] { summed.round_trip(64); }, {}},
      {"16 KiB there and back", [&] { offloaded.round_trip(16384); }, {}},
      {"  with checksums, without segmentation offload", [&] { summed.round_trip(16384); }, {}},
      {"connect, 64 B there and back, close", [&] { once(short_lived); }, {}},
      {"  with checksums", [&] { once(short_summed); }, {}}};
  std::erase_if(figures, [&](const figure& f) { return !f.name.starts_with(settings.only); });
  for (auto& f : figures)
    for (std::uint64_t i = 0; i < warm_up; ++i) f.step();
  if (settings.count != 0) {
    for (auto& f : figures) counted_steps(settings.count, f.step);
    return 0;
  }
  for (unsigned round = 0; round < settings.rounds; ++round)
    for (auto& f : figures) f.rounds.push_back(time_of(settings.seconds, f.step));
  fmt::print("{:<50} {:>10} {:>8} {:>12}\n", "both stacks, one thread, no kernel", "ns", "spread",
             "per second");
  for (auto& f : figures) {
    const auto s = summarize(f.rounds);
    fmt::print("{:<50} {:>10.0f} {:>7.1f}% {:>12.0f}\n", f.name, s.median,
               s.relative_spread() * 100, 1e9 / s.median);
  }
  fmt::print("TIME_WAIT is 1 ms here, so that a port is free again before all were used.\n");
  return 0;
}

wire_rounds measure_wire(const wire_settings& settings) {
  world offloaded(true), summed(false), short_lived(true);
  offloaded.open();
  summed.open();
  const std::function<void()> steps[] = {[&] { offloaded.round_trip(64); },
                                         [&] { summed.round_trip(64); },
                                         [&] {
                                           short_lived.open();
                                           short_lived.round_trip(64);
                                           short_lived.shut();
                                         }};
  for (const auto& step : steps)
    for (std::uint64_t i = 0; i < warm_up; ++i) step();
  wire_rounds out;
  for (unsigned round = 0; round < settings.rounds; ++round) {
    out.round_trip.push_back(time_of(settings.seconds, steps[0]));
    out.summed_round_trip.push_back(time_of(settings.seconds, steps[1]));
    out.short_life.push_back(time_of(settings.seconds, steps[2]));
  }
  return out;
}

}  // namespace weir::bench

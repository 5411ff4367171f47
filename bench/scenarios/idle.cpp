// weir-bench idle: see scenarios.hpp. Clients are numbers: client i has an address, a port and an
// initial sequence number that follow from i, so that a million of them need four bytes each here.
#include <fmt/core.h>
#include <sys/types.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <vector>

#include "clock.hpp"
#include "private_net.hpp"
#include "process.hpp"
#include "scenarios/packet_clients.hpp"
#include "scenarios/scenarios.hpp"

namespace weir::bench {
namespace {

namespace wire = stack::wire;

constexpr std::uint32_t server_address = 0xc6120002;  // 198.18.0.2
constexpr std::uint16_t server_port = 7;
constexpr std::uint32_t ports = 50'000;  // of each client address, from first_port on
constexpr std::uint16_t first_port = 10'000;
constexpr std::uint32_t first_address = 0x64400000;  // 100.64.0.0/10, RFC 6598: nobody's own
constexpr std::uint64_t retry_ns = 500'000'000;
constexpr std::uint64_t patience_ns = 10'000'000'000;  // without any answer
constexpr std::uint64_t settling_ns = 300'000'000;

std::uint32_t initial_sequence(std::uint32_t client) { return client * 2654435761u; }

class crowd {
 public:
  crowd(const std::string& device, const idle_settings& settings)
      : settings_(settings), net_(device), server_isn_(settings.connections) {
    state_.resize(settings.connections, state::none);
  }

  /// All handshakes, `window` of them at a time. Seconds that they took.
  double connect_all() {
    const std::uint64_t begin = now_ns();
    std::uint64_t last_answer = begin, last_said = begin;
    while (established_ < settings_.connections) {
      while (next_ < settings_.connections && in_flight_ < settings_.window) open(next_++);
      net_.flush();
      const auto before = established_;
      for (const auto& s : net_.receive(10)) on_segment(s);
      net_.flush();
      const auto now = now_ns();
      if (established_ != before) last_answer = now;
      retry(now);
      if (now - last_answer > patience_ns)
        throw std::runtime_error(
            fmt::format("{} of {} connections are established, and nothing answers any more",
                        established_, settings_.connections));
      if (!settings_.quiet && now - last_said > 1'000'000'000) {
        fmt::print(stderr, "\r{} connections ", established_);
        last_said = now;
      }
    }
    if (!settings_.quiet) fmt::print(stderr, "\r{:40}\r", "");
    return static_cast<double>(now_ns() - begin) * 1e-9;
  }

  /// How many of `count` clients, spread over all, got their message back.
  std::uint32_t echo_some(std::uint32_t count) {
    std::uint32_t right = 0;
    count = std::min(count, settings_.connections);
    for (std::uint32_t i = 0; i < count; ++i)
      if (echo_one(static_cast<std::uint32_t>(std::uint64_t{i} * settings_.connections / count)))
        ++right;
    return right;
  }
  std::uint64_t resets() const { return resets_; }
  std::uint64_t retries() const { return retries_; }

 private:
  enum class state : std::uint8_t { none, asked, established };
  struct asked {
    std::uint32_t client;
    std::uint64_t at;
  };

  wire::tcp_segment segment(std::uint32_t client, std::uint8_t flags) const {
    wire::tcp_segment out;
    out.source = ip_address::v4(first_address + client / ports);
    out.source_port = static_cast<std::uint16_t>(first_port + client % ports);
    out.destination = ip_address::v4(server_address);
    out.destination_port = server_port;
    out.flags = flags;
    out.window = 65535;
    out.sequence = initial_sequence(client) + 1;
    return out;
  }
  void open(std::uint32_t client) {
    auto s = segment(client, wire::syn);
    s.sequence = initial_sequence(client);
    s.options.mss = 1460;
    s.options.sack_permitted = true;
    s.options.window_scale = 7;
    net_.send(s);
    if (state_[client] == state::none) ++in_flight_;
    state_[client] = state::asked;
    waiting_.push_back({client, now_ns()});
  }
  void acknowledge(std::uint32_t client, std::uint32_t upto, std::uint32_t more = 0) {
    auto s = segment(client, wire::ack);
    s.sequence += more;
    s.acknowledgment = upto;
    net_.send(s);
  }
  /// The client that a segment is for; settings_.connections when it is nobody's.
  std::uint32_t client_of(const wire::tcp_segment& s) const {
    const std::uint64_t number =
        std::uint64_t{s.destination.to_v4_number() - first_address} * ports +
        static_cast<std::uint16_t>(s.destination_port - first_port);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(number, settings_.connections));
  }
  void on_segment(const wire::tcp_segment& s) {
    const auto client = client_of(s);
    if (client == settings_.connections) return;
    if (s.has(wire::rst)) ++resets_;
    if (!s.has(wire::syn) || !s.has(wire::ack)) return;
    if (state_[client] != state::established) {
      state_[client] = state::established;
      server_isn_[client] = s.sequence;
      ++established_, --in_flight_;
    }
    acknowledge(client, s.sequence + 1);
  }
  void retry(std::uint64_t now) {
    while (!waiting_.empty()) {
      const auto oldest = waiting_.front();
      if (state_[oldest.client] != state::established) {
        // What was sent again below lies after `now`: no difference, it would wrap around.
        if (oldest.at + retry_ns > now) return;
        ++retries_;
        open(oldest.client);
      }
      waiting_.pop_front();
    }
  }
  bool echo_one(std::uint32_t client) {
    const std::string_view text = "are you still there?";
    const auto bytes = std::as_bytes(std::span(text));
    const auto length = static_cast<std::uint32_t>(text.size());
    for (int attempt = 0; attempt < 5; ++attempt) {
      auto s = segment(client, wire::ack | wire::psh);
      s.acknowledgment = server_isn_[client] + 1;
      net_.send(s, bytes);
      net_.flush();
      for (int waits = 0; waits < 20; ++waits)
        for (const auto& answer : net_.receive(50)) {
          if (client_of(answer) != client || answer.payload.size() != text.size()) continue;
          if (std::memcmp(answer.payload.data(), text.data(), text.size()) != 0) return false;
          acknowledge(client, answer.sequence + length, length);
          net_.flush();
          return true;
        }
    }
    return false;
  }

  const idle_settings& settings_;
  packet_clients net_;
  std::vector<std::uint32_t> server_isn_;
  std::vector<state> state_;
  std::deque<asked> waiting_;
  std::uint32_t next_ = 0, in_flight_ = 0, established_ = 0;
  std::uint64_t resets_ = 0, retries_ = 0;
};

}  // namespace

int run_idle(const idle_settings& settings) {
  enter_private_network();
  const auto cpus = allowed_cpus();
  server_process server({settings.bin_dir + "/services", "--backend", "stack", "--stack.device",
                         "widle0", "--echo", "198.18.0.2:7", "--max-sessions",
                         std::to_string(settings.connections + 1), "--idle-timeout", "0"},
                        cpus.front(), 10'000);
  if (cpus.size() > 1) pin_this_thread(cpus[1]);
  crowd clients("widle0", settings);
  const auto before = resident_bytes(server.pid());
  const double took = clients.connect_all();
  // The last handshakes' sessions start; what grows is taken at its peak.
  const std::uint64_t until = now_ns() + settling_ns;
  std::uint64_t after = 0;
  while (now_ns() < until) after = std::max(after, resident_bytes(server.pid()));
  const auto served = clients.echo_some(settings.checked);
  const auto asked = std::min(settings.checked, settings.connections);
  const double each =
      static_cast<double>(after - before) / static_cast<double>(settings.connections);
  fmt::print("connections           {:>12}\n", settings.connections);
  fmt::print("accepted per second   {:>12.0f}\n", settings.connections / took);
  fmt::print("resident before       {:>12.1f} MiB\n", static_cast<double>(before) / (1 << 20));
  fmt::print("resident after        {:>12.1f} MiB\n", static_cast<double>(after) / (1 << 20));
  fmt::print(
      "bytes per connection  {:>12.0f}   (everything: coroutine frames, tables, the allocator)\n",
      each);
  fmt::print("echoed at the end     {:>12}   of {} asked\n", served, asked);
  fmt::print("SYNs sent again       {:>12}\n", clients.retries());
  fmt::print("reset                 {:>12}\n", clients.resets());
  server.stop();
  const bool small = settings.at_most == 0 || each <= settings.at_most;
  if (!small) fmt::print(stderr, "more than {} bytes per connection\n", settings.at_most);
  return small && served == asked && clients.resets() == 0 ? 0 : 1;
}

}  // namespace weir::bench

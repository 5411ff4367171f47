// Two hosts in one thread, joined by a wire in memory with a delay and, where asked for, seeded
// loss, reordering and duplication, under a virtual clock. For tests of the stack alone; the
// simulator of whole networks is stack/sim's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "weir/stack/host.hpp"

namespace weir::test {

using namespace std::chrono_literals;
using namespace weir::stack;

inline std::array<std::uint8_t, 32> secret_of(std::uint8_t seed) {
  std::array<std::uint8_t, 32> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(seed * 31 + i);
  return out;
}

struct wire_faults {
  double loss = 0, duplicate = 0, reorder = 0;
  duration delay = 5ms;
  duration reorder_by = 3ms;
  double bits_per_second = 0;            ///< of each direction; 0: no limit
  std::size_t queue_bytes = 256u << 10;  ///< that wait for their turn; what comes beyond is dropped
};

/// What becomes of one packet, where a test decides it.
enum class packet_fate : std::uint8_t { arrives, lost, late, doubled };

class two_hosts {
 public:
  explicit two_hosts(wire_faults faults = {}, host_options a = {}, host_options b = {},
                     std::uint64_t seed = 1)
      : faults_(faults), random_(seed), to_a_(*this, 0), to_b_(*this, 1) {
    if (a.addresses.empty()) a.addresses = {*ip_prefix::parse("10.0.0.1/24")};
    if (b.addresses.empty()) b.addresses = {*ip_prefix::parse("10.0.0.2/24")};
    a.secret = secret_of(1);
    b.secret = secret_of(2);
    // Each host's packets arrive at the other.
    left_ = std::make_unique<host>(a, to_b_);
    right_ = std::make_unique<host>(b, to_a_);
  }

  host& a() { return *left_; }
  host& b() { return *right_; }
  instant now() const { return now_; }
  wire_faults& faults() { return faults_; }
  std::uint64_t packets() const { return packets_; }
  /// Sees every packet that is put on the wire; false drops it. `to` is 0 for a, 1 for b.
  std::function<bool(int to, std::span<const std::byte>)> filter;
  /// Asked for every packet, with its number; `late` is by 100 ms, and `doubled` comes again then.
  std::function<packet_fate(std::uint64_t)> fate_of;
  /// Called after each step, for applications.
  std::function<void()> application;

  /// Runs until `done`, or for `limit`; true when done.
  bool run_until(const std::function<bool()>& done, duration limit = 60s) {
    const auto end = now_ + limit;
    turn();
    while (!done()) {
      auto next = std::min(left_->next_deadline(), right_->next_deadline());
      if (!in_flight_.empty()) next = std::min(next, in_flight_.begin()->first);
      if (next > end) {
        now_ = end;
        return false;
      }
      now_ = std::max(now_, next);
      turn();
    }
    return true;
  }
  void run_for(duration d) {
    (void)run_until([] { return false; }, d);
  }

 private:
  class side final : public packet_sink {
   public:
    side(two_hosts& net, int to) : net_(net), to_(to) {}
    bool transmit(std::span<const std::span<const std::byte>> parts,
                  const transmit_meta&) override {
      net_.send(to_, parts);
      return true;
    }

   private:
    two_hosts& net_;
    int to_;
  };
  struct packet {
    int to;
    std::vector<std::byte> bytes;
  };

  void send(int to, std::span<const std::span<const std::byte>> parts) {
    std::vector<std::byte> bytes;
    for (auto part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
    ++packets_;
    if (filter && !filter(to, bytes)) return;
    const auto fate = fate_of ? fate_of(packets_ - 1) : packet_fate::arrives;
    if (fate == packet_fate::lost) return;
    const auto chance = [&] { return std::uniform_real_distribution<double>(0, 1)(random_); };
    if (chance() < faults_.loss) return;
    auto leaves = now_;
    if (faults_.bits_per_second > 0) {
      auto& free_at = free_at_[to];
      leaves = std::max(now_, free_at);
      const auto waiting =
          static_cast<double>((leaves - now_).count()) * 1e-9 * faults_.bits_per_second / 8;
      if (waiting + static_cast<double>(bytes.size()) > static_cast<double>(faults_.queue_bytes))
        return;
      leaves += duration(static_cast<std::int64_t>(static_cast<double>(bytes.size()) * 8e9 /
                                                   faults_.bits_per_second));
      free_at = leaves;
    }
    auto at = leaves + faults_.delay;
    if (fate == packet_fate::late) at += 100ms;
    if (fate == packet_fate::doubled) in_flight_.emplace(at + 100ms, packet{to, bytes});
    if (chance() < faults_.reorder) at += faults_.reorder_by;
    if (chance() < faults_.duplicate) in_flight_.emplace(at + faults_.delay, packet{to, bytes});
    in_flight_.emplace(at, packet{to, std::move(bytes)});
  }
  void turn() {
    while (!in_flight_.empty() && in_flight_.begin()->first <= now_) {
      auto p = std::move(in_flight_.begin()->second);
      in_flight_.erase(in_flight_.begin());
      (p.to == 0 ? *left_ : *right_).input(now_, p.bytes);
    }
    left_->advance(now_);
    right_->advance(now_);
    if (application) application();
    left_->flush(now_);
    right_->flush(now_);
  }

  wire_faults faults_;
  std::mt19937_64 random_;
  side to_a_, to_b_;
  std::unique_ptr<host> left_, right_;
  std::multimap<instant, packet> in_flight_;
  instant now_ = instant::from_ns(1'000'000'000);
  instant free_at_[2];
  std::uint64_t packets_ = 0;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline result<std::size_t> send_text(host& h, instant now, socket_id id, std::string_view text) {
  const std::span<const std::byte> parts[] = {bytes_of(text)};
  return h.send(now, id, parts);
}
inline std::string receive_text(host& h, instant now, socket_id id) {
  std::string out;
  for (;;) {
    const auto head = h.peek(id);
    if (head.empty()) return out;
    out.append(reinterpret_cast<const char*>(head.data()), head.size());
    h.consume(now, id, head.size());
  }
}
inline endpoint at(const char* address, std::uint16_t port) { return endpoint(address, port); }

}  // namespace weir::test

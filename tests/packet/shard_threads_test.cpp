// Hosts that share a device, each on a thread of its own, under load while members come and go:
// what the thread sanitizer should see of groups, the directory and handovers. The rules themselves
// are tested in one thread (shards_test.cpp); nothing here depends on who is faster.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "packet/two_hosts.hpp"
#include "stack/share/flow_directory.hpp"
#include "weir/stack/shards.hpp"

using namespace weir;
using namespace weir::test;

namespace {

const endpoint service_at("10.0.0.2", 80);
constexpr unsigned shard_count = 3;

instant clock_now() {
  return instant::from_ns(std::chrono::steady_clock::now().time_since_epoch().count());
}

struct frame {
  unsigned from = 0;
  std::vector<std::byte> bytes;
};

class wire_end {
 public:
  void put(frame f) {
    std::lock_guard lock(mutex_);
    frames_.push_back(std::move(f));
  }
  std::deque<frame> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(frames_, {});
  }

 private:
  std::mutex mutex_;
  std::deque<frame> frames_;
};

struct outlet final : packet_sink {
  bool transmit(std::span<const std::span<const std::byte>> parts, const transmit_meta&) override {
    frame f{from, {}};
    for (auto part : parts) f.bytes.insert(f.bytes.end(), part.begin(), part.end());
    send(std::move(f));
    return true;
  }
  unsigned from = 0;
  std::function<void(frame)> send;
};

struct counts_wakes final : shard_waker {
  void wake() noexcept override { woken.fetch_add(1, std::memory_order_relaxed); }
  std::atomic<std::uint64_t> woken{0};
};

/// One shard: answers each connection's byte, and leaves and joins the group after every fifty.
struct shard_loop {
  void run(std::shared_ptr<shard_set> set, unsigned index, const listen_options& how,
           const std::function<bool()>& over) {
    outlet out;
    out.from = index;
    out.send = [&](frame f) { to_client->put(std::move(f)); };
    set->set_waker(index, &waker);
    {
      host_options options;
      options.addresses = {*ip_prefix::parse("10.0.0.2/24")};
      host self(options, out, set, index);
      auto listener = self.listen(service_at, how);
      auto waiting = false;
      while (!over()) {
        const auto now = clock_now();
        for (auto& f : in.take()) self.input(now, f.bytes);
        self.take_handovers(now);
        self.advance(now);
        event what;
        while (self.next_event(what))
          if (!listener || what.socket != *listener) serve(self, now, what.socket);
        while (listener) {
          const auto got = self.accept(*listener);
          if (!got) break;
          waiting = false;
          ++accepted;
          serve(self, now, *got);
        }
        if (listener && !waiting && how.sharing == sharing_mode::shared) {
          self.accept_wanted(now, *listener);
          waiting = true;
        }
        if (index != 0 && accepted >= (churned + 1) * 50) {
          ++churned;
          self.close(now, *listener);
          self.flush(now);
          listener = self.listen(service_at, how);
          waiting = false;
        }
        self.flush(now);
        std::this_thread::yield();
      }
      resets = self.counters()[counter::resets_sent];
      repeated = self.counters()[counter::retransmissions];
      memory = self.memory_in_use();
    }
    set->set_waker(index, nullptr);
  }
  static void serve(host& self, instant now, socket_id id) {
    std::byte byte;
    for (;;) {
      const auto n = self.receive(now, id, std::span(&byte, 1));
      if (!n && n.error() == std::errc::operation_would_block) return;
      if (!n || *n == 0) return self.close(now, id);
      const std::span<const std::byte> parts[] = {std::span(&byte, 1)};
      (void)self.send(now, id, parts);
    }
  }

  wire_end in;
  wire_end* to_client = nullptr;
  counts_wakes waker;
  std::uint64_t accepted = 0, churned = 0, resets = 0, repeated = 0, memory = 0;
};

void run_under_load(const listen_options& how, std::uint64_t wanted) {
  auto set = std::make_shared<shard_set>(shard_count, secret_of(7), 1 << 12);
  wire_end to_client;
  std::array<shard_loop, shard_count> shards;
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < shard_count; ++i) {
    shards[i].to_client = &to_client;
    threads.emplace_back([&, i] { shards[i].run(set, i, how, [&] { return over.load(); }); });
  }

  // The client's side, and the device: a flow goes where it was last written, or anywhere.
  std::unordered_map<std::uint16_t, unsigned> learned;
  std::uint64_t sent = 0;
  outlet out;
  out.send = [&](frame f) {
    const auto port = static_cast<std::uint16_t>(std::to_integer<unsigned>(f.bytes[20]) << 8 |
                                                 std::to_integer<unsigned>(f.bytes[21]));
    const auto known = learned.find(port);
    const auto queue = known != learned.end() && ++sent % 16 != 0 ? known->second
                                                                  : static_cast<unsigned>(sent % 3);
    shards[queue].in.put(std::move(f));
  };
  host_options options;
  options.addresses = {*ip_prefix::parse("10.0.0.1/24")};
  options.secret = secret_of(3);
  host client(options, out);
  std::uint64_t started = 0, answered = 0, failed = 0;
  const auto give_up = clock_now() + 100s;
  while (answered + failed < wanted && clock_now() < give_up) {
    const auto now = clock_now();
    for (auto& f : to_client.take()) {
      const auto port = static_cast<std::uint16_t>(std::to_integer<unsigned>(f.bytes[22]) << 8 |
                                                   std::to_integer<unsigned>(f.bytes[23]));
      learned[port] = f.from;
      client.input(now, f.bytes);
    }
    client.advance(now);
    event what;
    while (client.next_event(what)) {
      std::byte byte;
      if (any(what.what, ready::connected)) (void)send_text(client, now, what.socket, "?");
      const auto n = client.receive(now, what.socket, std::span(&byte, 1));
      if (!n && n.error() == std::errc::operation_would_block) continue;
      n && *n == 1 ? ++answered : ++failed;
      client.close(now, what.socket);
    }
    while (started < wanted && started - answered - failed < 60) {
      if (!client.connect(now, service_at, {}, {})) break;
      ++started;
    }
    client.flush(now);
    std::this_thread::yield();
  }
  over = true;
  for (auto& t : threads) t.join();
  CHECK(answered == wanted);
  CHECK(failed == 0);
  std::uint64_t churned = 0, woken = 0;
  // A segment that was repeated, since its answer was slow, may meet a connection that has ended.
  std::uint64_t repeated = client.counters()[counter::retransmissions];
  for (auto& s : shards) repeated += s.repeated;
  for (auto& s : shards) {
    if (repeated == 0) CHECK(s.resets == 0);
    churned += s.churned;
    woken += s.waker.woken;
  }
  CHECK(woken > 0);
  if (how.sharing != sharing_mode::shared) CHECK(churned > 5);
}

}  // namespace

TEST_CASE("shards on threads join and leave under load and lose nothing") {
  for (const auto policy :
       {sharding_policy::hash, sharding_policy::round_robin, sharding_policy::least_loaded}) {
    CAPTURE(static_cast<int>(policy));
    listen_options how;
    how.sharing = sharing_mode::sharded;
    how.policy = policy;
    run_under_load(how, 2000);
  }
}

TEST_CASE("shards on threads share one queue under load and lose nothing") {
  listen_options how;
  how.sharing = sharing_mode::shared;
  run_under_load(how, 2000);
}

TEST_CASE("a flow that begins on two shards at once gets one entry, and one of them has it") {
  constexpr std::size_t flows = 4000;
  for (const bool claims : {false, true}) {
    CAPTURE(claims);
    share::flow_directory directory(2 * flows);
    std::vector<unsigned> owner[2];
    std::atomic<std::size_t> begun[2] = {};
    const auto begin_all = [&](unsigned shard) {
      for (std::size_t i = 0; i < flows; ++i) {
        begun[shard] = i;
        // Both come to each flow together, if there are two cores for them.
        for (int spins = 0; begun[1 - shard] < i; ++spins)
          if (spins > 50'000) std::this_thread::yield();
        const auto hash = (i + 1) * 0x9e3779b97f4a7c15ull;
        if (claims)
          owner[shard].push_back(directory.claim(hash, shard));
        else if (!directory.assign(hash, shard))
          owner[shard].push_back(share::flow_directory::none);
      }
      begun[shard] = flows;
    };
    std::thread other(begin_all, 1);
    begin_all(0);
    other.join();
    CHECK(directory.count() == flows);
    CHECK(owner[0] == owner[1]);
  }
}

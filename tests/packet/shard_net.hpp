// Several hosts on one device in one thread, and a client host at the other end of a wire, under a
// virtual clock. The device steers as Linux's TUN does: a flow goes to the queue that last wrote
// it, an unknown one by a symmetric hash; with one queue, everything goes to shard 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "packet/two_hosts.hpp"
#include "weir/stack/shards.hpp"

namespace weir::test {

struct shard_net_options {
  unsigned shards = 4;
  unsigned queues = 0;         ///< of the device; 0: one for each shard
  duration delay = 1ms;        ///< of the wire, one way
  duration forget_after = 3s;  ///< the device's memory of a flow
  std::size_t directory = 1 << 16;
  tcp_options tcp;
  host_limits limits;
};

class shard_net {
 public:
  explicit shard_net(const shard_net_options& options = {})
      : options_(options),
        set_(std::make_shared<shard_set>(options.shards, secret_of(7), options.directory)),
        to_client_(*this, client_side) {
    for (unsigned i = 0; i < options.shards; ++i) {
      sinks_.push_back(std::make_unique<side>(*this, static_cast<int>(i)));
      shards_.push_back(nullptr);
      revive(i);
    }
    frozen.resize(options.shards);
    host_options far;
    far.addresses = {*ip_prefix::parse("10.0.0.1/24")};
    for (int i = 10; i < 40; ++i)
      far.addresses.push_back(*ip_prefix::parse("10.0.0." + std::to_string(i) + "/24"));
    far.secret = secret_of(3);
    client_ = std::make_unique<host>(far, to_client_);
  }

  host& client() { return *client_; }
  host& shard(unsigned i) { return *shards_[i]; }
  shard_set& set() { return *set_; }
  unsigned size() const { return options_.shards; }
  instant now() const { return now_; }
  std::uint64_t packets() const { return packets_; }

  /// Shards that do not get to run: what arrives for them waits.
  std::vector<bool> frozen;
  /// Called in each turn for every shard that runs, between its input and its flush.
  std::function<void(unsigned)> on_shard;
  std::function<void()> on_client;
  /// Which queue a packet to the shards takes, where a test wants another than the device's.
  std::function<int(std::span<const std::byte>)> steer;

  void kill(unsigned i) { shards_[i] = nullptr; }
  void revive(unsigned i) {
    host_options near;
    near.addresses = {*ip_prefix::parse("10.0.0.2/24"), *ip_prefix::parse("10.0.0.3/24")};
    near.tcp = options_.tcp;
    near.limits = options_.limits;
    shards_[i] = std::make_unique<host>(near, *sinks_[i], set_, i);
  }

  bool run_until(const std::function<bool()>& done, duration limit = 60s) {
    const auto end = now_ + limit;
    turn();
    while (!done()) {
      auto next = client_->next_deadline();
      for (unsigned i = 0; i < size(); ++i)
        if (shards_[i] && !frozen[i]) next = std::min(next, shards_[i]->next_deadline());
      if (!in_flight_.empty()) next = std::min(next, in_flight_.begin()->first);
      if (!timers_.empty()) next = std::min(next, timers_.begin()->first);
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
  /// Runs `what` when the time comes.
  void at_time(instant when, std::function<void()> what) { timers_.emplace(when, std::move(what)); }
  std::uint64_t total(counter c) const {
    std::uint64_t sum = 0;
    for (auto& s : shards_)
      if (s) sum += s->counters()[c];
    return sum;
  }

 private:
  static constexpr int client_side = -1;

  class side final : public packet_sink {
   public:
    side(shard_net& net, int from) : net_(net), from_(from) {}
    bool transmit(std::span<const std::span<const std::byte>> parts,
                  const transmit_meta&) override {
      std::vector<std::byte> bytes;
      for (auto part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
      net_.send(from_, std::move(bytes));
      return true;
    }

   private:
    shard_net& net_;
    int from_;
  };
  struct packet {
    bool to_client;
    std::vector<std::byte> bytes;
  };

  /// Both ports and both addresses of an IPv4 packet, the shards' end first.
  static std::uint64_t flow_of(std::span<const std::byte> p, bool from_shards) {
    const auto word = [&](std::size_t at, std::size_t n) {
      std::uint64_t out = 0;
      for (std::size_t i = 0; i < n; ++i)
        out = out << 8 | std::to_integer<std::uint64_t>(p[at + i]);
      return out;
    };
    const auto src = word(15, 1) << 16 | word(20, 2);
    const auto dst = word(19, 1) << 16 | word(22, 2);
    return from_shards ? src << 24 | dst : dst << 24 | src;
  }

  void send(int from, std::vector<std::byte> bytes) {
    ++packets_;
    if (from != client_side) learned_[flow_of(bytes, true)] = {from, now_};
    in_flight_.emplace(now_ + options_.delay, packet{from != client_side, std::move(bytes)});
  }
  int queue_for(std::span<const std::byte> p) {
    if (steer) return steer(p);
    const int queues = static_cast<int>(options_.queues == 0 ? size() : options_.queues);
    const auto flow = flow_of(p, false);
    const auto known = learned_.find(flow);
    int queue;
    if (known != learned_.end() && now_ - known->second.when < options_.forget_after)
      queue = known->second.queue % queues;
    else
      queue =
          static_cast<int>((flow * 0x9e3779b97f4a7c15ull >> 40) % static_cast<unsigned>(queues));
    // A queue that was closed is none any more.
    for (int i = 0; i < queues && !shards_[static_cast<unsigned>(queue)]; ++i)
      queue = (queue + 1) % queues;
    return queue;
  }
  void turn() {
    while (!timers_.empty() && timers_.begin()->first <= now_) {
      auto what = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      what();
    }
    while (!in_flight_.empty() && in_flight_.begin()->first <= now_) {
      auto p = std::move(in_flight_.begin()->second);
      in_flight_.erase(in_flight_.begin());
      if (p.to_client) {
        client_->input(now_, p.bytes);
        continue;
      }
      const auto queue = static_cast<unsigned>(queue_for(p.bytes));
      if (!shards_[queue]) continue;
      if (frozen[queue]) {
        // It waits in the device's queue; looked at again a little later.
        in_flight_.emplace(now_ + 1ms, std::move(p));
        continue;
      }
      shards_[queue]->input(now_, p.bytes);
    }
    // Twice, so that what one shard hands to an earlier one is taken at the same instant.
    for (int round = 0; round < 3; ++round) {
      for (unsigned i = 0; i < size(); ++i) {
        if (!shards_[i] || frozen[i]) continue;
        shards_[i]->take_handovers(now_);
        shards_[i]->advance(now_);
        if (on_shard) on_shard(i);
        shards_[i]->flush(now_);
      }
    }
    client_->advance(now_);
    if (on_client) on_client();
    client_->flush(now_);
  }

  struct memory {
    int queue;
    instant when;
  };

  shard_net_options options_;
  std::shared_ptr<shard_set> set_;
  side to_client_;
  std::vector<std::unique_ptr<side>> sinks_;
  std::vector<std::unique_ptr<host>> shards_;
  std::unique_ptr<host> client_;
  std::multimap<instant, packet> in_flight_;
  std::multimap<instant, std::function<void()>> timers_;
  std::unordered_map<std::uint64_t, memory> learned_;
  instant now_ = instant::from_ns(1'000'000'000);
  std::uint64_t packets_ = 0;
};

}  // namespace weir::test

// Servers on every shard of one device and a crowd of clients, over shard_net: who listens in
// which mode, who waits to accept, and who was answered by whom.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "packet/shard_net.hpp"

namespace weir::test {

inline const endpoint service_at("10.0.0.2", 80);

inline listen_options sharded(sharding_policy policy = sharding_policy::hash,
                              owner_key key = owner_key::none) {
  listen_options out;
  out.sharing = sharing_mode::sharded;
  out.policy = policy;
  out.owner_key = key;
  return out;
}
inline listen_options shared() {
  listen_options out;
  out.sharing = sharing_mode::shared;
  return out;
}

/// A server on one shard: answers each byte with its own number and closes when the peer has.
struct server {
  shard_net* net = nullptr;
  unsigned index = 0;
  socket_id listener = socket_id::none;
  bool accepts = true;     ///< false: connections stay in the queue
  unsigned acceptors = 0;  ///< of a shared queue: how many wait at a time
  unsigned waiting = 0;
  std::uint64_t accepted = 0, open = 0, failed = 0;

  host& self() const { return net->shard(index); }
  void listen(const listen_options& options) {
    const auto made = self().listen(service_at, options);
    REQUIRE(made);
    listener = *made;
    if (options.sharing == sharing_mode::shared && acceptors == 0) acceptors = 1;
  }
  void close() {
    self().close(net->now(), std::exchange(listener, socket_id::none));
    waiting = 0;
  }
  void step() {
    event what;
    while (self().next_event(what))
      if (what.socket != listener) serve(what.socket);
    while (listener != socket_id::none && accepts) {
      const auto got = self().accept(listener);
      if (!got) break;
      if (waiting > 0) --waiting;
      ++accepted;
      ++open;
      serve(*got);
    }
    for (; listener != socket_id::none && accepts && waiting < acceptors; ++waiting)
      self().accept_wanted(net->now(), listener);
  }
  void serve(socket_id id) {
    std::byte byte;
    for (;;) {
      const auto n = self().receive(net->now(), id, std::span(&byte, 1));
      if (!n && n.error() == std::errc::operation_would_block) return;
      if (!n || *n == 0) {
        if (!n) ++failed;
        --open;
        self().close(net->now(), id);
        return;
      }
      const auto answer = static_cast<std::byte>(index);
      const std::span<const std::byte> parts[] = {std::span(&answer, 1)};
      (void)self().send(net->now(), id, parts);
    }
  }
};

/// Clients that each ask once, so many at a time, and stay or go when they are answered.
struct crowd {
  shard_net* net = nullptr;
  bool stay = false;
  std::uint64_t started = 0, answered = 0, failed = 0, in_progress = 0;
  std::vector<std::uint64_t> by_shard;
  std::vector<socket_id> stayed;

  explicit crowd(shard_net& n) : net(&n), by_shard(n.size()) {}

  bool start() {
    const auto lane = 10 + started % 30;
    const endpoint from(*ip_address::parse("10.0.0." + std::to_string(lane)), 0);
    const auto id = net->client().connect(net->now(), service_at, from, {});
    if (!id) return false;
    ++started;
    ++in_progress;
    return true;
  }
  void step() {
    auto& self = net->client();
    event what;
    while (self.next_event(what)) {
      if (any(what.what, ready::failed)) {
        ++failed;
        --in_progress;
        self.close(net->now(), what.socket);
        continue;
      }
      if (any(what.what, ready::connected)) (void)send_text(self, net->now(), what.socket, "?");
      std::byte who;
      const auto n = self.receive(net->now(), what.socket, std::span(&who, 1));
      if (!n) continue;
      --in_progress;
      if (*n == 0) {
        ++failed;
      } else {
        ++answered;
        ++by_shard[std::to_integer<unsigned>(who)];
      }
      if (stay)
        stayed.push_back(what.socket);
      else
        self.close(net->now(), what.socket);
    }
  }
  std::uint64_t ended() const { return answered + failed; }
};

struct world {
  explicit world(const shard_net_options& options = {}) : net(options), clients(net) {
    servers.resize(net.size());
    for (unsigned i = 0; i < net.size(); ++i) {
      servers[i].net = &net;
      servers[i].index = i;
    }
    net.on_shard = [this](unsigned i) { servers[i].step(); };
    net.on_client = [this] {
      clients.step();
      while (clients.started < wanted && clients.in_progress < at_once)
        if (!clients.start()) break;
    };
  }
  void listen_everywhere(const listen_options& options) {
    for (auto& s : servers) s.listen(options);
  }
  /// Runs `n` more clients to their end.
  bool run(std::uint64_t n, duration limit = 600s) {
    wanted += n;
    return net.run_until([&] { return clients.ended() == wanted; }, limit);
  }
  /// How far the busiest of `shards` is from the idlest, as a share of the mean.
  double imbalance(const std::vector<unsigned>& shards) const {
    std::uint64_t least = UINT64_MAX, most = 0, sum = 0;
    for (auto i : shards) {
      least = std::min(least, clients.by_shard[i]);
      most = std::max(most, clients.by_shard[i]);
      sum += clients.by_shard[i];
    }
    return static_cast<double>(most - least) * static_cast<double>(shards.size()) /
           static_cast<double>(sum);
  }

  shard_net net;
  crowd clients;
  std::vector<server> servers;
  std::uint64_t wanted = 0;
  std::uint64_t at_once = 200;
};

inline std::string balance_of(const world& w) {
  std::string out;
  for (auto n : w.clients.by_shard) out += (out.empty() ? "" : " ") + std::to_string(n);
  return out;
}

}  // namespace weir::test

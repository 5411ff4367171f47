// One listening socket: an address, a port, two bounded queues and a policy. The SYN queue holds
// half-open entries, the accept queue connections in order of completion; both are lists through
// the entries, so that neither allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "stack/tcp/options_ref.hpp"
#include "weir/stack/info.hpp"
#include "weir/stack/options.hpp"
#include "weir/stack/sockets.hpp"

namespace weir::stack {

namespace share {
struct group;
}

/// What a member of a shared group keeps beside its accept queue. Wishes wait where the queue is,
/// in order, each the shard of a waiting acceptor.
struct shared_queue {
  std::deque<std::uint16_t> wants;
  std::uint32_t asked = 0;     ///< acceptors of this shard that wait, wherever the queue is
  std::uint32_t reserved = 0;  ///< connections at the queue's head that answer them
};

struct alignas(64) listener {
  static constexpr std::uint32_t none = 0xffffffff;

  // What every SYN reads or writes comes first, in one cache line: there may be thousands.
  endpoint local;
  std::uint32_t syn_head = none;
  std::uint32_t syn_count = 0, syn_peak = 0;
  std::uint32_t accept_count = 0;
  std::shared_ptr<share::group> group;  ///< where several hosts share a device
  listen_options options;               // its first two: the bounds of both queues

  tcp::options_ref tcp;  ///< of what is accepted here
  std::uint32_t accept_head = none, accept_tail = none;
  std::uint32_t accept_peak = 0;
  std::unique_ptr<shared_queue> shared;  ///< where several hosts share an accept queue
  void* user = nullptr;
  ready pending = ready::none;
  bool event_queued = false;
  bool left_to_others = false;  ///< another program listens here: no SYN is taken
  instant cookie_at;            ///< when the last SYN cookie was sent
  std::uint64_t accepted = 0, syn_overflows = 0, accept_overflows = 0, syn_expired = 0,
                cookies_sent = 0, cookies_accepted = 0, deferred = 0;
  duration accept_wait{}, accept_wait_longest{};  ///< in the accept queue, of those accepted

  bool accept_full() const { return accept_count >= options.backlog; }
  bool syn_full() const { return syn_count >= options.syn_backlog; }
  std::optional<any_destination> any;                    ///< instead of `local`
  std::uint32_t untold_head = none, untold_tail = none;  ///< requests, where it asks
  bool takes(const endpoint& to) const { return any && any->contains(to); }
  listener_info info() const;
};

// The queues' bounds, which the options begin with, are in the first line still.
static_assert(sizeof(endpoint) + 4 * sizeof(std::uint32_t) + sizeof(std::shared_ptr<share::group>) +
                  offsetof(listen_options, overflow) <=
              60);

}  // namespace weir::stack

// What one shard hands to another: a segment that arrived in the wrong place, a connection or a
// handshake that moves because its listener goes, or the wish to accept from a shared queue. An
// inbox holds what waits for one shard: producers append under a mutex, the shard swaps the whole
// batch out, and both batches keep their memory, so that a segment costs one copy and no
// allocation. Segments are bounded in number and bytes and dropped beyond, as by a wire; moves and
// wishes are bounded by the queues that they come from and never dropped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>  // lint: allow, where shards meet
#include <vector>

#include "stack/ip/ip_layer.hpp"
#include "stack/listen/half_open.hpp"
#include "stack/tcp/connection.hpp"
#include "stack/tcp/stamp.hpp"
#include "stack/wire/tcp.hpp"
#include "stack/wire/udp.hpp"
#include "weir/stack/shards.hpp"

namespace weir::stack::share {

/// A connection between two hosts: in no table, charged to nobody, without options (the hosts'
/// copies of them are not for sharing between threads).
struct moved_connection {
  explicit moved_connection(tcp::connection&& c) : connection(std::move(c)) {}
  ~moved_connection();
  moved_connection(const moved_connection&) = delete;
  moved_connection& operator=(const moved_connection&) = delete;

  tcp::connection connection;
  tcp::stamp queued_at;  ///< when it entered the first accept queue
  bool attached = true;  ///< segments still find it
  bool taken = false;    ///< its chunks belong to a host again
};

struct moved_half_open {
  half_open entry;
  instant fires;
};

struct handover {
  enum class kind : std::uint8_t {
    segment,
    datagram,
    icmp,
    connection,
    half_open,
    want,
    unwant,
    forget
  };

  kind what = kind::segment;
  std::uint8_t hops = 0;
  bool answers_want = false;    ///< connection: somebody there waits for it
  std::uint16_t from = 0;       ///< want, unwant, forget: whose
  endpoint listener;            ///< of all but segments and errors: the group's address,
  std::uint64_t group = 0;      ///< and which of the groups that had it (share::group::id)
  wire::tcp_segment segment;    ///< its payload lies in the batch's bytes
  wire::udp_datagram datagram;  ///< so does this one's
  std::size_t payload_at = 0, payload_size = 0;
  std::size_t headers = 0;  ///< of these, at the front: the packet's, which may go on from there
  icmp_report report;
  std::unique_ptr<moved_connection> connection;
  std::unique_ptr<moved_half_open> half_open;
};

struct batch {
  std::vector<handover> items;
  std::vector<std::byte> bytes;

  void clear() {
    items.clear();
    bytes.clear();
  }
};

enum class posted : std::uint8_t { yes, full, closed };

class inbox {
 public:
  static constexpr std::size_t max_segments = 8192;
  static constexpr std::size_t max_bytes = 8u << 20;

  posted post(handover&& item, std::span<const std::byte> payload = {});
  /// Everything that waits; `into` is empty.
  void take(batch& into);
  /// From now on posts are refused; what came before can still be taken.
  void open(bool accepting);
  void set_waker(shard_waker* waker);
  /// How many wait: a hint, without a lock.
  std::uint32_t pending() const { return pending_.load(std::memory_order_relaxed); }

 private:
  std::mutex mutex_;
  batch waiting_;
  shard_waker* waker_ = nullptr;
  bool open_ = false;
  std::atomic<std::uint32_t> pending_{0};
};

}  // namespace weir::stack::share

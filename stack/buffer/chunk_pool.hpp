// Chunks: the blocks that send and receive queues are made of. The pool owns the recycled ones
// (last in, first out, so that the hot one comes back first), and charges each at its true size to
// the host's account. It never gives out more than the account's limit, and makes no system call
// beyond the allocator's.
//
// A chunk is held by whoever took it, and by others who were lent its bytes: it comes back when the
// last of them lets go. A view is a small chunk that stands for bytes of another, or for memory
// that is none of ours, so that one block can be read in one queue and sent from another.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weir::stack::buffer {

/// How short a host is of memory.
enum class shortage : std::uint8_t {
  none,
  bulk,      ///< what large queues may use is nearly gone
  reserve,   ///< half of the reserve is gone too
  critical,  ///< most of it is
};

/// Bytes held by one host, against its limit (host_limits::memory). An eighth of it is a reserve
/// for what a host must go on with however much others have queued: what arrives, and small sends
/// (send_share(), receive_share()). Whoever wants more asks first what there is beside it.
class memory_account {
 public:
  /// What a send queue may be charged out of the reserve: a chunk of 2 KiB.
  static constexpr std::uint64_t small_send = 2048 + 32;
  /// And a receive queue: two of them.
  static constexpr std::uint64_t small_receive = 2 * small_send;

  explicit memory_account(std::uint64_t limit) : limit_(limit), reserve_(limit / 8) {}

  bool charge(std::uint64_t bytes) {
    if (bytes > available()) return false;
    used_ += bytes;
    return true;
  }
  void release(std::uint64_t bytes) { used_ -= bytes; }
  /// Chunks that came from another host's pool; they count also where they are too many, which is
  /// then false: give them back.
  bool adopt(std::uint64_t bytes) {
    used_ += bytes;
    return used_ <= limit_;
  }
  std::uint64_t used() const { return used_; }
  std::uint64_t available() const { return used_ < limit_ ? limit_ - used_ : 0; }
  /// What is left beside the reserve.
  std::uint64_t bulk_available() const { return used_ < bulk() ? bulk() - used_ : 0; }
  /// Under a quarter left: windows stop growing, so that they close before the memory is gone.
  bool pressure() const { return bulk_available() < bulk() / 4; }
  /// What one queue may be charged then, so that nobody takes the rest.
  std::uint64_t share() const { return bulk_available() / 8; }
  /// The same of a queue that may always hold a little, while there is any.
  std::uint64_t send_share() const { return std::max(share(), small_send); }
  std::uint64_t receive_share() const { return std::max(share(), small_receive); }
  shortage level() const {
    if (used_ + reserve_ / 8 >= limit_) return shortage::critical;
    if (used_ + reserve_ / 2 >= limit_) return shortage::reserve;
    return bulk_available() <= bulk() / 16 ? shortage::bulk : shortage::none;
  }
  /// Whether so much is free again that nobody needs to go.
  bool relieved() const { return bulk_available() > bulk() / 8; }

 private:
  std::uint64_t bulk() const { return limit_ - reserve_; }

  std::uint64_t limit_;
  std::uint64_t reserve_;
  std::uint64_t used_ = 0;
};

/// By size class. The last is that of views, and of what keeps foreign memory.
inline constexpr std::array<std::uint32_t, 5> chunk_capacities{480, 2048, 16384, 65536, 32};

/// What stands behind a chunk's header.
enum class chunk_kind : std::uint8_t {
  bytes,    ///< the stream's own
  view,     ///< a buffer::view: bytes that another chunk keeps
  foreign,  ///< a buffer::foreign: who gets memory back that is not ours
  unfilled  ///< a buffer::source: the stream's own, in the packet that brought them until fill()
};

/// A block of bytes with its place in a stream. Filled from begin to end; which part is valid is
/// its queue's to know.
struct chunk {
  chunk* next = nullptr;
  std::uint64_t offset = 0;   ///< stream offset of data()[0]; foreign: the bytes charged for it
  std::uint32_t lenders = 1;  ///< of the holders, a receive queue and those that it lent to
  std::uint32_t limit = 0;    ///< bytes of them that may be used: less where the next chunk begins
                              ///< earlier; view: what its queue is charged for the bytes
  std::uint32_t end = 0;      ///< send queue: bytes filled; lent: its socket's generation
  std::uint32_t size_class : 3 = 0;
  chunk_kind kind : 2 = chunk_kind::bytes;
  std::uint32_t holders : 27 = 1;  ///< one for each byte at most, so it cannot overflow

  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(this + 1); }
  /// Bytes behind the header.
  std::uint32_t capacity() const { return chunk_capacities[size_class]; }
  std::uint32_t true_size() const { return capacity() + static_cast<std::uint32_t>(sizeof(chunk)); }
};

/// Bytes that `keeper` holds.
struct view {
  const std::byte* data;
  chunk* keeper;
};

/// Memory of the application, until `release(context)`.
struct foreign {
  void (*release)(void* context) noexcept;
  void* context;
};

/// The first `size` bytes of a chunk that is not filled yet.
struct source {
  const std::byte* data;
  std::uint32_t size;
};

/// Where the bytes of a chunk lie: its own, a view's, or a packet's.
inline const std::byte* bytes_of(const chunk& c) {
  if (c.kind == chunk_kind::view) return reinterpret_cast<const view*>(c.data())->data;
  if (c.kind == chunk_kind::unfilled) return reinterpret_cast<const source*>(c.data())->data;
  return c.data();
}

class chunk_pool {
 public:
  static constexpr std::array<std::uint32_t, 4> capacities{
      chunk_capacities[0], chunk_capacities[1], chunk_capacities[2], chunk_capacities[3]};
  /// Recycled chunks kept beyond what is in use; more go back to the allocator.
  static constexpr std::uint64_t max_idle_bytes = 8u << 20;

  explicit chunk_pool(std::uint64_t memory_limit) : account_(memory_limit) {}
  ~chunk_pool();
  chunk_pool(const chunk_pool&) = delete;
  chunk_pool& operator=(const chunk_pool&) = delete;

  /// A chunk of the smallest class that holds `wanted` bytes, else of the largest class. Null: the
  /// account is full.
  chunk* take(std::size_t wanted);
  /// One holder less; true when that was the last, and the memory is back.
  bool let_go(chunk* c) {
    if (--c->holders != 0) return false;
    give_back(c);
    return true;
  }
  /// The same from the only holder.
  void give(chunk* c) { (void)let_go(c); }
  /// A view of bytes that `keeper` holds, which gets one holder more. Null: the account is full.
  chunk* take_view(chunk& keeper, const std::byte* data);
  /// Keeps the application's memory, and is charged for it, until the last holder lets go: then
  /// `release(context)` is called, once, from within. Null (and nothing is released): the account
  /// is full.
  chunk* take_foreign(std::size_t bytes, void (*release)(void*) noexcept, void* context);
  /// Of a fresh chunk: its first bytes are those of `from`, which stay where they are until fill().
  /// One chunk at a time. Whoever is done with it before then saves the copy.
  void fill_later(chunk& c, std::span<const std::byte> from);
  /// Copies what fill_later() put off, and is still wanted. False: nothing was.
  bool fill() { return unfilled_ != nullptr && fill_now(); }
  bool unfilled() const { return unfilled_ != nullptr; }
  /// The largest capacity that is not above `bytes`, or the smallest: how a queue of `bytes` grows,
  /// so that it is never charged much more than twice what it holds.
  static std::uint32_t grown(std::size_t bytes);
  /// What take(wanted) would charge.
  static std::uint32_t cost(std::size_t wanted);

  memory_account& account() { return account_; }
  const memory_account& account() const { return account_; }
  std::uint64_t idle_bytes() const { return idle_bytes_; }
  /// Calls of the allocator so far: constant in steady state.
  std::uint64_t allocations() const { return allocations_; }

 private:
  static constexpr std::uint8_t view_class = capacities.size();

  chunk* take_class(std::uint8_t size_class);
  void give_back(chunk* c);
  bool fill_now();

  memory_account account_;
  std::array<chunk*, chunk_capacities.size()> idle_{};
  std::uint64_t idle_bytes_ = 0;
  std::uint64_t allocations_ = 0;
  chunk* unfilled_ = nullptr;
};

static_assert(sizeof(chunk) == 32);
static_assert(sizeof(view) <= chunk_capacities.back());
static_assert(sizeof(foreign) <= chunk_capacities.back());
static_assert(sizeof(source) <= chunk_capacities.back());

}  // namespace weir::stack::buffer

// The receive queue: bytes in order that wait for the reader, and bytes beyond a gap that wait for
// what is missing (RFC 9293 SHLD-31). Each byte is copied once, to its place in the stream, so that
// reassembly never moves data and what peek() showed stays where it is; not at all where a reader
// takes it out of the packet that brought it. The first copy of a byte wins. Bounded in bytes and
// in ranges; it owns no chunk when empty. What it lends stays charged to it until it is taken back.
// Windows are tcp/receiver.hpp's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/buffer/chunk_pool.hpp"

namespace weir::stack::buffer {

/// [begin, end) in stream offsets: bytes held beyond a gap.
struct byte_range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const byte_range&) const = default;
};

class receive_queue {
 public:
  /// Ranges beyond gaps; a segment that would make more is dropped.
  static constexpr std::size_t max_ranges = 1024;

  enum class status : std::uint8_t {
    stored,     ///< all of it, or all of it that was missing
    duplicate,  ///< every byte was here already
    no_memory,  ///< the connection's or the host's bound is met; a prefix may be stored
    no_range    ///< max_ranges is met
  };

  /// Bytes in order, not yet consumed.
  std::uint32_t readable() const { return static_cast<std::uint32_t>(next_ - read_); }
  /// Bytes held beyond a gap.
  std::uint32_t out_of_order() const { return ranges_ != nullptr ? ranges_->limit : 0; }
  /// What its chunks cost, headers included, and those that it has lent.
  std::uint32_t charged() const { return charged_; }
  /// Bytes lent and not taken back.
  std::uint32_t lent() const { return lent_; }
  /// Stream offset of the next byte in order.
  std::uint64_t next_offset() const { return next_; }
  /// Ranges beyond gaps, ascending, never touching each other or next_offset().
  std::span<const byte_range> ranges() const;

  /// Stores `bytes` at stream offset `at`, which is next_offset() or more; next_offset() moves if a
  /// gap closes. `limit` bounds charged(). `stays`: the bytes stay where they are until
  /// chunk_pool::fill(), which comes before anything else is inserted; until then peek() may show
  /// them there, and they are not copied if they are consumed.
  status insert(chunk_pool& pool, std::uint64_t at, std::span<const std::byte> bytes,
                std::uint32_t limit, bool stays = false);

  /// The contiguous bytes at the head; valid until consume() or clear(), and until fill() where the
  /// last of them stay in their packet. insert() never moves them.
  std::span<const std::byte> peek() const;
  void consume(chunk_pool& pool, std::uint32_t n);
  /// Consumes what peek() shows, and makes the caller a holder of its chunk: the bytes stay where
  /// they are until take_back(). There must be some.
  chunk* lend(chunk_pool& pool);
  /// `n` bytes of `c` that were lent come back.
  void take_back(chunk_pool& pool, chunk* c, std::uint32_t n);
  /// Whoever was lent chunks answers for them alone from here on, and lets go of them himself.
  void disown();
  /// Copies out and consumes; returns how many.
  std::size_t read(chunk_pool& pool, std::span<std::byte> into);
  /// Drops the last chunk that lies beyond a gap, so that bytes in order find room: its sender has
  /// them still (RFC 2018 8). False when there is none.
  bool drop_farthest(chunk_pool& pool);
  /// Drops everything, also what waits beyond a gap.
  void clear(chunk_pool& pool);

 private:
  bool write(chunk_pool& pool, std::uint64_t at, std::span<const std::byte> bytes,
             std::uint32_t limit, std::uint64_t& stored_to);
  bool leave_in_packet(chunk_pool& pool, std::span<const std::byte> bytes, std::uint32_t limit);
  /// `in_order`: no byte before `at` is missing.
  chunk* place_for(chunk_pool& pool, std::uint64_t at, std::size_t wanted, std::uint32_t limit,
                   bool in_order);
  status add_range(chunk_pool& pool, std::uint64_t begin, std::uint64_t end, std::uint32_t limit);
  bool grow_ranges(chunk_pool& pool, std::uint32_t limit);
  void absorb_ranges(chunk_pool& pool);
  void drop(chunk_pool& pool, chunk* c);
  byte_range* range_array() const { return reinterpret_cast<byte_range*>(ranges_->data()); }
  void release_ranges(chunk_pool& pool);

  chunk* head_ = nullptr;  // ascending by offset; gaps between chunks are possible
  chunk* tail_ = nullptr;
  chunk* hint_ = nullptr;    // where the last byte was written
  chunk* ranges_ = nullptr;  // an array of byte_range; `end` counts them, `limit` their bytes
  std::uint64_t read_ = 0;   // stream offset of the first unread byte
  std::uint64_t next_ = 0;   // stream offset of the first missing byte
  std::uint32_t lent_ = 0;
  std::uint32_t charged_ = 0;
};

}  // namespace weir::stack::buffer

// The scoreboard: what is in flight, in records of contiguous bytes that were sent at one time,
// each with its fate so far (RFC 6675 3, RFC 8985 5.2). It counts the bytes that are selectively
// acknowledged, lost and retransmitted, so that what is in the network is a subtraction. It takes
// one chunk while something is in flight, and none when idle. Which record is lost and when to send
// is recovery.cpp's and send.cpp's.
#pragma once

#include <cstdint>

#include "stack/buffer/chunk_pool.hpp"
#include "stack/tcp/seq.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack::tcp {

struct sent_record {
  enum flag : std::uint8_t {
    sacked = 1,
    lost = 2,           ///< thought lost; to be sent again, or sent again if `retransmitted`
    retransmitted = 4,  ///< a retransmission of it is in flight
    ever_retransmitted = 8,
    fin = 16,   ///< its last octet is the FIN
    probe = 32  ///< one packet, longer than any before (RFC 4821)
  };

  instant sent;  ///< the latest transmission
  seq start;
  std::uint32_t length = 0;
  std::uint8_t flags = 0;

  seq end() const { return start + length; }
  bool has(flag f) const { return (flags & f) != 0; }
};

/// What one acknowledgement brought, gathered over the records that it covered.
struct ack_outcome {
  std::uint32_t delivered = 0;  ///< bytes newly known to have arrived
  std::uint32_t newly_sacked = 0;
  instant newest_sent = instant::from_ns(-1);  ///< latest transmission among them; negative: none
  seq newest_end;
  bool newest_retransmitted = false;
  instant clean_sent =
      instant::from_ns(-1);  ///< latest among those sent only once (Karn); negative: none
  /// What was sacked before, to be set first: what comes together with later bytes shows nothing.
  bool any_sacked = false;
  seq highest_sacked;
  bool reordered =
      false;  ///< a never retransmitted byte below the highest sacked one was delivered
};

class scoreboard {
 public:
  bool empty() const { return seen().count == 0; }
  std::uint32_t count() const { return seen().count; }
  std::uint32_t sacked() const { return seen().sacked; }
  std::uint32_t lost() const { return seen().lost; }
  std::uint32_t retransmitted() const { return seen().retransmitted; }
  std::uint32_t charged() const { return store_ == nullptr ? 0 : store_->true_size(); }
  /// End of the highest selectively acknowledged byte; meaningful while sacked() > 0.
  seq highest_sacked() const { return seen().highest_sacked; }

  sent_record& operator[](std::uint32_t i) { return records()[seen().first + i]; }
  const sent_record& operator[](std::uint32_t i) const { return records()[seen().first + i]; }

  /// Whether push() will find room; false when the board or the host's memory is full.
  bool reserve(buffer::chunk_pool& pool);
  /// Notes bytes just sent for the first time; they follow the last record.
  /// `probe`: a record by itself, never joined with others.
  void push(seq start, std::uint32_t length, instant now, bool with_fin, bool probe = false);
  /// Forgets what lies before `una`.
  void acknowledge(buffer::chunk_pool& pool, seq una, ack_outcome& outcome);
  /// Marks [left, right) as arrived.
  void sack(buffer::chunk_pool& pool, seq left, seq right, ack_outcome& outcome);
  void mark_lost(std::uint32_t i);
  void mark_retransmitted(std::uint32_t i, instant now);
  /// The retransmission of record `i` is lost too.
  void unmark_retransmitted(std::uint32_t i);
  /// Everything that is not sacked is lost (a retransmission timeout, RFC 6298 5.4).
  /// `forget_sacks`: sacked bytes too, as the receiver may have reneged (RFC 2018 8).
  void mark_all_lost(bool forget_sacks);
  /// Nothing is lost after all (a spurious timeout).
  void unmark_all_lost();
  /// The first record that is lost and not retransmitted; count() when there is none.
  std::uint32_t first_to_retransmit() const;
  /// Cuts record `i` after `length` bytes. False: no room, the record stays whole.
  bool split(buffer::chunk_pool& pool, std::uint32_t i, std::uint32_t length);
  void clear(buffer::chunk_pool& pool);

 private:
  // At the head of the chunk, before the records.
  struct totals {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t sacked = 0;
    std::uint32_t lost = 0;
    std::uint32_t retransmitted = 0;
    seq highest_sacked;
  };
  static const totals nothing;

  const totals& seen() const {
    return store_ == nullptr ? nothing : *reinterpret_cast<const totals*>(store_->data());
  }
  /// There is a chunk: for changing.
  totals& mine() { return *reinterpret_cast<totals*>(store_->data()); }
  sent_record* records() const {
    static_assert(sizeof(totals) % alignof(sent_record) == 0);
    return reinterpret_cast<sent_record*>(store_->data() + sizeof(totals));
  }
  std::uint32_t capacity() const {
    return store_ == nullptr ? 0
                             : (store_->capacity() - static_cast<std::uint32_t>(sizeof(totals))) /
                                   static_cast<std::uint32_t>(sizeof(sent_record));
  }
  void deliver(sent_record& r, ack_outcome& outcome);
  void unaccount(const sent_record& r);

  buffer::chunk* store_ = nullptr;
};

inline const scoreboard::totals scoreboard::nothing{};

}  // namespace weir::stack::tcp

// What a shard and the stack's own thread have between them: a record for each socket (UDP's is in
// datagram_record.hpp), a ring each way for small notes about them, and a bell each way, which is a
// message to the other's mailbox and so wakes it only when it sleeps.
//
// A record is the shard's memory, in two halves: each thread touches its own, and what is handed
// over (the fields said to be) is written before the note that tells of it and read after. Bytes do
// not pass through the rings: received ones are read where the stack has them, and stay there until
// the note that they were taken; those to be sent are read by the stack out of the writer's memory,
// which the note of the write's end gives back.
//
// Every note is made from bits that wait in the record, so that there is at most one of each kind
// for a socket: a ring that is full delays notes, and loses none.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <system_error>
#include <type_traits>

#include "runtime/core/sockets/lending_pool.hpp"
#include "runtime/transport/stack/dedicated/spsc_ring.hpp"
#include "weir/detail/mailbox.hpp"
#include "weir/shard.hpp"
#include "weir/stack/sockets.hpp"

namespace weir::detail {

struct channel;
struct dedicated_member;
struct dedicated_socket;

/// What a shard asks of the stack; bits of a note.
namespace ask {
inline constexpr std::uint16_t consume = 1;  ///< `count` of the bytes, or datagrams, shown
inline constexpr std::uint16_t accept = 2;   ///< of the listener in the record
inline constexpr std::uint16_t connect = 4;  ///< the operation in the record
inline constexpr std::uint16_t write = 8;    ///< the operation in the record
inline constexpr std::uint16_t cancel = 16;  ///< whichever of these three is under way
inline constexpr std::uint16_t shutdown = 32;
inline constexpr std::uint16_t close = 64;
inline constexpr std::uint16_t abort = 128;
inline constexpr std::uint16_t send = 256;  ///< the datagrams in the record
/// Not asked: the record is a UDP socket's. The note says it, since the shard may have begun the
/// record anew when it is read.
inline constexpr std::uint16_t of_datagrams = 512;
inline constexpr std::uint16_t drop = 1024;  ///< what is received; nobody looks at what was shown
}  // namespace ask

/// What the stack tells a shard; bits of a note.
namespace tell {
inline constexpr std::uint16_t opened = 1;  ///< accepted, connected; the endpoints are in place
inline constexpr std::uint16_t data = 2;    ///< `bytes`, `count` of them, may be read
inline constexpr std::uint16_t end = 4;     ///< of the stream, or of all, behind what was shown
inline constexpr std::uint16_t failed = 8;  ///< the same with `ended_by`; UDP: once, with `error`
inline constexpr std::uint16_t done = 16;   ///< the request is over; `outcome` says how
inline constexpr std::uint16_t gone = 32;   ///< no note about this record follows
inline constexpr std::uint16_t peer_over = 64;  ///< whatever is unread; `peer_over_by` says how
inline constexpr std::uint16_t sent = 128;      ///< the datagrams are gone, each operation says how
/// Never told: look what there is when the note is made.
inline constexpr std::uint16_t look = 0x8000;
}  // namespace tell

struct dedicated_listener final : listener_socket {
  dedicated_member* member = nullptr;  // the stack's
};

/// What every record has in the shard's half: what is to be asked.
struct asking : stack::queue_link<> {
  explicit asking(bool of_datagrams) : datagrams(of_datagrams) {}

  const bool datagrams;  // a UDP socket's; else a connection's
  bool queued = false;   // in the channel's queue of those with something to ask
  std::uint16_t asks = 0;
  std::uint32_t consumed = 0;
};

/// What every record has in the stack's half: what is to be told.
struct telling : stack::queue_link<> {
  telling(asking& record, bool of_datagrams) : of(&record), datagrams(of_datagrams) {}

  asking* of;
  const bool datagrams;  // as the record's, which is the shard's to read
  channel* home = nullptr;
  bool queued = false;
  std::uint16_t tells = 0;
};

/// The shard's half, and what is handed over.
struct dedicated_half : lending_socket, asking {
  enum class role : std::uint8_t { unused, accepting, connecting, stream, closing };

  dedicated_half() : asking(false) {}

  role kind = role::unused;
  bool asked = false;  // a request is with the stack
  bool peer_over = false;
  std::uint32_t presented = 0;  // bytes that rx_data showed when it was looked at last
  dedicated_socket* next_free = nullptr;
  accept_operation* acceptor = nullptr;  // of an accepting record

  // --- Handed over.
  connect_operation* connector = nullptr;  // by the shard, with ask::connect
  write_operation* writer = nullptr;       // by the shard, with ask::write
  dedicated_listener* listener = nullptr;  // by the shard, with ask::accept
  endpoint local, remote;                  // by the stack, with tell::opened
  std::error_code ended_by;                // by the stack, with tell::failed
  std::error_code peer_over_by;            // by the stack, with tell::peer_over
  std::error_code outcome;                 // by the stack, with tell::done
};

/// The stack's half begins anew with the first thing asked of it: a late note about what the record
/// was before finds nothing to do.
struct dedicated_socket final : dedicated_half {
  struct half : telling {
    explicit half(asking& record) : telling(record, false) {}

    stack::socket_id id = stack::socket_id::none;
    dedicated_member* member = nullptr;    // of the listener in which it waits
    dedicated_socket* previous = nullptr;  // of the channel's connections
    dedicated_socket* next = nullptr;      // the same, or the member's waiting acceptors
    write_operation* writing = nullptr;
    bool opening = false;  // connecting
    bool waiting = false;  // accepting
    bool drops = false;    // what is received
    bool told_end = false;
    bool told_peer_over = false;
    std::uint32_t shown = 0;  // bytes with the shard
    std::uint64_t turn = 0;   // among all that wait in listeners
  };
  void begin(channel& home) {
    std::destroy_at(&stack);
    std::construct_at(&stack, *this)->home = &home;
  }

  alignas(64) half stack{*this};
};

struct up_note {
  asking* of;
  std::uint32_t count;
  std::uint16_t bits;
};

struct down_note {
  asking* of;
  const std::byte* bytes;
  std::uint32_t count;
  std::uint16_t bits;
  std::uint16_t error;
};

/// A message to the other side's shard; at most one is under way.
struct bell : message {
  bell(channel& c, void (*f)(message&) noexcept) : message(f), of(&c) {}
  void ring(shard& other) noexcept {
    if (!sent.exchange(true, std::memory_order_seq_cst)) other.deliver(*this);
  }
  /// First thing when it was heard: what comes from here on rings again, what came before is seen.
  void heard() noexcept { sent.exchange(false, std::memory_order_seq_cst); }

  channel* of;
  std::atomic<bool> sent{false};
};

class dedicated_transport;
class stack_service;

/// Between one shard and the stack's thread.
struct channel {
  static constexpr std::size_t notes = 1024;

  using handler = void (*)(message&) noexcept;

  channel(dedicated_transport& t, stack_service& s, shard& a, shard& b, handler on_up,
          handler on_down)
      : transport(t),
        service(s),
        app(a),
        stack(b),
        up_bell(*this, on_up),
        down_bell(*this, on_down) {}

  dedicated_transport& transport;
  stack_service& service;
  shard& app;
  shard& stack;
  spsc_ring<up_note, notes> up;
  spsc_ring<down_note, notes> down;
  bell up_bell;
  bell down_bell;
  std::binary_semaphore call_done{0};  // of the one call that the shard waits for

  // --- The shard's.
  stack::intrusive_queue<asking> asks;

  // --- The stack's.
  dedicated_socket* connections = nullptr;
  stack::intrusive_queue<telling> tells;
  std::size_t open = 0;  // connections
};

/// With the shard's next notes.
inline void ask_later(channel& c, asking& of, std::uint16_t bits) noexcept {
  of.asks |= bits;
  if (of.queued) return;
  of.queued = true;
  c.asks.push_back(of);
}
/// Of a record that goes: what it still had to ask is void.
inline void withdraw(channel& c, asking& of) noexcept {
  if (!of.queued) return;
  c.asks.remove(of);
  of.queued = false;
  of.asks = 0;
}
/// With the stack's next notes.
inline void tell_later(telling& of, std::uint16_t bits) noexcept {
  of.tells |= bits;
  if (of.queued) return;
  of.queued = true;
  of.home->tells.push_back(of);
}

/// Runs `f` on the stack's thread, behind every note that was put, and waits for it.
void call_with(const std::shared_ptr<channel>& c, void (*f)(void*), void* with);
template <class F>
void call(const std::shared_ptr<channel>& c, F&& f) {
  call_with(c, [](void* with) { (*static_cast<std::remove_reference_t<F>*>(with))(); }, &f);
}

}  // namespace weir::detail

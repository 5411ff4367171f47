// The stack's facade: one TCP/IP host that turns (packet, now) into (packets, events). It makes no
// system call, reads no clock, starts no thread, throws nothing on what arrives from the wire and
// knows no coroutine; a harness, a simulator or a runtime feeds it. One host serves one shard:
// nothing in it is shared between threads.
//
// The calls are those of the BSD socket API, non-blocking: what cannot be done now is
// operation_would_block, and an event says when to try again. Ids are never reused while a stale
// copy could be mistaken for another socket's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <system_error>

#include "weir/stack/address.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/info.hpp"
#include "weir/stack/lent_datagram.hpp"
#include "weir/stack/options.hpp"
#include "weir/stack/packets.hpp"
#include "weir/stack/result.hpp"
#include "weir/stack/sockets.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

class shard_set;

/// A TCP/IP host. Every call is made from one thread with a `now` that never goes back.
class host {
 public:
  host(host_options options, packet_sink& sink);
  /// One of several hosts with the same addresses on one device, each with its own shard's queue of
  /// it: listeners of one address form groups (weir/stack/shards.hpp), and what arrives on the
  /// wrong shard is handed over. The secret is the set's.
  host(host_options options, packet_sink& sink, std::shared_ptr<shard_set> shards, unsigned shard);
  ~host();
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  // --- Driving it.

  /// Optional, before the input() of several packets, 16 at most: asks for the memory that they
  /// will touch all at once, where it would be waited for piece by piece. Of use where connections
  /// are too many for the core's caches; with fewer nothing is done. Never changes what input()
  /// does.
  void expect(std::span<const std::span<const std::byte>> packets) noexcept;
  /// One IP packet from the wire; it is read during the call only. Acknowledgements wait for
  /// flush().
  void input(instant now, std::span<const std::byte> packet, const receive_meta& meta = {});
  /// The same of a packet that stays where it is until let_go(), which comes before the next one.
  /// What is taken of it in between by peek_held() and consume() was never copied.
  void input_held(instant now, std::span<const std::byte> packet, const receive_meta& meta = {});
  /// The packet goes: what was not taken is copied. False: nothing was left of it. Harmless where
  /// none is held.
  bool let_go();
  /// After a batch of input(): sends what is due, one acknowledgement a connection (RFC 9293
  /// MUST-58, MUST-59). Best called last in a turn, after the application has had its say: then
  /// replies carry the acknowledgements.
  void flush(instant now);
  /// Before flush(): the device had more packets than this batch took, since the core cannot keep
  /// up. From a flood of SYNs, those that come for the first time then go unanswered: to read them
  /// costs little, and what clients send is not lost in the device's queue behind them.
  void device_is_ahead();
  /// Runs the timers that are due.
  void advance(instant now);
  /// When advance() must be called next; never() when no timer runs. May be earlier than a timer
  /// really fires.
  instant next_deadline() const;
  /// Takes the next event; false when there is none. At most one pending event per socket: its bits
  /// are merged.
  bool next_event(event& out);
  /// From now on, or null: no longer. It outlives the host. Gets what would else be answered by a
  /// reset or an ICMP error, or ignored, because this host knows nothing of it: segments without a
  /// flow, a listener that takes them, or a valid cookie; datagrams without a socket; ICMP errors
  /// about what was not sent here. Not what the host's own sockets send each other.
  void forward_unclaimed(packet_forwarder* to);
  /// Takes what other shards handed over; called when the waker said so, and harmless otherwise.
  void take_handovers(instant now);

  // --- Sockets.

  /// Errors: address_not_available (not ours), permission_denied (wildcard), address_in_use,
  /// not_enough_memory (limit). Port 0 takes a free one; local_endpoint() tells it.
  result<socket_id> listen(const endpoint& local, const listen_options& options = {});
  /// Listens for others' addresses, a gateway's way: whoever connects to one of them meets this
  /// host, and an accepted socket's local endpoint is the one that was meant. Specific listeners go
  /// first. Where hosts share a device: operation_not_supported. Packets to that network are taken
  /// from now on, after the listener's end too. Errors: address_in_use (the same network and a port
  /// in common), invalid_argument (port 0, no port), not_enough_memory (limit).
  result<socket_id> listen_any(const any_destination& where, const listen_options& options = {});
  /// Of a listener that asks (listen_options::ask): the oldest SYN that nobody was told of, by an
  /// id that local_endpoint(), remote_endpoint() and set_user() know; operation_would_block when
  /// there is none, and `acceptable` follows. Nothing was answered yet.
  result<socket_id> next_request(socket_id listener);
  /// Answers it with a SYN-ACK. An event with what set_user() gave follows: `connected` with the
  /// connection's id, or `failed`. connection_aborted: the peer has gone, or the time was over.
  std::error_code accept_request(instant now, socket_id request);
  /// Gives it up, and tells the peer as much as it is to know. (close() is a refusal by reset.) The
  /// id is dead, and no event follows.
  void refuse_request(instant now, socket_id request, refusal how = refusal::reset);
  /// Takes the oldest completed connection; operation_would_block when there is none.
  /// Its time in the queue counts up to `now`.
  result<socket_id> accept(instant now, socket_id listener);
  /// The same at the latest instant that the host was told of.
  result<socket_id> accept(socket_id listener);
  /// One more acceptor waits on this listener, after accept() would have blocked, or one less. Who
  /// shares a queue with other shards gets a connection only when it waits, in the order of
  /// waiting; of other listeners nothing needs to be said.
  void accept_wanted(instant now, socket_id listener);
  void accept_unwanted(instant now, socket_id listener);
  /// Another program listens there from now on: a SYN is nobody's here. What has begun goes on.
  /// True once nothing of it is left: no handshake, no cookie whose answer may be under way (one
  /// second after the last), nothing in the accept queue. Of no listener: true.
  bool leave_to_others(instant now, socket_id listener);
  /// Starts an active open; `connected` or `failed` follows. `local` may be unspecified and its
  /// port 0. Errors: address_not_available, network_unreachable (no address of that family),
  /// address_in_use (no port free), invalid_argument (multicast, broadcast, unspecified or port 0
  /// remote: RFC 9293 MUST-46), not_enough_memory.
  result<socket_id> connect(instant now, const endpoint& remote, const endpoint& local,
                            const tcp_options& options);

  /// Queues as much of `parts` as there is room for; returns the bytes taken. Errors:
  /// operation_would_block (none; `writable` follows), broken_pipe (after shutdown_send),
  /// not_connected, or what ended the connection.
  /// `more`: more follows at once; a last segment that is not full waits for it, for 200 ms at most
  /// (as Linux's MSG_MORE).
  result<std::size_t> send(instant now, socket_id id,
                           std::span<const std::span<const std::byte>> parts, bool more = false);
  /// Copies received bytes out and opens the window by as many. 0: end of stream. Errors as above.
  result<std::size_t> receive(instant now, socket_id id, std::span<std::byte> into);
  /// The contiguous bytes at the head of the receive queue, without a copy; empty when none are
  /// there. Valid until the next receive(), consume(), close() or abort() on this socket: input()
  /// never moves them.
  std::span<const std::byte> peek(socket_id id) const;
  /// The same, valid until let_go(), too: the bytes may lie in the packet that is held.
  std::span<const std::byte> peek_held(socket_id id) const;
  /// Drops `n` bytes that peek() showed and opens the window by as many.
  void consume(instant now, socket_id id, std::size_t n);
  /// Takes what peek() would show out of the receive queue without a copy; size 0: end of stream.
  /// The bytes stay charged to the connection, and its window closed by them, until release().
  /// Errors as receive().
  result<lent_chunk> lend(instant now, socket_id id);
  /// Memory of the caller's, charged to this host until it is used no more: then, once, from within
  /// a call of the host or its destructor, `give_back(context)`, which must not call the host. For
  /// send_lent(). not_enough_memory: it stays the caller's.
  result<lent_chunk> keep(std::span<const std::byte> bytes,
                          void (*give_back)(void* context) noexcept, void* context);
  /// send() of `bytes`, a part of what `from` holds, without a copy: the send queue holds their
  /// memory too until they are acknowledged, whatever becomes of `from`. A few bytes, and a small
  /// part of a large chunk, are copied.
  result<std::size_t> send_lent(instant now, socket_id id, const lent_chunk& from,
                                std::span<const std::byte> bytes, bool more = false);
  /// Gives back what lend() or keep() gave; the window opens by as much. The socket may be gone.
  void release(instant now, const lent_chunk& lent);
  /// Chunks out on loan, of lend() and keep() together.
  std::size_t lent_chunks() const;
  /// Whether the peer's FIN has been reached by the reader.
  bool at_end(socket_id id) const;
  /// Whether it has come, read or not.
  bool peer_ended(socket_id id) const;
  /// What ended the connection; no error while it lives or after an orderly end.
  std::error_code error(socket_id id) const;
  /// What ICMP or repeated timeouts said of late without ending the connection (RFC 9293 MUST-47,
  /// SHLD-9); no error after the next progress.
  std::error_code soft_error(socket_id id) const;

  /// Sends FIN after what is queued; receiving goes on. not_connected when there is nothing to
  /// shut.
  std::error_code shutdown_send(instant now, socket_id id);
  /// Nothing more is read: the reader is at the end of the stream, and what is queued or still
  /// arrives is acknowledged and dropped. The peer is not told; sending goes on, and a close is an
  /// orderly one. not_connected when there is nothing to shut.
  std::error_code shutdown_receive(instant now, socket_id id);
  /// Gives the socket up; the id is dead at once and no event follows. Queued bytes and FIN are
  /// still delivered, in bounded time; unread data makes it a reset (RFC 9293 SHLD-3). A listener
  /// resets what it had not handed out.
  void close(instant now, socket_id id);
  /// Gives the socket up with a reset; what is queued is dropped.
  void abort(instant now, socket_id id);
  /// Resets every connection that still has something to deliver, those that were closed included.
  /// Where a closed one waits for nothing but its peer's end, the peer has all and is left in
  /// peace.
  void reset_unfinished(instant now);

  /// What events for this socket carry. Accepted sockets start with nullptr.
  void set_user(socket_id id, void* user);
  /// Changes what may change on a live connection: nodelay, buffers' bounds, timeouts, keep-alive,
  /// ttl, traffic class, pacing, path probing, what is reported. What the handshake negotiates
  /// (SACK, timestamps, window scaling, ECN) stays as it is.
  std::error_code set_options(instant now, socket_id id, const tcp_options& options);
  result<tcp_options> get_options(socket_id id) const;
  /// Holds back segments that are not full (cork); released, or after 200 ms, they go.
  std::error_code set_cork(instant now, socket_id id, bool corked);

  // --- UDP (RFC 768, RFC 1122 4.1). close(), set_user(), local_endpoint(), remote_endpoint() and
  // next_event() serve these sockets too; of the events they have `readable`.

  /// Binds a socket. Errors as listen(): address_not_available, permission_denied (wildcard),
  /// address_in_use, not_enough_memory (limit). Port 0 takes a free one, not to be guessed. A host
  /// that shares its device with no other may have several `sharded` sockets at one address: each
  /// sender's datagrams go to one of them, by hash, those of a member's remote to that member.
  result<socket_id> udp_bind(const endpoint& local, const udp_options& options = {});
  /// A socket that talks to `remote` only. `local` may be unspecified and its port 0. Errors as
  /// udp_bind() and the other udp_connect().
  result<socket_id> udp_connect(const endpoint& remote, const endpoint& local,
                                const udp_options& options = {});
  /// Ties a socket to one remote: only its datagrams are received from now on, what is queued from
  /// others is dropped, and an ICMP port unreachable is reported as connection_refused. A socket
  /// that is bound to the wildcard gets the address that it sends from. Errors: invalid_argument
  /// (port 0; multicast, broadcast, unspecified), address_family_not_supported,
  /// network_unreachable.
  std::error_code udp_connect(socket_id id, const endpoint& remote);
  /// Sends one datagram at once, in fragments where it is larger than the path's MTU. `to` is null
  /// on a connected socket. Errors: not_connected, already_connected, those of udp_connect(),
  /// message_size (over 65,507 bytes on IPv4, 65,527 on IPv6), no_buffer_space (the device has no
  /// room: the datagram is lost), address_not_available (a source that is not the socket's), and
  /// once connection_refused, for an earlier datagram.
  result<std::size_t> udp_send(instant now, socket_id id, const endpoint* to,
                               std::span<const std::span<const std::byte>> payload,
                               const udp_header_choice& header = {});
  /// Takes the oldest datagram. Errors: operation_would_block (`readable` follows), and once
  /// connection_refused.
  result<received_datagram> udp_receive(socket_id id, std::span<std::byte> into);
  /// The same without a copy. Errors as udp_receive().
  result<lent_datagram> udp_lend(socket_id id);
  void udp_give_back(socket_id id, std::uint32_t token);
  result<udp_info> info_udp(socket_id id) const;

  /// Takes datagrams for others' addresses, as listen_any() takes connections. Each pair of
  /// endpoints is a flow with a connected socket of its own, bound to what the datagram was sent
  /// to; `acceptable` tells that one has begun. close() ends none that was accepted. Errors as
  /// listen_any().
  result<socket_id> udp_bind_any(const any_destination& where,
                                 const udp_flow_options& options = {});
  /// The oldest flow that nobody has; operation_would_block, and `acceptable` follows. Its socket
  /// fails with timed_out when it was idle for too long: the flow is over, and the next datagram
  /// begins another.
  result<socket_id> udp_accept(socket_id any);
  /// Tells a connected socket's remote, by ICMP, that its datagrams lead nowhere.
  void udp_refuse(instant now, socket_id id, refusal how = refusal::port_unreachable);
  /// Tells it that no packet of more than `mtu` bytes gets any further (RFC 1191, RFC 8201).
  void udp_tell_too_long(instant now, socket_id id, std::uint16_t mtu);

  // --- Looking at it.

  endpoint local_endpoint(socket_id id) const;
  endpoint remote_endpoint(socket_id id) const;
  result<tcp_info> info(socket_id id) const;
  result<listener_info> info_listener(socket_id id) const;
  void for_each_listener(const std::function<void(const listener_info&)>& visit) const;
  void for_each_connection(const std::function<void(const tcp_info&)>& visit) const;
  /// Shows at most `most` connections, each with what set_user() gave, or nullptr
  /// while nobody holds it (not accepted yet, or given up); returns how many there are.
  std::size_t visit_connections(
      std::size_t most, const std::function<void(const tcp_info&, void* user)>& visit) const;
  std::size_t half_open_entries() const;  ///< in all SYN queues together
  std::size_t time_wait_entries() const;  ///< TIME_WAIT entries
  const host_counters& counters() const;
  /// Who is told of what seldom happens, from now on; it outlives the host, or null is set.
  void watch(host_watcher* watcher);
  const host_options& options() const;
  /// Bytes charged to all queues, half-open and TIME_WAIT entries.
  std::uint64_t memory_in_use() const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir::stack

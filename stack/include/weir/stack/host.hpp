// The stack's facade: one TCP/IP host that turns (packet, now) into (packets, events). It makes no
// system call, reads no clock, starts no thread, throws nothing on what arrives from the wire and
// knows no coroutine; a harness, a simulator or a runtime feeds it. One host serves one shard:
// nothing in it is shared between threads.
//
// The calls are those of the BSD socket API, non-blocking: what cannot be done now is
// operation_would_block, and an event says when to try again. Ids are never reused while a stale
// copy could be mistaken for another socket's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "weir/stack/address.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/result.hpp"
#include "weir/stack/sharing.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

/// Names a socket of one host. Carries a generation: an id that was closed is refused
/// (bad_file_descriptor).
enum class socket_id : std::uint64_t { none = 0 };
/// Whether the id names a UDP socket.
constexpr bool is_udp(socket_id id) {
  return (static_cast<std::uint64_t>(id) & 0xc0000000u) == 0x40000000u;
}

/// Fixed by the first member of a sharing group; a listener without it cannot join.
enum class owner_key : std::uint64_t { none = 0 };

/// What a device knows of a packet that it hands in (virtio_net_hdr's facts, without its layout).
struct receive_meta {
  bool checksum_good =
      false;  ///< the transport checksum was verified, or need not be (RFC 9293 MUST-3 is met)
  std::uint16_t gso_size =
      0;  ///< a super-segment: the payload bytes of each segment that it carries; 0 if single
};

/// What a device is to do with a packet that it is given.
struct transmit_meta {
  bool needs_checksum =
      false;  ///< the field holds the pseudo-header sum only; complete it from checksum_start on
  std::uint16_t checksum_start = 0;
  std::uint16_t checksum_offset = 0;
  std::uint16_t gso_size = 0;  ///< cut the payload into segments of this size; 0: send as it is
  std::uint16_t header_length = 0;  ///< IP and transport header together
  ip_family family = ip_family::v4;
};

/// Where a host's packets go. Called from input(), flush(), advance() and the socket calls.
class packet_sink {
 public:
  virtual ~packet_sink() = default;
  /// Takes one IP packet, gathered from parts (headers first). The parts are valid only during the
  /// call. False: the device has no room; the host counts it and recovers as from a loss.
  virtual bool transmit(std::span<const std::span<const std::byte>> parts,
                        const transmit_meta& meta) = 0;
};

enum class congestion_algorithm : std::uint8_t { reno, cubic };
/// Explicit congestion notification (RFC 3168). `accept`, as Linux: where the peer asks for it;
/// `request` asks for it as well.
enum class ecn_mode : std::uint8_t { off, accept, request };
/// Finding out what a path carries without a router's word (RFC 4821): `black_hole` once repeated
/// timeouts suggest that large packets vanish; `always` starts small and searches upwards.
enum class path_probing : std::uint8_t { off, black_hole, always };

/// Per-connection settings. Defaults are what Linux does (DESIGN.md, section 3).
struct tcp_options {
  bool nodelay = true;  ///< true: Nagle off
  /// Payload of a segment at most, either way, as Linux's TCP_MAXSEG: the peer is offered no more
  /// and is sent no more. Counts when a connection opens; 0: what the MTU allows.
  std::uint16_t max_segment = 0;
  std::uint32_t receive_buffer = 6u << 20;  ///< bytes, upper bound of auto-tuning
  std::uint32_t send_buffer = 4u << 20;     ///< bytes, upper bound of auto-tuning
  congestion_algorithm congestion = congestion_algorithm::cubic;
  std::uint8_t initial_window = 10;                      ///< segments, RFC 6928
  duration initial_rto = std::chrono::seconds(1);        ///< RFC 6298 2.1
  duration min_rto = std::chrono::milliseconds(200);     ///< Linux's; RFC 6298 2.4 says 1 s
  duration max_rto = std::chrono::seconds(120);          ///< RFC 6298 2.5: at least 60 s
  duration delayed_ack = std::chrono::milliseconds(40);  ///< RFC 9293 MUST-40: under 0.5 s
  duration challenge_interval =
      std::chrono::milliseconds(500);             ///< RFC 5961 7: one challenge in this time
  duration time_wait = std::chrono::seconds(60);  ///< 2 MSL
  duration fin_wait_2 =
      std::chrono::seconds(60);  ///< after close(), an orphan waits this long for the peer's FIN
  duration orphan_timeout =
      std::chrono::seconds(60);   ///< and this long for the peer to take anything of what is queued
  std::uint8_t syn_retries = 7;   ///< RFC 9293 MUST-23: over 3 minutes with doubling
  std::uint8_t retries = 15;      ///< R2 of RFC 9293 3.8.3, in retransmissions
  std::uint8_t warn_retries = 3;  ///< R1: `warned` is raised, a black hole is suspected
  /// How long data may wait for the peer, unacknowledged or behind a closed window whose probes it
  /// answers (as Linux's TCP_USER_TIMEOUT). 0: `retries` decides, and a closed window is waited
  /// for.
  duration user_timeout{};
  /// RFC 5482: tells the peer the user timeout and, where none is set here, adopts the peer's.
  bool user_timeout_option = false;
  bool keep_alive = false;                           ///< RFC 9293 MUST-25
  duration keep_alive_idle = std::chrono::hours(2);  ///< RFC 9293 MUST-28
  duration keep_alive_interval = std::chrono::seconds(75);
  std::uint8_t keep_alive_probes = 9;
  bool sack = true;
  bool timestamps = true;
  bool window_scaling = true;
  ecn_mode ecn = ecn_mode::accept;
  bool pacing = false;  ///< spreads each window over the round trip
  path_probing probing = path_probing::black_hole;
  std::uint16_t probe_base = 1024;  ///< bytes of the packet that a search starts from
  bool report_soft_errors = false;  ///< ready::warned on what may pass: ICMP, R1 (soft_error())
  bool report_sent = false;         ///< ready::sent whenever the send queue has drained
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
};

/// Whom a host that is short of memory resets, beside refusing what is no small send: nobody; those
/// that were closed and still have something to deliver, the oldest first; after those the fullest
/// queues that make no progress.
enum class shortage_policy : std::uint8_t { refuse, reset_orphans, reset_stalled };

/// Bounds on what a host holds. Each has a counter for what it turned away.
struct host_limits {
  std::uint32_t connections = 1u << 20;
  std::uint32_t orphans =
      1u << 16;  ///< closed and not delivered yet; beyond it the oldest is reset
  std::uint32_t listeners = 4096;
  std::uint32_t udp_sockets = 1u << 16;
  std::uint32_t time_wait = 1u << 16;  ///< beyond it the oldest entry goes
  /// Bytes in all queues together, at their true size. The last eighth is for what arrives and for
  /// small sends.
  std::uint64_t memory = 1ull << 30;
  shortage_policy shortage = shortage_policy::reset_stalled;
  /// Once large queues have used up their part, those that made no progress for this long go; a
  /// tenth of it is enough once half of the reserve is gone as well.
  duration stalled_after = std::chrono::seconds(10);
  std::uint32_t reassembly_bytes = 1u << 20;  ///< IP fragments held
  std::uint32_t icmp_errors_per_second = 1000;
};

struct host_options {
  std::vector<ip_prefix> addresses;            ///< the host's own, any number, both families
  std::uint16_t mtu = 1500;                    ///< at least 1280 if a v6 address is there, else 68
  bool transmit_checksum_offload = false;      ///< the sink honours needs_checksum
  bool transmit_segmentation_offload = false;  ///< the sink honours gso_size
  std::array<std::uint8_t, 32>
      secret{};  ///< keys of every keyed hash and of the ISNs: random per start
  tcp_options tcp;
  host_limits limits;
};

struct listen_options {
  std::uint32_t backlog = 1024;      ///< accept queue bound: exactly this many may wait
  std::uint32_t syn_backlog = 1024;  ///< SYN queue bound
  overflow_policy overflow = overflow_policy::drop;
  bool allow_wildcard = false;  ///< else 0.0.0.0 and [::] are permission_denied
  /// A connection is accepted when its first data or its end is there, or after this long without
  /// either; 0: at once. Until then it waits in the SYN queue, as Linux's TCP_DEFER_ACCEPT has it.
  duration defer_accept{};
  /// Settings of the connections that are accepted here, from their SYN-ACK on; none: the host's.
  std::optional<tcp_options> tcp{};
  sharing_mode sharing = sharing_mode::exclusive;
  sharding_policy policy =
      sharding_policy::hash;  ///< of a sharded group; the first member's counts
  /// Of the group's owner; none, where hosts share a device: that device's own, drawn at random.
  owner_key key = owner_key::none;
};

/// Settings of one UDP socket.
struct udp_options {
  std::uint32_t receive_buffer = 256u << 10;  ///< bytes of the receive queue, at their true size
  std::uint32_t receive_datagrams = 1024;     ///< datagrams in it
  bool allow_wildcard = false;                ///< else 0.0.0.0 and [::] are permission_denied
  /// `sharded`: where hosts share a device, one socket on each, chosen by hash. Not `shared`.
  sharing_mode sharing = sharing_mode::exclusive;
  std::uint8_t ttl = 64;
  std::uint8_t traffic_class = 0;
};

/// What udp_receive() took out of the queue.
struct received_datagram {
  std::size_t size = 0;  ///< payload bytes of the datagram; more than the buffer: the rest is lost
  std::size_t copied = 0;  ///< of them, in the buffer
  endpoint from;
};

/// One UDP socket's numbers.
struct udp_info {
  endpoint local, remote;  ///< remote: only while connected
  bool connected = false;
  std::uint32_t queued = 0;        ///< datagrams received and not yet read
  std::uint32_t queued_bytes = 0;  ///< what they cost, at their true size
  std::uint32_t queued_limit = 0, queued_bytes_limit = 0;
  std::uint64_t received = 0, sent = 0;
  std::uint64_t dropped = 0;      ///< arrived while the queue was full
  std::uint64_t icmp_errors = 0;  ///< about what it sent, believed or not
  std::uint8_t last_icmp_type = 0, last_icmp_code = 0;
};

/// Bytes that a host lends, or keeps for its user: whoever has it holds their memory until
/// host::release(), which it calls once, before the host goes. A plain value, for others to wrap.
struct lent_chunk {
  const std::byte* data = nullptr;
  std::uint32_t size = 0;  ///< 0: nothing is lent, nothing to release
  std::uint32_t token = 0;
  void* chunk = nullptr;

  std::span<const std::byte> bytes() const { return {data, size}; }
};

/// Readiness. Level changes are told once, at the edge, and again after the call that saw
/// would_block.
enum class ready : std::uint8_t {
  none = 0,
  acceptable = 1,  ///< the accept queue is no longer empty
  connected = 2,   ///< an active open completed
  readable = 4,    ///< bytes, end of stream, or an error to be read
  writable = 8,    ///< the send queue has room again after would_block
  failed = 16,  ///< reset, refused, timed out: error() says which; nothing more will happen on this
                ///< socket
  sent = 32,    ///< all that was sent is acknowledged (only where asked for)
  warned = 64,  ///< soft_error() says of what (only where asked for); the connection goes on
};
constexpr ready operator|(ready a, ready b) {
  return static_cast<ready>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
constexpr bool any(ready set, ready wanted) {
  return (static_cast<std::uint8_t>(set) & static_cast<std::uint8_t>(wanted)) != 0;
}

struct event {
  socket_id socket = socket_id::none;
  void* user = nullptr;  ///< what set_user() gave
  ready what = ready::none;
};

enum class tcp_state : std::uint8_t {
  closed,
  listen,
  syn_sent,
  syn_received,
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
  time_wait
};
std::string_view name(tcp_state state);

/// What a sender takes the path to be doing, as Linux's tcpi_ca_state tells it.
enum class congestion_phase : std::uint8_t {
  open,      ///< nothing unusual
  disorder,  ///< something arrived beyond a gap, and is not taken for a loss yet
  reduced,   ///< the window comes down after a mark (RFC 3168)
  recovery,  ///< losses are repaired without a timeout
  loss,      ///< a timeout's losses are repaired
};
std::string_view name(congestion_phase phase);

/// One connection's numbers, in the manner of Linux's tcp_info. Bytes and segments as named; times
/// as durations.
struct tcp_info {
  tcp_state state = tcp_state::closed;
  endpoint local, remote;
  std::uint16_t send_mss = 0, receive_mss = 0;  ///< payload bytes per segment, options taken off
  std::uint8_t send_window_shift = 0, receive_window_shift = 0;
  bool sack = false, timestamps = false, ecn = false;
  std::uint16_t path_mtu = 0;  ///< what this connection's packets are cut for, headers included
  duration rtt{}, rtt_variance{}, rto{}, min_rtt{};
  duration user_timeout{};        ///< in force, set here or adopted; 0: retransmissions are counted
  std::uint64_t pacing_rate = 0;  ///< bytes per second; 0: not paced
  std::uint32_t congestion_window = 0, slow_start_threshold = 0;  ///< bytes
  std::uint32_t send_window = 0, receive_window = 0;              ///< bytes
  std::uint32_t send_queued = 0;     ///< in the send queue, acknowledged not yet
  std::uint32_t unacknowledged = 0;  ///< of them, sent
  std::uint32_t receive_queued = 0;  ///< in order, not yet read
  std::uint32_t lent = 0;            ///< lent to the reader, not yet released
  std::uint32_t out_of_order = 0;    ///< received beyond a gap
  std::uint32_t memory = 0;          ///< charged for both queues
  std::uint32_t send_limit = 0;      ///< what the send queue may hold now, as tuned so far
  std::uint32_t receive_limit = 0;   ///< the same of the receive queue
  congestion_algorithm congestion = congestion_algorithm::cubic;
  congestion_phase phase = congestion_phase::open;
  /// Bytes of what is unacknowledged: thought lost, arrived beyond a gap (without SACK an
  /// estimate), and sent again and still on their way.
  std::uint32_t lost = 0, sacked = 0, retransmitted = 0;
  bool reordering = false;    ///< segments have overtaken each other on this path
  duration reorder_window{};  ///< how long a segment that others overtook is waited for (RFC 8985)
  std::uint64_t bytes_sent = 0, bytes_received = 0, bytes_retransmitted = 0;
  std::uint64_t segments_sent = 0, segments_received = 0, retransmissions = 0;
  std::uint32_t timeouts = 0, fast_retransmits = 0, zero_window_probes = 0;
};

struct listener_info {
  endpoint local;
  std::uint32_t syn_queue = 0, syn_backlog = 0, accept_queue = 0, backlog = 0,
                accept_queue_peak = 0;
  std::uint64_t accepted = 0, syn_overflows = 0, accept_overflows = 0, syn_expired = 0,
                cookies_sent = 0;
  std::uint32_t syn_queue_peak = 0;
  std::uint64_t cookies_accepted = 0;
  duration accept_wait{};          ///< time spent in the accept queue, of all that were accepted
  duration accept_wait_longest{};  ///< of one of them; both to the millisecond
  duration defer_accept{};         ///< 0: accepted at once
  std::uint64_t deferred = 0;      ///< handshakes that waited for data
  sharing_mode sharing = sharing_mode::exclusive;
  sharding_policy policy = sharding_policy::hash;
  std::uint32_t members = 1;  ///< listeners of the group, this one included
  bool has_key = false;       ///< an owner key was given; which, is nobody's business
};

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
  /// Takes what other shards handed over; called when the waker said so, and harmless otherwise.
  void take_handovers(instant now);

  // --- Sockets.

  /// Errors: address_not_available (not ours), permission_denied (wildcard), address_in_use,
  /// not_enough_memory (limit). Port 0 takes a free one; local_endpoint() tells it.
  result<socket_id> listen(const endpoint& local, const listen_options& options = {});
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
  /// address_in_use, not_enough_memory (limit). Port 0 takes a free one, not to be guessed.
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
  /// room: the datagram is lost), and once connection_refused, for an earlier datagram.
  result<std::size_t> udp_send(instant now, socket_id id, const endpoint* to,
                               std::span<const std::span<const std::byte>> payload);
  /// Takes the oldest datagram. Errors: operation_would_block (`readable` follows), and once
  /// connection_refused.
  result<received_datagram> udp_receive(socket_id id, std::span<std::byte> into);
  result<udp_info> info_udp(socket_id id) const;

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
  const host_options& options() const;
  /// Bytes charged to all queues, half-open and TIME_WAIT entries.
  std::uint64_t memory_in_use() const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir::stack

// One TCP connection (RFC 9293): pure. A segment, a timer or a user call goes in with the instant;
// segments leave through the context, and events, deadlines and the need to acknowledge are read
// off afterwards. It performs no I/O, reads no clock, draws no random number, and nothing that
// arrives can assert or make it allocate without bound. Its parts: the send sequence space
// (send_space.hpp) with its scoreboard and RACK, the receiver, the congestion control, the round
// trip's estimator, the timers. connection.cpp: opening, closing, user
// calls. receive.cpp, acknowledge.cpp: what arrives. send.cpp: what leaves. recovery.cpp: losses.
// timers.cpp: time. ecn.cpp: congestion marks. pacing.cpp: how fast a window leaves.
// path_probe.cpp: what the path carries.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>

#include "stack/base/flow_key.hpp"
#include "stack/buffer/send_queue.hpp"
#include "stack/ip/ip_layer.hpp"
#include "stack/tcp/congestion.hpp"
#include "stack/tcp/context.hpp"
#include "stack/tcp/options_ref.hpp"
#include "stack/tcp/rack.hpp"
#include "stack/tcp/receiver.hpp"
#include "stack/tcp/rtt.hpp"
#include "stack/tcp/scoreboard.hpp"
#include "stack/tcp/send_space.hpp"
#include "stack/tcp/seq.hpp"
#include "stack/tcp/setbacks.hpp"
#include "stack/tcp/stamp.hpp"
#include "stack/tcp/timer_table.hpp"
#include "weir/stack/info.hpp"
#include "weir/stack/result.hpp"
#include "weir/stack/sockets.hpp"
#include "weir/stack/tcp_options.hpp"

namespace weir::stack::tcp {

/// RFC 9293 MUST-15: without an MSS option.
inline constexpr std::uint16_t default_mss_v4 = 536;
inline constexpr std::uint16_t default_mss_v6 = 1220;
/// What remains of the shortest packet that every path carries (RFC 791 3.2: 68 bytes).
inline constexpr std::uint16_t least_path_mss = 28;
/// A peer that offers less than that is served with this: an MSS of 1 would make every byte a
/// packet.
inline constexpr std::uint16_t min_mss = 64;
/// Blocks of selective acknowledgement leave as much of a segment to its data.
inline constexpr std::uint32_t least_beside_sack = 32;
inline constexpr std::uint8_t max_window_shift = 14;  // RFC 7323 2.3

/// The MSS that an interface of `mtu` bytes allows (RFC 9293 3.7.1).
std::uint16_t mss_for_mtu(std::uint16_t mtu, ip_family family);
/// The window shift that lets `receive_buffer` be advertised (RFC 7323 2.2).
std::uint8_t window_shift_for(std::uint32_t receive_buffer);
/// What a SYN or SYN-ACK offers: that, unless the settings say less.
std::uint16_t offered_mss(std::uint16_t mtu, ip_family family, const tcp_options& options);
/// What a SYN's or SYN-ACK's window field says: never scaled (RFC 7323 2.2).
std::uint16_t syn_window(std::uint32_t receive_buffer);

/// What a completed passive handshake agreed on.
struct handshake {
  seq iss, irs;
  std::uint16_t peer_mss = 0;  ///< 0: no option
  std::uint16_t mtu = 1500;
  std::uint32_t peer_window = 0;  ///< of the completing segment, scaled
  std::uint32_t our_window = 0;   ///< what the SYN-ACK advertised
  bool scaling = false, sack = false, timestamps = false, ecn = false;
  std::uint8_t peer_shift = 0, our_shift = 0;
  std::uint32_t timestamp_offset = 0, peer_timestamp = 0;
  std::uint8_t retransmissions = 0;  ///< of the SYN-ACK
  duration rtt{};                    ///< 0: not measured
};

class connection {
 public:
  connection(const flow_key& flow, options_ref options)
      : flow_(flow), options_(std::move(options)) {}

  // --- Opening.
  void open_active(context& ctx, seq iss, std::uint32_t timestamp_offset, std::uint16_t mtu);
  void open_passive(context& ctx, const handshake& agreed);

  // --- What arrives. Answers wait for output().
  void on_segment(context& ctx, const wire::tcp_segment& segment);
  /// An ICMP error whose quoted sequence number has not been checked yet (RFC 5927 4.1).
  void on_icmp(context& ctx, const icmp_report& report);
  /// Whether `sequence` is in flight: only then a report about it is believed.
  bool in_flight(seq sequence) const { return snd_.in_flight(sequence); }
  /// The path carries less from now on; what is queued is cut again.
  void on_path_mtu(context& ctx, std::uint16_t mtu);

  // --- What leaves.
  /// Sends what is due: retransmissions, new data, FIN, at most one pure acknowledgement.
  void output(context& ctx);
  void on_timer(context& ctx);
  /// When on_timer() is due; never() when nothing runs.
  instant deadline() const;
  bool wants_output() const { return ack_ != ack_need::none || output_due_; }

  // --- User calls.
  /// `more`: more follows at once, and a last segment that is not full waits for it.
  result<std::size_t> send(context& ctx, std::span<const std::span<const std::byte>> parts,
                           bool more);
  /// The same of `bytes`, which `keeper` holds and keeps until they are acknowledged; `whole` is
  /// how many were lent together, for which the first to queue them answers.
  result<std::size_t> send_kept(context& ctx, buffer::chunk& keeper,
                                std::span<const std::byte> bytes, std::uint32_t whole, bool more);
  result<std::size_t> receive(context& ctx, std::span<std::byte> into);
  /// Takes what peek() shows out of the queue, with its chunk; null: the end of the stream.
  result<buffer::chunk*> lend(context& ctx);
  void take_back(context& ctx, buffer::chunk* chunk, std::uint32_t n);
  void disown() { rcv_.queue().disown(); }
  std::span<const std::byte> peek() const { return rcv_.queue().peek(); }
  void consume(context& ctx, std::size_t n);
  /// The peer's FIN has come, whatever is unread before it.
  bool peer_ended() const { return rcv_.ended(); }
  bool at_end() const { return (rcv_.ended() || receive_shut_) && rcv_.queue().readable() == 0; }
  std::error_code error() const {
    return error_ == std::errc{} ? std::error_code{} : std::make_error_code(error_);
  }
  std::error_code soft_error() const {
    return soft_error_ == std::errc{} ? std::error_code{} : std::make_error_code(soft_error_);
  }
  std::error_code shutdown_send(context& ctx);
  std::error_code shutdown_receive(context& ctx);
  /// No reader any more: FIN after what is queued, or a reset when bytes were left unread (RFC 9293
  /// SHLD-3).
  void close(context& ctx);
  void abort(context& ctx);
  /// A reset to the peer, and `why` to the user: its queues are needed for others.
  void give_up(context& ctx, std::errc why);
  void set_options(context& ctx, options_ref options);
  const options_ref& options() const { return options_; }
  void set_cork(context& ctx, bool corked);
  /// Gives back every chunk. The connection is closed.
  void release(buffer::chunk_pool& pool);
  void release(context& ctx) { release(ctx.pool); }
  /// Moves to a host whose copy of the settings this is; nothing else changes.
  void rehome(options_ref options) { options_ = std::move(options); }

  // --- Looking at it.
  const flow_key& flow() const { return flow_; }
  tcp_state state() const { return state_; }
  bool orphaned() const { return orphaned_; }
  ready take_events() {
    const auto out = events_;
    events_ = ready::none;
    return out;
  }
  /// What was found out about the path since the last call, for whoever shares it; 0: nothing.
  std::uint16_t take_path_news() {
    if (!path_news_) return 0;
    path_news_ = false;
    return mtu_;
  }
  ready readiness() const;
  tcp_info info() const;
  /// For how long what is queued has found no taker: the peer's, or this side's reader.
  duration stalled_for(instant now) const;
  std::uint32_t charged() const {
    return out_.charged() + rcv_.queue().charged() + board_.charged();
  }
  // For a TIME_WAIT entry:
  seq send_next() const { return snd_.nxt; }
  seq receive_next() const { return rcv_.next(); }
  std::uint16_t last_window_field() const {
    return static_cast<std::uint16_t>(rcv_.window() >> rcv_.shift());
  }
  std::uint32_t recent_timestamp() const { return ts_recent_; }
  std::uint32_t timestamp_offset() const { return ts_offset_; }
  bool uses_timestamps() const { return timestamps_; }

 private:
  friend struct connection_probe;  // tests that need 2^31 bytes of history without sending them
  enum class ack_need : std::uint8_t { none, delayed, now };
  // reduced: an ECN mark, not a loss, is shrinking the window.
  enum class congestion_state : std::uint8_t { open, reduced, recovery, loss };
  enum class transmission : std::uint8_t { fresh, again, window_probe, path_probe };

  // receive.cpp
  bool expected(const wire::tcp_segment& segment) const;
  void on_expected(context& ctx, const wire::tcp_segment& segment);
  void on_syn_sent(context& ctx, const wire::tcp_segment& segment);
  bool check_timestamps(context& ctx, const wire::tcp_segment& segment);
  void note_timestamp(context& ctx, const wire::tcp_segment& segment, seq sequence);
  void note_life(context& ctx);
  void on_unacceptable(context& ctx, const wire::tcp_segment& segment);
  bool on_repeated_syn(context& ctx, const wire::tcp_segment& segment);
  void on_reset(context& ctx, seq sequence);
  void on_data(context& ctx, const wire::tcp_segment& segment);
  void store(context& ctx, seq at, std::span<const std::byte> bytes, std::uint32_t segments);
  void on_fin(context& ctx);
  void note_segment_size(const wire::tcp_segment& segment);
  void schedule_ack(std::uint32_t bytes, std::uint32_t segments);
  void challenge(context& ctx);
  void emit_window_update(context& ctx);
  void note_duplicate(seq from, seq to);
  bool has_sack() const { return sack_ok_ && (rcv_.has_gap() || setbacks_->has_duplicate()); }
  std::size_t sack_blocks(std::uint32_t payload) const;
  std::uint32_t data_mss() const;
  // acknowledge.cpp
  bool on_ack(context& ctx, const wire::tcp_segment& segment);
  void on_new_ack(context& ctx, seq ack, const wire::tcp_segment& segment, ack_outcome& outcome);
  void update_send_window(const wire::tcp_segment& segment, seq ack);
  void take_sacks(context& ctx, const wire::tcp_segment& segment, ack_outcome& outcome);
  void measure(context& ctx, const wire::tcp_segment& segment, const ack_outcome& outcome,
               std::uint32_t acked);
  void refresh_marks();
  void on_fin_acked(context& ctx);
  void become_established(context& ctx);
  // recovery.cpp
  void on_ack_outcome(context& ctx, const wire::tcp_segment& segment, seq before,
                      std::uint32_t flight_before, bool duplicate, bool echo, ack_outcome& outcome);
  bool reno_on_duplicate(context& ctx, ack_outcome& outcome);
  bool reno_on_advance(context& ctx, std::uint32_t advanced, ack_outcome& outcome);
  bool mark_front_lost(context& ctx);
  losses detect_losses(context& ctx);
  duration reorder_window() const { return rack_.window(board_, rtt_, mss_, undisturbed()); }
  void on_duplicate_report(context& ctx, seq left, seq right);
  void check_spurious_timeout(context& ctx, const wire::tcp_segment& segment,
                              const ack_outcome& outcome, std::uint32_t advanced);
  void take_back(context& ctx);
  bool answers_original(const wire::tcp_segment& segment) const;
  void enter_recovery(context& ctx, std::uint32_t delivered);
  void leave_recovery(context& ctx);
  void validate_window(const context& ctx, bool used);
  void grow_window(context& ctx, std::uint32_t advanced, std::uint32_t flight_before,
                   const ack_outcome& outcome);
  void reduce_by_rate(std::uint32_t delivered, bool safe);
  bool undisturbed() const {
    return congestion_state_ == congestion_state::open ||
           congestion_state_ == congestion_state::reduced;
  }
  // path_probe.cpp
  void start_path_search();
  void send_path_probe(context& ctx);
  bool path_probe_lost(context& ctx);
  void on_suspected_black_hole(context& ctx);
  void learn_path_mtu(context& ctx);
  void cut_to(std::uint16_t mtu);
  std::uint16_t headers() const {
    return static_cast<std::uint16_t>((flow_.local.address.is_v4() ? 40 : 60) +
                                      (timestamps_ ? 12 : 0));
  }
  // ecn.cpp
  void note_marks(context& ctx, const wire::tcp_segment& segment);
  void on_congestion_echo(context& ctx, std::uint32_t flight_before);
  void note_reduction();
  bool sends_ect() const { return ecn_ok_ && !(active_ && syn_retransmissions_ > 0); }
  // pacing.cpp
  std::uint64_t pacing_rate() const;
  bool held_back(const context& ctx);
  std::uint32_t burst_limit() const;
  void pace(const context& ctx, std::uint32_t bytes);
  std::uint32_t flight() const;
  std::uint32_t flight_size() const;
  // send.cpp
  void send_new_data(context& ctx);
  void retransmit_lost(context& ctx);
  bool retransmit_record(context& ctx, std::uint32_t index, std::uint32_t most);
  std::uint32_t sendable(std::uint32_t mss);
  bool holds_small() const;
  bool fin_fits(std::uint32_t n) const;
  void emit_new(context& ctx, std::uint32_t n, bool with_fin);
  void emit_data(context& ctx, seq from, std::uint32_t length, bool with_fin, transmission what);
  void emit_control(context& ctx, std::uint8_t flags, seq sequence);
  void emit_syn(context& ctx);
  void emit_ack(context& ctx);
  void emit_reset(context& ctx);
  seq bare_sequence() const { return syn_acked_ ? snd_.bare() : snd_.nxt; }
  wire::tcp_segment base_segment(context& ctx, std::uint8_t flags, seq sequence);
  void acknowledged_now(context& ctx);
  void after_user_call(context& ctx);
  // timers.cpp
  void on_delayed_ack_timer(context& ctx);
  void on_cork_timer(context& ctx);
  void arm_retransmit(context& ctx);
  void arm_persist(context& ctx);
  void on_retransmit_timer(context& ctx);
  void on_syn_timer(context& ctx);
  void on_persist_timer(context& ctx);
  void on_tail_probe_timer(context& ctx);
  void check_tail_probe(context& ctx, const wire::tcp_segment& segment, bool duplicate,
                        std::uint32_t flight_before);
  bool tail_probe_allowed() const;
  void on_reorder_timer(context& ctx);
  void on_keep_timer(context& ctx);
  void arm_keep(context& ctx);
  bool gave_up(context& ctx, std::uint32_t attempts);
  instant probe_time(const context& ctx) const;
  duration announced_user_timeout() const;
  duration user_timeout() const;
  duration keep_idle() const;
  void take_user_timeout(std::uint16_t raw);
  duration current_rto() const;
  void warn(std::errc why);
  // connection.cpp
  void fail(context& ctx, std::errc why);
  void finish(context& ctx, tcp_state state);
  void raise(ready what) { events_ = events_ | what; }
  void raise_writable();
  void set_cork_end(instant at) {
    if (at != setbacks_->cork_at) setbacks_.change().cork_at = at;
  }
  std::uint32_t initial_window() const;
  congestion_phase phase() const;
  std::uint32_t send_limit() const;
  result<std::uint32_t> send_room(const context& ctx);
  std::uint32_t share_of(const buffer::memory_account& memory) const;
  result<std::size_t> queued(context& ctx, std::size_t taken, std::size_t offered, bool was_idle);
  std::error_code nothing_readable() const;
  void was_read(context& ctx, std::size_t n);
  void set_mss(std::uint16_t mss);
  seq data_end() const { return (syn_acked_ ? snd_.una : snd_.una + 1) + out_.size(); }
  bool may_send() const {
    return state_ == tcp_state::established || state_ == tcp_state::close_wait;
  }
  bool synchronized() const {
    return state_ != tcp_state::closed && state_ != tcp_state::syn_sent &&
           state_ != tcp_state::listen;
  }

  // --- Who and what.
  flow_key flow_;
  options_ref options_;
  std::errc error_ : 16 {};       // what ended it
  std::errc soft_error_ : 16 {};  // what ICMP or R1 said since the last progress
  tcp_state state_ = tcp_state::closed;
  ready events_ = ready::none;
  ack_need ack_ = ack_need::none;
  congestion_state congestion_state_ = congestion_state::open;
  bool output_due_ : 1 = false;
  bool orphaned_ : 1 = false;
  bool corked_ : 1 = false;
  bool more_follows_ : 1 = false;  // as the last send said: a cork until the next
  bool receive_shut_ : 1 = false;  // what arrives is dropped, see shutdown_receive()
  bool want_writable_ : 1 = false;
  bool fin_queued_ : 1 = false;  // FIN follows what is in the queue
  bool fin_sent_ : 1 = false;
  bool syn_acked_ : 1 = false;
  bool scaling_ : 1 = false;
  bool sack_ok_ : 1 = false;
  bool timestamps_ : 1 = false;
  bool active_ : 1 = false;          // opened by us (RFC 9293 MUST-11)
  bool window_limited_ : 1 = false;  // the congestion window was what stopped the last output
  bool tail_probe_out_ : 1 = false;
  bool probe_was_retransmission_ : 1 = false;
  bool tail_probe_duplicate_ : 1 = false;  // a D-SACK says that the original arrived too
  bool tail_probe_ready_ : 1 = true;       // a round trip was measured since the last probe
  bool timeout_undo_ : 1 = false;          // a spurious timeout can still be recognised
  bool ecn_ok_ : 1 = false;                // RFC 3168: both sides agreed
  bool ecn_echo_ : 1 = false;              // a mark came: ECE on every acknowledgement until CWR
  bool cwr_due_ : 1 = false;               // the next new data says that the window was reduced
  bool paced_out_ : 1 = false;             // something waits for pace_at_
  bool timeout_second_ack_ : 1 = false;    // RFC 5682 2.1: step 3 is next
  bool user_timeout_due_ : 1 = false;      // RFC 5482: the peer has not been told
  bool path_news_ : 1 = false;             // the host has not heard of mtu_ yet
  bool path_suspect_ : 1 = false;  // cut after timeouts; nothing of that size has arrived yet

  // --- Send sequence space (RFC 9293 3.3.1).
  [[no_unique_address]] send_space snd_;  // and three bytes within its last word
  std::uint8_t syn_retransmissions_ = 0;
  std::uint16_t mtu_ = 1500;
  seq small_end_;    // end of the last segment under an MSS (Minshall's Nagle)
  seq recover_;      // RFC 6582: recovery ends when this is acknowledged
  seq reduced_end_;  // RFC 3168 6.1.2: one reduction until more than this is acknowledged
  seq peak_end_;     // a round trip is over when this is acknowledged
  std::uint32_t peak_flight_ = 0;  // what was out at most in it (RFC 7661)
  stamp validated_at_;             // RFC 7661: when half of the congestion window was last in use
  std::uint16_t peer_mss_ = 0, mss_ = default_mss_v4;  // payload bytes, fixed options taken off

  // --- Timestamps (RFC 7323 4.3).
  std::uint32_t ts_recent_ = 0, ts_offset_ = 0;

  stamp progress_at_, last_received_;

  // --- What comes in, what goes out, and what of it is in flight.
  [[no_unique_address]] receiver rcv_;     // and seven bytes within its last word
  std::uint8_t quick_acks_ = 16;           // so many acknowledgements go at once
  std::uint16_t remote_user_timeout_ = 0;  // RFC 5482, as it came; 0: none
  std::uint32_t ts_recent_at_ = 0;         // in seconds, as it matters after weeks
  buffer::send_queue out_;
  scoreboard board_;

  setbacks_ref setbacks_;

  // --- Estimators.
  rtt_estimator rtt_;
  std::uint32_t reno_sacked_ =
      0;  // bytes that duplicate acknowledgements say have left the network
  congestion_control congestion_;
  [[no_unique_address]] rack rack_;  // and a byte within its last word
  std::uint8_t duplicate_acks_ = 0;

  // --- Time.
  instant last_sent_;

  // --- Statistics.
  std::uint64_t bytes_sent_ = 0;
  std::uint32_t segments_sent_ = 0, segments_received_ = 0;

  // --- Timers. Two that few connections need, the end of a cork and the pause of a paced window,
  // are with the setbacks. The words after the table begin in its last one.
  [[no_unique_address]] timer_table timers_;
  std::uint8_t attempts_ = 0;  // retransmission timeouts, or probes, in a row
  std::uint8_t backoff_ = 0;
  std::uint8_t keep_probes_ = 0;

  // --- Time, coarse. Last: what the host keeps of a connection fills the rest of these words.
  stamp last_data_, challenge_at_;
};

}  // namespace weir::stack::tcp

// Passive opens: the listeners with their SYN and accept queues, the cookies that stand in for a
// full SYN queue, and the rationing of answers in a flood (RFC 9293 3.10.7.2, RFC 4987). A SYN
// becomes a half-open entry, its last step a connection in the accept queue. Who may listen where,
// and queues that several shards share, are others' business.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "stack/host/flows.hpp"
#include "stack/listen/listener_table.hpp"
#include "stack/listen/syn_cookie.hpp"
#include "stack/listen/syn_pressure.hpp"

namespace weir::stack {

/// Told that a connection has joined the accept queue of a listener that shares it with other
/// shards.
class shared_queue_watcher {
 public:
  virtual void serve_shared(instant now, std::uint32_t listener) = 0;

 protected:
  ~shared_queue_watcher() = default;
};

class passive_opens {
 public:
  static constexpr std::uint32_t none = listener_table::none;

  passive_opens(host_core& core, event_queue& events, share::flow_claims& claims, flows& flows);
  void watch_shared_queues(shared_queue_watcher& watcher) { watcher_ = &watcher; }

  // --- Listeners.
  std::uint32_t add(const endpoint& at, const listen_options& options);
  std::uint32_t add(const any_destination& where, const listen_options& options);
  /// RFC 9293 3.10.4 and row 6 of the sixty: nobody will take what it holds, so they are told.
  void close(instant now, std::uint32_t index);
  /// Takes no SYN any more. True when nothing is left that had begun (host::leave_to_others()).
  bool leave_to_others(instant now, std::uint32_t index);
  std::uint32_t match(const endpoint& local) const { return listeners_.match(local); }
  std::uint32_t match_specific(const endpoint& local) const {
    return listeners_.match_specific(local);
  }
  std::uint32_t exact(const endpoint& local) const { return listeners_.exact(local); }
  bool conflicts(const endpoint& at, const listen_options& how) const {
    return listeners_.conflicts(at, how);
  }
  bool conflicts(const any_destination& where) const { return listeners_.conflicts(where); }
  std::size_t size() const { return listeners_.size(); }
  std::size_t any_size() const { return listeners_.any_size(); }
  std::uint32_t capacity() const { return listeners_.all().capacity(); }
  bool live(std::uint32_t index) const { return listeners_.all().live(index); }
  listener& operator[](std::uint32_t index) { return listeners_[index]; }
  listener* find(socket_id id) {
    return is_listener(id) ? listeners_.all().find(index_of(id), generation_of(id)) : nullptr;
  }
  socket_id id_of(std::uint32_t index) const {
    return static_cast<socket_id>(std::uint64_t{listeners_.all().generation(index)} << 32 |
                                  listener_bit | index);
  }
  /// Of connections that are accepted where no listener says otherwise.
  const tcp::options_ref& usual_options() const { return usual_options_; }

  // --- What arrives.
  /// `later_than`: the numbers of the flow's last incarnation, where there was one.
  /// False: it belongs to nobody here, and was not answered.
  bool on_listener_segment(instant now, std::uint32_t index, const wire::tcp_segment& segment,
                           const tcp::seq* later_than = nullptr);
  void on_half_open_segment(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void on_half_open_timer(instant now, std::uint32_t index);
  /// Of a flood, what postpone() may put off.
  bool postpones() const { return pressed_ != none; }
  /// What on_listener_segment() does with most of a flood's SYNs, without reading all of the
  /// packet. True: it is done with.
  bool postpone(instant now, std::span<const std::byte> packet);
  /// The packet that postpone() let pass has been taken.
  void packet_taken() { answer_it_ = false; }
  /// postpone() will look at these.
  void expect(std::span<const std::span<const std::byte>> packets) const noexcept;
  /// What came in one batch has been taken; `behind`: more had come.
  void turn_ended(bool behind) { pressure_.turn_ended(behind); }

  // --- The SYN queue, for entries that move between shards.
  void link(std::uint32_t entry, std::uint32_t index);
  void unlink(std::uint32_t entry);
  /// The peer is told that its handshake comes to nothing.
  void refuse(instant now, const half_open& entry);
  /// Whether a member of the group made the cookie that this segment brings back.
  bool cookie_is_good(instant now, const share::group& of, const flow_key& flow,
                      const wire::tcp_segment& segment) const;

  // --- Requests: SYNs at a listener that asks (requests.cpp). Their ids are the handshakes'.
  /// The oldest that nobody was told of; none.
  socket_id next_request(std::uint32_t index);
  half_open* find_request(socket_id id);
  /// Answers the SYN. `connected` or `failed` follows.
  void accept_request(instant now, socket_id id);
  void refuse_request(instant now, socket_id id, refusal how);
  /// What became of one that the user knows, and that ended without him.
  bool next_ended(event& out);

  // --- The accept queue.
  /// A connection that nobody accepted yet goes to its end.
  void append(std::uint32_t index, std::uint32_t connection);
  /// The one at `position`, which is in the queue.
  std::uint32_t accepted_at(std::uint32_t index, std::uint32_t position) const;
  std::uint32_t take(std::uint32_t index, std::uint32_t position = 0);
  /// The oldest one, for its user.
  std::uint32_t accept(instant now, std::uint32_t index);
  std::uint32_t unaccepted() const { return unaccepted_; }  ///< in all accept queues
  void post(std::uint32_t index, ready what) {
    events_.post(listeners_[index], id_of(index), what);
  }

 private:
  /// RFC 3168 6.1.1: a SYN that asks for ECN carries both flags.
  static bool asks_for_ecn(const wire::tcp_segment& syn) {
    return syn.has(wire::ece) && syn.has(wire::cwr);
  }
  // passive_opens.cpp
  bool accept_full(const listener& l) const;
  void on_syn(instant now, std::uint32_t index, const wire::tcp_segment& segment,
              const tcp::seq* later_than);
  void complete(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  bool defer(instant now, half_open& e, listener& l, const wire::tcp_segment& segment);
  void add_accepted(instant now, const flow_key& flow, const tcp::handshake& agreed,
                    std::uint32_t listener_index, const wire::tcp_segment& segment);
  void send_syn_ack(instant now, half_open& entry, const tcp_options& how);
  void drop(std::uint32_t entry);
  std::uint32_t open(instant now, const flow_key& flow, const tcp::handshake& agreed,
                     const tcp::options_ref& how, const wire::tcp_segment& segment);
  // requests.cpp
  void ask(instant now, std::uint32_t entry);
  bool await_answer(half_open& e, const wire::tcp_segment& segment);
  void forget_untold(std::uint32_t entry);
  void end_request(std::uint32_t entry);
  void hand_to_user(void* user, std::uint32_t connection);
  socket_id request_id(std::uint32_t entry) const {
    return static_cast<socket_id>(std::uint64_t{flows_.handshake_generation(entry)} << 32 |
                                  request_bits | entry);
  }
  static std::uint16_t offered_window(const tcp_options& how) {
    return tcp::syn_window(how.receive_buffer);
  }
  static std::uint8_t offered_shift(const tcp_options& how) {
    return how.window_scaling ? tcp::window_shift_for(how.receive_buffer) : std::uint8_t{0};
  }
  // cookies.cpp
  void on_full_syn_queue(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void send_cookie(instant now, listener& l, const wire::tcp_segment& segment);
  bool accept_cookie(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  tcp::handshake agreed_by(const wire::tcp_segment& segment, const flow_key& flow,
                           const tcp_options& how, std::uint16_t mss) const;
  bool cookies_recently(instant now, const listener& l) const;

  host_core& core_;
  event_queue& events_;
  share::flow_claims& claims_;
  flows& flows_;
  shared_queue_watcher* watcher_ = nullptr;
  listener_table listeners_;
  syn_cookies cookies_;
  syn_pressure pressure_;
  std::uint32_t pressed_ = none;  // the listener whose SYNs were last put off
  bool answer_it_ = false;        // postpone() let the packet pass that is being taken
  std::vector<event> ended_;      // no more than there are requests
  tcp::options_ref usual_options_;
  std::uint32_t unaccepted_ = 0;
};

}  // namespace weir::stack

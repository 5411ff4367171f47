// The user of one end of a connection, as its plan says: it writes its pattern, reads and compares
// the peer's, stalls, corks, leaves. It only acts on events and on its own timers, so that a lost
// wake-up is a connection that stands still, and it says what went wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/plan.hpp"
#include "weir/stack/host.hpp"

namespace sim_test {

class end_user {
 public:
  end_user(const end_plan& plan, std::uint64_t writes, std::uint64_t reads)
      : plan_(plan), writes_(writes), reads_(reads) {}

  /// It owns `id` from now on. `established`: it need not wait for `connected`.
  void open(weir::instant now, weir::stack::socket_id id, bool established);
  void on_event(weir::stack::ready what);
  /// Does what can be done at `now`.
  void run(weir::instant now, weir::stack::host& host);
  /// Its peer has left before the end, and the reset that says so may be lost: without a keep-alive
  /// nothing on the wire would ever tell. It waits for a while and leaves too.
  void peer_left(weir::instant now);
  /// When it wants to run without an event.
  weir::instant next() const;

  bool opened() const { return id_ != weir::stack::socket_id::none; }
  bool over() const { return over_; }
  weir::stack::socket_id id() const { return id_; }
  std::uint64_t sent() const { return sent_; }
  std::uint64_t received() const { return received_; }
  bool saw_end() const { return saw_end_; }
  /// That it closed or aborted of its own accord before the end of the stream.
  bool left_early() const { return left_early_; }
  std::error_code error() const { return error_; }
  /// What must never happen: wrong bytes.
  const std::string& wrong() const { return wrong_; }

 private:
  bool write(weir::instant now, weir::stack::host& host);
  bool read(weir::instant now, weir::stack::host& host);
  void cork(weir::instant now, weir::stack::host& host);
  void leave(weir::instant now, weir::stack::host& host);
  void took(std::span<const std::byte> bytes);

  end_plan plan_;
  std::uint64_t writes_, reads_;
  weir::stack::socket_id id_ = weir::stack::socket_id::none;
  std::uint64_t sent_ = 0, received_ = 0, turns_ = 0;
  weir::instant write_at_, read_at_, abort_at_ = weir::instant::never();
  weir::instant leave_at_ = weir::instant::never();  // lingering: when it looks again
  bool can_write_ = false, can_read_ = false, shut_ = false, saw_end_ = false, stalled_ = false;
  bool over_ = false, left_early_ = false, failed_ = false, corked_ = false;
  std::error_code error_;
  std::string wrong_;
};

}  // namespace sim_test

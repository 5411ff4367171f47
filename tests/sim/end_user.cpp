// See end_user.hpp.
#include "sim/end_user.hpp"

#include <algorithm>

#include "sim/pattern.hpp"

namespace sim_test {

using weir::instant;
using weir::stack::host;
using weir::stack::ready;

void end_user::open(instant now, weir::stack::socket_id id, bool established) {
  id_ = id;
  can_write_ = can_read_ = established;
  write_at_ = read_at_ = now;
  if (plan_.leaves == ending::abort_on_time) abort_at_ = now + plan_.abort_at;
}

void end_user::on_event(ready what) {
  if (any(what, ready::connected)) can_write_ = can_read_ = true;
  if (any(what, ready::writable)) can_write_ = true;
  if (any(what, ready::readable)) can_read_ = true;
  if (any(what, ready::failed)) failed_ = can_read_ = true;
}

void end_user::took(std::span<const std::byte> bytes) {
  if (!matches_pattern(bytes, reads_, received_))
    wrong_ = "wrong bytes after " + std::to_string(received_);
  received_ += bytes.size();
}

void end_user::cork(instant now, host& host) {
  ++turns_;
  if (plan_.corks && turns_ % 3 == 0) (void)host.set_cork(now, id_, corked_ = !corked_);
  if (plan_.changes_options && turns_ % 5 == 0) {
    auto options = host.get_options(id_);
    if (!options) return;
    options->nodelay = !options->nodelay;
    options->keep_alive = turns_ % 2 == 0;
    if (options->receive_buffer > 8192) options->receive_buffer /= 2;
    (void)host.set_options(now, id_, *options);
  }
}

bool end_user::write(instant now, host& host) {
  if (!can_write_ || shut_ || write_at_ > now || error_) return false;
  if (sent_ < plan_.size) {
    std::vector<std::byte> chunk(std::min<std::uint64_t>(plan_.write_chunk, plan_.size - sent_));
    fill_pattern(chunk, writes_, sent_);
    const std::span<const std::byte> parts[] = {chunk};
    auto taken = host.send(now, id_, parts);
    if (!taken) {
      can_write_ = false;
      if (taken.error() == std::errc::operation_would_block) return false;
      error_ = taken.error();
      return true;
    }
    sent_ += *taken;
    if (*taken < chunk.size()) can_write_ = false;
    cork(now, host);
    write_at_ = now + plan_.write_pause;
  }
  if (sent_ == plan_.size && plan_.leaves != ending::close_early) {
    shut_ = true;
    if (auto failed = host.shutdown_send(now, id_)) error_ = failed;
  }
  return true;
}

bool end_user::read(instant now, host& host) {
  if (!can_read_ || saw_end_ || read_at_ > now) return false;
  std::size_t most = plan_.read_chunk;
  if (!stalled_ && received_ < plan_.stall_after)
    most = std::min<std::uint64_t>(most, plan_.stall_after - received_);
  if (plan_.peeks) {
    auto head = host.peek(id_);
    if (!head.empty()) {
      head = head.first(std::min(most, head.size()));
      took(head);
      host.consume(now, id_, head.size());
      read_at_ = now + plan_.read_pause;
    } else if (host.at_end(id_)) {
      saw_end_ = true;
    } else {
      can_read_ = false;
      error_ = host.error(id_);
      return static_cast<bool>(error_);
    }
  } else {
    std::vector<std::byte> chunk(most);
    auto n = host.receive(now, id_, chunk);
    if (!n) {
      can_read_ = false;
      if (n.error() == std::errc::operation_would_block) return false;
      error_ = n.error();
      return true;
    }
    took(std::span(chunk).first(*n));
    saw_end_ = *n == 0;
    read_at_ = now + plan_.read_pause;
  }
  if (!stalled_ && received_ >= plan_.stall_after) {
    stalled_ = true;
    read_at_ = now + plan_.stall;
  }
  return true;
}

void end_user::leave(instant now, host& host) {
  auto sent_all = sent_ == plan_.size;
  leave_at_ = instant::never();
  if (plan_.lingers && saw_end_ && shut_ && !error_) {
    auto info = host.info(id_);
    if (info && info->send_queued > 0 && !failed_ && abort_at_ > now) {
      leave_at_ = now + std::chrono::milliseconds(50);
      return;
    }
  }
  if (abort_at_ <= now) {
    left_early_ = true;
    host.abort(now, id_);
  } else if (plan_.leaves == ending::close_early && can_write_ && sent_all) {
    left_early_ = true;
    host.close(now, id_);
  } else if ((saw_end_ && shut_) || (error_ && (saw_end_ || !can_read_))) {
    host.close(now, id_);
  } else {
    return;
  }
  over_ = true;
}

void end_user::run(instant now, host& host) {
  if (!opened() || over_) return;
  // A bounded number of calls a turn, so that a user without pauses does not starve the rest.
  for (int i = 0; i < 8 && !over_; ++i) {
    auto moved = write(now, host);
    moved = read(now, host) || moved;
    // A failed connection is read to its end, then given up.
    if (failed_ && !can_read_ && !error_) error_ = host.error(id_);
    leave(now, host);
    if (!moved) break;
  }
}

void end_user::peer_left(instant now) {
  if (opened() && !over_) abort_at_ = std::min(abort_at_, now + std::chrono::minutes(20));
}

instant end_user::next() const {
  if (!opened() || over_) return instant::never();
  auto out = std::min(abort_at_, leave_at_);
  if (can_write_ && !shut_ && !error_) out = std::min(out, write_at_);
  if (can_read_ && !saw_end_) out = std::min(out, read_at_);
  return out;
}

}  // namespace sim_test

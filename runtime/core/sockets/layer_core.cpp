// What a layer asks of its inner stream, and its end.
#include "runtime/core/sockets/layer_core.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstring>
#include <new>
#include <utility>

#include "weir/config.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

layer_core::inner_read::inner_read(socket_base& of)
    : read_operation(of, &hook<&read_awaiter::request_cancel>) {}

bool layer_core::inner_read::begin(pump_handle pump) noexcept {
  lent = {};
  filled = 0;
  return suspend(pump, [this] { read_awaiter::begin(*this); });
}

lent_buffer layer_core::inner_read::taken() noexcept {
  return lent_buffer(*socket->at, std::exchange(lent, {}));
}

void layer_core::inner_read::end() noexcept {
  if (pending()) ask_to_end();
}

layer_core::inner_write::inner_write(socket_base& of)
    : write_operation(of, {}, {}, false, true, &hook<&write_awaiter::request_cancel>) {}

bool layer_core::inner_write::begin(pump_handle pump, std::span<const std::byte> bytes) noexcept {
  single = bytes;
  part = 0;
  part_offset = 0;
  written = 0;
  return suspend(pump, [this] { write_awaiter::begin(*this); });
}

void layer_core::inner_write::end() noexcept {
  if (pending()) ask_to_end();
}

layer_core::lingering::lingering(layer_core& of)
    : timer_node(&lingering::over), cancel_node(kind_of_node<&lingering::cancelled>), layer(&of) {}

void layer_core::lingering::over(timer_node& node) noexcept {
  static_cast<lingering&>(node).layer->cut_off();
}

void layer_core::lingering::cancelled(cancel_node& node) noexcept {
  static_cast<lingering&>(node).layer->cut_off();
}

layer_core::layer_core(any_stream inner)
    : inner_(std::move(inner)), read_(inner_.socket()), write_(inner_.socket()) {
  set_owner(inner_.owner());
  socket_.at = this;
}

layer_core::~layer_core() = default;

void layer_core::begin() {
  auto made = pump();
  auto frame = made.release();
  frame.promise().owner = &owner();
  read_.handle = write_.handle = frame;
}

layer_core::pump_handle layer_core::pump_of(const ready_node& resumed) const noexcept {
  return pump_handle::from_address(resumed.handle.address());
}

void layer_core::ask_in() noexcept {
  if (reading_ || given_up_) return;
  reading_ = true;
  if (!read_.begin(pump_of(read_))) owner().make_ready(read_);
}

void layer_core::ask_out(std::span<const std::byte> bytes) noexcept {
  assert(!writing_ && !bytes.empty());
  writing_ = true;
  if (!write_.begin(pump_of(write_), bytes)) return owner().make_ready(write_);
  if (cut_) write_.end();
}

std::error_code layer_core::end_out() noexcept {
  std::error_code error;
  inner_.shutdown_send(error);
  return error;
}

task<> layer_core::pump() {
  for (;;) {
    look();
    co_await rest{this};
  }
}

/// Sees what has ended. Each end resumes the pump once; where both have ended, neither is begun
/// again before both were resumed: it still stands in the shard's queue.
void layer_core::look() noexcept {
  const bool read = reading_ && !read_.pending();
  const bool written = writing_ && !write_.pending();
  if (read && written && !std::exchange(both_, true)) return;
  both_ = false;
  if (read) read_ended();
  if (written) write_ended();
}

void layer_core::read_ended() noexcept {
  reading_ = false;
  const auto error = read_.final_error();
  auto chunk = read_.taken();
  if (given_up_) return;
  if (error || !chunk)
    in_ended(error);
  else
    came(std::move(chunk));
}

void layer_core::write_ended() noexcept {
  writing_ = false;
  const auto error = write_.final_error();
  gone(error);
  if (given_up_ && !writing_ && !error) flush();
}

void layer_core::give_up(socket_base&, bool reset) noexcept {
  given_up_ = true;
  reset_ = reset;
  owner().root_started();  // the shard waits for what is left
  if (!reset) lingering_.reset(new (std::nothrow) lingering(*this));
  if (lingering_ == nullptr || owner().root_cancel().requested()) {
    cut_off();
  } else {
    owner().root_cancel().add(*lingering_);
    owner().arm(*lingering_,
                owner().now() + std::chrono::milliseconds(owner().settings().stop.linger_ms));
  }
  if (!reset && !writing_) flush();
  if (reading_) return read_.end();
  reading_ = true;  // so that the pump is resumed once more, and sees that all is over
  owner().make_ready(read_);
}

void layer_core::cut_off() noexcept {
  cut_ = true;
  if (writing_) write_.end();
}

void layer_core::end_if_over() noexcept {
  if (!given_up_ || reading_ || writing_ || both_) return;
  auto& on = owner();
  pump_of(read_).destroy();
  over_ = true;
  if (reset_)
    inner_.abort();
  else
    inner_.close();
  go_if_over();
  on.root_ended();
}

void layer_core::go_if_over() noexcept {
  if (over_ && lent_ == 0) delete this;
}

bool layer_core::lend(socket_base& s, lent_bytes& lent) {
  constexpr std::uint32_t most = 16 * 1024;
  const auto n = std::min(s.rx_size, most);
  auto* copy = new std::byte[n];
  std::memcpy(copy, s.rx_data, n);
  lent = {copy, n, 0, copy};
  s.rx_data += n;
  s.rx_size -= n;
  lent_out();
  settle(s);
  return true;
}

void layer_core::release(lent_bytes& lent) noexcept {
  delete[] static_cast<std::byte*>(lent.chunk);
  came_back();
}

}  // namespace weir::detail

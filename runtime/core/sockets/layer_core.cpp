// The two coroutines of a layer, and its end.
#include "core/sockets/layer_core.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "weir/config.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

layer_core::layer_core(any_stream inner)
    : inner_(std::move(inner)),
      linger_(*this),
      ended_{{&kind_of_end<&layer_core::pump_ended>}, this} {
  set_owner(inner_.owner());
  socket_.at = this;
}

layer_core::~layer_core() = default;

void layer_core::begin() {
  auto reading = read_inner();
  auto writing = write_inner();
  launch(std::move(reading), in_cancel_);
  launch(std::move(writing), out_cancel_);
}

void layer_core::launch(task<> pump, cancel_state& governing) noexcept {
  auto frame = pump.release();
  auto& promise = frame.promise();
  promise.owner = &owner();
  promise.cancel = &governing;
  promise.on_done = &ended_;
  promise.turn.handle = frame;
  ++running_;
  owner().make_ready(promise.turn);
}

void layer_core::ask_out(std::span<const std::byte> bytes) noexcept {
  assert(leaving_.empty() && !bytes.empty());
  leaving_ = bytes;
  out_.ring(owner());
}

std::error_code layer_core::end_out() noexcept {
  std::error_code error;
  inner_.shutdown_send(error);
  return error;
}

task<> layer_core::read_inner() {
  for (;;) {
    co_await in_;
    if (given_up_) break;
    auto got = co_await inner_.receive().nothrow();
    if (given_up_) break;
    if (!got)
      in_ended(got.error());
    else if (!*got)
      in_ended({});
    else
      came(std::move(*got));
  }
}

task<> layer_core::write_inner() {
  for (;;) {
    co_await out_;
    while (!leaving_.empty()) {
      auto done = co_await inner_.write_all(leaving_).nothrow();
      leaving_ = {};
      gone(done.ec);
      if (given_up_ && leaving_.empty() && !done.ec) flush();
    }
    if (given_up_) break;
  }
}

void layer_core::give_up(socket_base&, bool reset) noexcept {
  given_up_ = true;
  reset_ = reset;
  owner().root_started();  // the shard waits for what is left
  in_cancel_.request();
  if (reset) {
    out_cancel_.request();
  } else {
    out_cancel_.attach(&owner().root_cancel());
    owner().arm(linger_,
                owner().now() + std::chrono::milliseconds(owner().settings().stop.linger_ms));
    if (leaving_.empty()) flush();
  }
  in_.ring(owner());
  out_.ring(owner());
}

void layer_core::linger_over(timer_node& node) noexcept {
  static_cast<linger_timer&>(node).layer->out_cancel_.request();
}

void layer_core::pump_ended(completion& c, promise_base& pump) noexcept {
  auto& self = *static_cast<ended&>(c).layer;
  using promise = task_promise<void>;
  std::coroutine_handle<promise>::from_promise(static_cast<promise&>(pump)).destroy();
  if (--self.running_ != 0) return;
  auto& owner = self.owner();
  if (self.reset_)
    self.inner_.abort();
  else
    self.inner_.close();
  self.go_if_over();
  owner.root_ended();
}

void layer_core::go_if_over() noexcept {
  if (given_up_ && running_ == 0 && lent_ == 0) delete this;
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

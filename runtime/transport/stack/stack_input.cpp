// Where a stack transport's frames come from once its device was handed over to another program
// (handover/input_handover.hpp): its own flows' segments come by the link, what it sends goes to
// the device still.
#include "runtime/transport/stack/stack_transport.hpp"

#include <sys/socket.h>

#include <utility>

#include "runtime/core/log.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

void stack_transport::give_input(int link) {
  successor_ = link;
  if (port_->stop_reading()) reading_stopped();
}

void stack_transport::reading_stopped() {
  auto port = driver_.open_packet_port(successor_, settings_.frame_limit, from_successor_);
  if (port) {
    successor_port_ = std::move(*port);
    return settings_.handover->given();
  }
  log_line("stack.handover: the device is not handed over: " + port.error().message());
  take_input_back();
}

void stack_transport::link_receiver::receive(std::span<const std::span<const std::byte>> frames) {
  frames_in += frames.size();
  home->stack_transport::receive(frames);
}

/// The other program has gone, and this is called by the port that goes with it.
void stack_transport::link_receiver::device_failed(std::error_code) {
  if (std::exchange(home->emptying_, false)) return;
  home->owner().post([self = home] { self->take_input_back(); });
}

void stack_transport::take_input_back() {
  successor_port_.reset();
  successor_ = -1;
  settings_.handover->taken_back(settings_.queue);
  port_->resume_reading();
}

/// The end of this program. What is in the link may be for those that had the device before, and is
/// sent on; what comes after it goes there without us.
void stack_transport::empty_link() noexcept {
  if (!successor_port_ || !settings_.predecessors || settings_.predecessors->ended()) return;
  constexpr auto patience = std::chrono::milliseconds(20);
  emptying_ = true;
  (void)::shutdown(successor_, SHUT_RD);
  const auto until = driver_.now() + patience;
  while (emptying_ && driver_.now() < until) driver_.turn(driver_.now());
}

bool stack_transport::leave_to_others(listener_socket& socket) noexcept {
  return leave_to_others(static_cast<listener&>(socket).id);
}

/// Where nobody has taken the device over, nobody listens instead.
bool stack_transport::leave_to_others(stack::socket_id id) noexcept {
  return successor_port_ == nullptr || host_.leave_to_others(clock(), id);
}

void stack_transport::observe_handover(shard_snapshot& into) const {
  auto& c = into.counts;
  c.push_back({"device", "handover_received",
               "frames that the program which took the device over sent here",
               from_successor_.frames_in});
  if (!settings_.predecessors) return;
  c.push_back({"device", "handover_forwarded",
               "frames of nobody here, sent to the program that had the device before",
               settings_.predecessors->forwarded()});
  c.push_back({"device", "handover_full", "frames dropped because the way there was full",
               settings_.predecessors->full()});
}

}  // namespace weir::detail

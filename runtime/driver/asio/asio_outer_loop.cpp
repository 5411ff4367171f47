// Turns are posted, never made from inside the handler that asks: what the reactor's last look
// found is handed out first, and one turn serves it all.
#include "runtime/driver/asio/asio_outer_loop.hpp"

#include <asio/post.hpp>
#include <system_error>
#include <utility>

namespace weir::detail {

namespace {

instant now() {
  return instant::from_ns(
      std::chrono::duration_cast<duration>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

}  // namespace

template <void (asio_outer_loop::*Run)()>
class asio_outer_loop::handler {
 public:
  using allocator_type = slot_allocator<handler>;

  handler(asio_outer_loop& of, handler_slot& memory)
      : of_(of.shared_from_this()), memory_(&memory) {}
  allocator_type get_allocator() const noexcept { return allocator_type(*memory_); }
  void operator()() const { (of_.get()->*Run)(); }
  void operator()(std::error_code canceled) const {
    if (!canceled) (*this)();
  }

 private:
  std::shared_ptr<asio_outer_loop> of_;
  handler_slot* memory_;
};

asio_outer_loop::asio_outer_loop(asio::io_context& context, std::function<instant()> turn)
    : context_(context), turn_(std::move(turn)), timer_(context) {}

void asio_outer_loop::end() noexcept {
  turn_ = nullptr;
  timer_.cancel();
}

void asio_outer_loop::ask() {
  if (std::exchange(asked_, true)) return;
  asio::post(context_, handler<&asio_outer_loop::turn_asked>(*this, turn_slot_));
}

/// A deadline that has passed is judged only when the reactor was looked at after it: somebody's
/// handler may have computed for long, and what came in time meanwhile goes first.
void asio_outer_loop::turn_asked() {
  asked_ = false;
  if (turn_ == nullptr) return;
  if (due_ != instant{} && due_ <= now() && !std::exchange(looked_, true)) return ask();
  looked_ = false;
  due_ = turn_();
  if (turn_ == nullptr) return;
  if (due_ <= now())
    ask();
  else
    arm(due_);
}

void asio_outer_loop::timer_fired() {
  armed_ = instant::never();
  ask();
}

/// A timer that is armed for earlier stays so, and asks for a turn that finds nothing.
void asio_outer_loop::arm(instant deadline) {
  if (armed_ <= deadline) return;
  armed_ = deadline;
  timer_.expires_at(clock::time_point(std::chrono::nanoseconds(deadline.ns())));
  timer_.async_wait(handler<&asio_outer_loop::timer_fired>(*this, timer_slot_));
}

}  // namespace weir::detail

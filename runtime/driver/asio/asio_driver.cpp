// Turns, in an io_context of the driver's own or in somebody's. Handlers only note what happened
// and complete operations; coroutines run later, from the shard's loop.
#include "runtime/driver/asio/asio_driver.hpp"

#include <algorithm>
#include <asio/post.hpp>
#include <chrono>
#include <utility>

#include "runtime/backend/factories.hpp"
#include "runtime/driver/asio/asio_packet_port.hpp"

namespace weir::detail {

namespace {
using clock = std::chrono::steady_clock;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
}  // namespace

/// Ends a wait by being there. Its memory is given back before it runs, so clearing the flag frees
/// the slot.
class asio_driver::wake_handler {
 public:
  using allocator_type = slot_allocator<wake_handler>;

  explicit wake_handler(std::shared_ptr<wake_up> of) : of_(std::move(of)) {}
  allocator_type get_allocator() const noexcept { return allocator_type(of_->slot); }
  void operator()() const {
    of_->woken.store(false, std::memory_order_seq_cst);
    if (of_->driver == nullptr) return;
    if (of_->driver->watched_->owes()) of_->driver->watched_->hand_out();
    of_->driver->handled();
  }

 private:
  std::shared_ptr<wake_up> of_;
};

asio_driver::asio_driver(spin_policy spin)
    : own_(std::in_place, 1), context_(*own_), work_(context_.get_executor()), spin_(spin) {
  make_reactor();
  watched_->watch(true);
}

asio_driver::asio_driver(asio::io_context& theirs) : context_(theirs), spin_(spin_policy::from(0)) {
  make_reactor();
}

/// With its descriptors, which else come with the first socket: where there are none left, the back
/// end cannot be used.
void asio_driver::make_reactor() {
  wake_up_->driver = this;
  watched_.emplace(*this);
}

asio_driver::~asio_driver() {
  wake_up_->driver = nullptr;
  if (outer_ != nullptr) outer_->end();
}

instant asio_driver::now() {
  return instant::from_ns(
      std::chrono::duration_cast<duration>(clock::now().time_since_epoch()).count());
}

void asio_driver::wake() noexcept {
  if (wake_up_->woken.exchange(true, std::memory_order_seq_cst)) return;
  asio::post(context_, wake_handler(wake_up_));
}

void asio_driver::turn(instant deadline) {
  auto from = now();
  if (deadline <= from) return look();
  if (const auto spin_for = spin_.limit();
      spin_for.count() > 0 && spin(std::min(deadline, from + spin_for))) {
    spin_.found_while_spinning();
    return;
  }
  // By way of the reactor it takes three system calls to learn of what is there already.
  if (own_ && watched_->last_told() >= busy_at && watched_->hand_out() > 0) return;
  ++system_calls_;
  if (deadline.is_never())
    context_.run_one();
  else
    context_.run_one_until(clock::time_point(std::chrono::nanoseconds(deadline.ns())));
  if (spin_.adapts()) spin_.slept(now() - from);
}

/// Of a shard that is busy: whoever is ready is told now, because it may be long until the next
/// turn. A wake() ends the next wait; in somebody's io_context it may be the shard's own.
void asio_driver::look() {
  if (own_) {
    watched_->hand_out();
    return;
  }
  std::size_t done = 0;
  while (done < handlers_per_turn && context_.poll_one() != 0) ++done;
  system_calls_ += done == 0 || done == handlers_per_turn ? 1 : 2;  // the last look found nothing
}

bool asio_driver::spin(instant deadline) {
  do {
    if (watched_->hand_out() > 0) return true;
    if (wake_up_->woken.load(std::memory_order_relaxed)) {
      ++system_calls_;
      if (context_.poll_one() != 0) return true;
    }
    relax();
  } while (now() < deadline);
  return false;
}

result<std::unique_ptr<packet_port>> asio_driver::open_packet_port(int device,
                                                                   std::size_t frame_limit,
                                                                   packet_receiver& receiver) {
  return asio_packet_port::open(*this, device, frame_limit, receiver);
}

std::error_code asio_driver::let_loop_call(std::function<instant()> turn) {
  if (own_) return driver::let_loop_call(std::move(turn));
  outer_ = std::make_shared<asio_outer_loop>(context_, std::move(turn));
  return {};
}

void asio_driver::leave_loop() {
  if (outer_ != nullptr) std::exchange(outer_, nullptr)->end();
  has_work(true);  // so that run_one() waits, whatever the program had it do
  if (context_.stopped()) context_.restart();
}

void asio_driver::has_work(bool some) {
  watched_->watch(some);
  if (!some)
    work_.reset();
  else if (!work_)
    work_.emplace(context_.get_executor());
}

availability probe_asio(const config&) { return {true, "epoll through Asio"}; }

std::unique_ptr<driver> make_asio_driver(const config& settings) {
  return std::make_unique<asio_driver>(spin_policy::from(settings.busy_poll_us));
}

std::unique_ptr<driver> make_asio_driver_on(void* io_context) {
  return std::make_unique<asio_driver>(*static_cast<asio::io_context*>(io_context));
}

}  // namespace weir::detail

// The set, and its wait in Asio's reactor.
#include "runtime/driver/asio/ready_set.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/driver/asio/handler_slot.hpp"
#include "runtime/driver/asio/watched_descriptor.hpp"
#include "weir/descriptor.hpp"

namespace weir::detail {

struct ready_set::waiting {
  handler_slot slot;
  ready_set* of;
  bool wanted = false;
  bool armed = false;  // Asio has the handler
};

/// Its memory is given back before it runs.
class ready_set::handler {
 public:
  using allocator_type = slot_allocator<handler>;

  explicit handler(std::shared_ptr<waiting> state) : state_(std::move(state)) {}
  allocator_type get_allocator() const noexcept { return allocator_type(state_->slot); }
  void operator()(const std::error_code&) const {
    state_->armed = false;
    if (state_->of != nullptr) state_->of->came();
  }

 private:
  std::shared_ptr<waiting> state_;
};

ready_set::ready_set(asio_driver& driver)
    : driver_(driver),
      waiting_(std::make_shared<waiting>()),
      set_(driver.context().get_executor()) {
  waiting_->of = this;
  unique_fd made(::epoll_create1(EPOLL_CLOEXEC));
  if (!made) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  set_.assign(made.get());
  made.release();
}

ready_set::~ready_set() {
  waiting_->of = nullptr;
  for (auto* target : always_ready_) target->drop();
}

void ready_set::watch(bool some) {
  if (std::exchange(waiting_->wanted, some) == some) return;
  std::error_code ignored;
  if (some)
    arm();
  else
    set_.cancel(ignored);
}

void ready_set::arm() {
  if (std::exchange(waiting_->armed, true)) return;
  driver_.count_system_call();
  set_.async_wait(asio::posix::descriptor_base::wait_read, handler(waiting_));
}

/// (Also after a wait that was cancelled, and is wanted again.) What the bound left over is seen
/// when the wait is armed.
void ready_set::came() {
  if (!waiting_->wanted) return;
  hand_out();
  if (waiting_->wanted) arm();
  driver_.handled();
}

std::size_t ready_set::hand_out() {
  std::array<epoll_event, 128> events;
  std::size_t told = always_ready_.empty() ? 0 : tell_always_ready();
  unsigned count;
  do {
    driver_.count_system_call();
    const int n =
        ::epoll_wait(set_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
    count = n > 0 ? static_cast<unsigned>(n) : 0;
    // One that is told may end another.
    for (unsigned i = 0; i < count; ++i)
      static_cast<watched_descriptor*>(events[i].data.ptr)->retain();
    for (unsigned i = 0; i < count; ++i) {
      auto& target = *static_cast<watched_descriptor*>(events[i].data.ptr);
      target.told(events[i].events);
      target.drop();
    }
    told += count;
  } while (count == events.size() && told < told_at_once);
  return last_told_ = told;
}

std::size_t ready_set::tell_always_ready() {
  const auto some = std::exchange(always_ready_, {});
  for (auto* target : some) {
    target->told(EPOLLIN | EPOLLOUT);
    target->drop();
  }
  return some.size();
}

void ready_set::tell_soon(watched_descriptor& target) {
  always_ready_.push_back(&target);
  target.retain();
  driver_.wake();
}

std::error_code ready_set::add(int fd, std::uint32_t events, watched_descriptor& target) {
  epoll_event wanted{};
  wanted.events = events;
  wanted.data.ptr = &target;
  driver_.count_system_call();
  if (::epoll_ctl(set_.native_handle(), EPOLL_CTL_ADD, fd, &wanted) == 0) return {};
  return {errno, std::generic_category()};
}

void ready_set::change(int fd, std::uint32_t events, watched_descriptor& target) noexcept {
  epoll_event wanted{};
  wanted.events = events;
  wanted.data.ptr = &target;
  driver_.count_system_call();
  ::epoll_ctl(set_.native_handle(), EPOLL_CTL_MOD, fd, &wanted);
}

void ready_set::remove(int fd) noexcept {
  epoll_event ignored{};
  driver_.count_system_call();
  ::epoll_ctl(set_.native_handle(), EPOLL_CTL_DEL, fd, &ignored);
}

}  // namespace weir::detail

// The side of the program that has the device.
#include "runtime/transport/stack/handover/device_handover.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "runtime/backend/driver.hpp"
#include "runtime/core/log.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
namespace {

/// Of a link, both ways: a few super-segments and hundreds of small ones. The kernel gives what it
/// allows (net.core.wmem_max).
constexpr int link_bytes = 1 << 20;

struct both_ends {
  unique_fd ours, theirs;
};

result<both_ends> make_link() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    return kernel::last_error();
  both_ends out{unique_fd(ends[0]), unique_fd(ends[1])};
  (void)::setsockopt(out.theirs.get(), SOL_SOCKET, SO_SNDBUF, &link_bytes, sizeof link_bytes);
  return out;
}

bool has_reader(int link) {
  pollfd about{link, POLLOUT, 0};
  return ::poll(&about, 1, 0) >= 0 && (about.revents & (POLLHUP | POLLERR)) == 0;
}

}  // namespace

device_handover::device_handover(asking_place place, device_facts facts)
    : place_(std::move(place)), facts_(std::move(facts)) {
  path_.note(place_.name);
}

/// The name goes with the last one who answers at it.
device_handover::~device_handover() {
  const bool others = phase_ == phase::given || std::ranges::any_of(queues_, [](const one& q) {
                        return std::ranges::any_of(q.held.links, has_reader, &unique_fd::get);
                      });
  if (!others) path_.remove(place_.name);
}

void device_handover::add(handed_queue queue) {
  std::lock_guard lock(mutex_);
  queues_.emplace_back().held = std::move(queue);
}

std::vector<int> device_handover::links_of(unsigned queue) const {
  std::lock_guard lock(mutex_);
  std::vector<int> out;
  for (const auto& link : queues_[queue].held.links) out.push_back(link.get());
  return out;
}

void device_handover::attach(unsigned queue, input_owner& input, driver& through, shard& owner) {
  {
    std::lock_guard lock(mutex_);
    queues_[queue].input = &input;
    queues_[queue].owner = &owner;
  }
  if (queue != 0) return;
  driver_ = &through;
  auto made = through.watch_descriptor(place_.listening.get(), *this);
  if (!made)
    return log_line("stack.handover: nobody can ask for the device: " + made.error().message());
  asked_ = std::move(*made);
  asked_->want_readable();
}

void device_handover::detach(unsigned queue) noexcept {
  std::lock_guard lock(mutex_);
  queues_[queue].input = nullptr;
  queues_[queue].owner = nullptr;
  if (queue != 0) return;
  driver_ = nullptr;
  asked_.reset();
  asker_.reset();
}

// --- The conversation with the one who asks.

void device_handover::readable() {
  std::lock_guard lock(mutex_);
  if (auto* owner = queues_[0].owner) owner->post([this] { look(); });
}

void device_handover::look() {
  if (driver_ == nullptr) return;
  look_for_answer();
  look_for_asker();
}

/// One who asks while another one has not answered takes its place: it may never answer.
void device_handover::look_for_asker() {
  if (asked_ == nullptr || phase_ == phase::giving || phase_ == phase::given) return;
  asked_->want_readable();
  unique_fd came(::accept4(place_.listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!came || !peer_may_share(came.get())) return;
  forget_asker();
  auto error = offer(came.get());
  auto answers = driver_->watch_descriptor(came.get(), *this);
  if (!error && !answers) error = answers.error();
  if (error) {
    forget_asker();
    return log_line("stack.handover: the device was not handed over: " + error.message());
  }
  (*answers)->want_readable();
  asker_.emplace(std::move(came), std::move(*answers));
}

void device_handover::look_for_answer() {
  if (!asker_) return;
  const auto said = receive_message(asker_->socket.get());
  if (!said && said.error() == std::errc::operation_would_block)
    return asker_->answers->want_readable();
  if (said && said->text == take_word && phase_ == phase::offered) return give();
  if (phase_ == phase::offered) return forget_asker();
  asker_.reset();  // what was given, or is about to be, comes back: its links have ended
  std::lock_guard lock(mutex_);
  phase_ = phase::given;
  look_whether_all_are_back();
}

std::error_code device_handover::offer(int to) {
  std::lock_guard lock(mutex_);
  for (auto& q : queues_) {
    if (q.input == nullptr) return std::make_error_code(std::errc::operation_in_progress);
    const auto before = std::ranges::count_if(q.held.links, has_reader, &unique_fd::get);
    if (static_cast<std::size_t>(before) >= most_predecessors) {
      (void)send_message(to, full_word);
      return std::make_error_code(std::errc::too_many_links);
    }
  }
  phase_ = phase::offered;
  const int listening = place_.listening.get();
  if (auto error = send_message(to, facts_.to_message(), std::span(&listening, 1))) return error;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    auto& q = queues_[i];
    auto link = make_link();
    if (!link) return link.error();
    std::vector<int> passed{q.held.device.get(), link->theirs.get()};
    for (const auto& earlier : q.held.links)
      if (has_reader(earlier.get())) passed.push_back(earlier.get());
    if (auto error = send_message(to, fmt::format("queue {}", i), passed)) return error;
    q.link = std::move(link->ours);
  }
  return {};
}

void device_handover::forget_asker() {
  asker_.reset();
  std::lock_guard lock(mutex_);
  for (auto& q : queues_) q.link.reset();
  phase_ = phase::waits;
}

void device_handover::give() {
  asker_->answers->want_readable();
  std::lock_guard lock(mutex_);
  phase_ = phase::giving;
  given_ = 0;
  for (auto& q : queues_) {
    if (q.owner == nullptr) continue;
    q.away = true;
    q.owner->post([input = q.input, link = q.link.get()] { input->give_input(link); });
  }
}

// --- Queues that change hands, on any shard's thread.

void device_handover::given() {
  std::lock_guard lock(mutex_);
  if (++given_ == queues_.size() && queues_[0].owner != nullptr)
    queues_[0].owner->post([this] { all_given(); });
}

void device_handover::all_given() {
  if (phase_ != phase::giving) return;
  if (asker_) (void)send_message(asker_->socket.get(), yours_word);
  asker_.reset();
  std::lock_guard lock(mutex_);
  phase_ = phase::given;
  look_whether_all_are_back();
}

void device_handover::taken_back(unsigned queue) {
  std::lock_guard lock(mutex_);
  queues_[queue].away = false;
  queues_[queue].link.reset();
  look_whether_all_are_back();
}

/// Then the next one may ask. Under the lock.
void device_handover::look_whether_all_are_back() {
  if (phase_ != phase::given || std::ranges::any_of(queues_, &one::away)) return;
  phase_ = phase::waits;
  log_line("stack.handover: the program that took the device over has gone: it is read here again");
  if (queues_[0].owner != nullptr) queues_[0].owner->post([this] { look(); });
}

}  // namespace weir::detail

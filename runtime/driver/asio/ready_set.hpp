// The descriptors that a shard watches, as one epoll(7) set: in Asio's reactor it is a single
// descriptor, readable when one of its own is ready. So what is ready together is handed out
// together, and none has to be armed again by a system call of its own, as Asio's waits have.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

namespace weir::detail {

class asio_driver;
class watched_descriptor;

class ready_set {
 public:
  /// Throws std::system_error where there is no descriptor left.
  explicit ready_set(asio_driver& driver);
  ~ready_set();

  /// Whether the io_context waits for the set, which keeps its run() from returning.
  void watch(bool some);
  /// Tells those that are ready, without a wait; how many.
  std::size_t hand_out();
  /// How many it were the last time.
  std::size_t last_told() const { return last_told_; }
  /// What no look at the set shows has something to be told.
  bool owes() const { return !always_ready_.empty(); }

  // --- For its descriptors. `events` as epoll_ctl(2) has them.

  std::error_code add(int fd, std::uint32_t events, watched_descriptor& target);
  void change(int fd, std::uint32_t events, watched_descriptor& target) noexcept;
  void remove(int fd) noexcept;
  /// One that no set takes, because it is always ready: from a later turn.
  void tell_soon(watched_descriptor& target);

 private:
  /// In one hand_out(): a bound, so that a flood of events cannot keep coroutines and timers from
  /// running.
  static constexpr std::size_t told_at_once = 512;

  class handler;
  struct waiting;

  void arm();
  void came();
  std::size_t tell_always_ready();

  asio_driver& driver_;
  /// What Asio keeps during the wait; it may outlive this.
  std::shared_ptr<waiting> waiting_;
  asio::posix::basic_stream_descriptor<asio::io_context::executor_type> set_;
  std::vector<watched_descriptor*> always_ready_;
  std::size_t last_told_ = 0;
};

}  // namespace weir::detail

// A shard's processes from their start until they are reaped. Each is one pidfd that the driver
// watches: it becomes readable when the process has ended.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>

#include "runtime/backend/watch.hpp"
#include "weir/detail/timer.hpp"
#include "weir/process.hpp"

namespace weir::detail {

class children;

class child final : public watch_client, public stack::list_link<> {
 public:
  child(children& of, pid_t number, unique_fd descriptor, bool leads_group)
      : home(&of), pid(number), pidfd(std::move(descriptor)), group(leads_group) {}

  void readable() override;
  void writable() override {}
  std::error_code signal(int number) const noexcept;
  /// Asks the kernel; true when it has ended, and is no more.
  bool try_reap() noexcept;

  children* home;
  pid_t pid;
  unique_fd pidfd;
  std::unique_ptr<watch> ended_watch;
  stack::intrusive_queue<process_exit_operation> waiting;
  exit_status status;
  std::error_code lost;  // somebody else reaped it
  bool group;
  bool over = false;
  bool given_up = false;  // its handle has gone
};

/// Of shard::local<>().
class children {
 public:
  explicit children(shard& owner) : owner_(owner) {}
  ~children();

  /// Takes a process over. On an error it was killed and reaped.
  result<child*> add(pid_t pid, unique_fd pidfd, bool leads_group);
  /// The handle goes: kills what still runs.
  void give_up(child& c) noexcept;
  unique_fd release(child& c) noexcept;
  void ended(child& c) noexcept;

  /// How long the shard waits at its end, in all.
  duration patience = std::chrono::seconds(5);

 private:
  struct sweep_timer : timer_node {
    explicit sweep_timer(children& c) : timer_node(&children::sweep), of(&c) {}
    children* of;
  };
  static void sweep(timer_node& node) noexcept;
  void remove(child& c) noexcept;

  shard& owner_;
  stack::intrusive_list<child> all_;
  stack::intrusive_list<child> gone_;  // given up and over: a watch does not end inside its call
  sweep_timer sweep_{*this};
};

}  // namespace weir::detail

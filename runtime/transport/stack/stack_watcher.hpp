// Puts what a stack's host tells (drops, retransmissions, overflows) among the last events of its
// shard.
#pragma once

#include <memory>

#include "runtime/core/flight_recorder.hpp"
#include "weir/stack/counters.hpp"

namespace weir::detail {

class stack_watcher final : public stack::host_watcher {
 public:
  /// `now`: the host's idea of it.
  stack_watcher(std::shared_ptr<flight_recorder> into, const instant& now)
      : into_(std::move(into)), now_(now) {}

  void counted(stack::counter what, std::uint64_t n) noexcept override {
    into_->add({.at = now_,
                .count = n,
                .about = stack::name(what).data(),  // a literal: it ends with a zero
                .what = flight_event::kind::counted});
  }
  void sent_again(const endpoint& local, const endpoint& remote,
                  std::uint32_t bytes) noexcept override {
    into_->add({.at = now_,
                .count = bytes,
                .peer = remote,
                .port = local.port,
                .what = flight_event::kind::sent_again});
  }

 private:
  std::shared_ptr<flight_recorder> into_;
  const instant& now_;
};

}  // namespace weir::detail

// What every pool does alike for a shard: nothing without a pool, and a word about functions that
// still run after the shard was asked to stop.
#include "weir/offload.hpp"

#include <string>

#include "runtime/core/log.hpp"
#include "weir/detail/surroundings.hpp"

namespace weir {
namespace detail {
namespace {

/// The functions of one shard that are out.
class functions_out : private cancel_node, private timer_node {
 public:
  explicit functions_out(shard& owner)
      : cancel_node(kind_of_node<&functions_out::on_stop>),
        timer_node(&functions_out::on_time),
        owner_(owner) {
    if (!owner.stopping().requested()) owner.stopping().add(*this);
  }

  void add(offload_operation& op) {
    out_.push_front(op);
    if (owner_.stopping().requested() && !armed()) wait();
  }
  void remove(offload_operation& op) { out_.remove(op); }

 private:
  static constexpr duration first_word = std::chrono::seconds(1);

  static void on_stop(cancel_node& node) noexcept {
    auto& self = static_cast<functions_out&>(node);
    if (!self.out_.empty()) self.wait();
  }
  static void on_time(timer_node& node) noexcept {
    auto& self = static_cast<functions_out&>(node);
    if (self.out_.empty()) return;
    try {
      log_line("shard " + std::to_string(self.owner_.index()) +
               " was asked to stop and waits for " + std::to_string(self.out_.size()) +
               " offloaded function(s), which nothing can end");
    } catch (const std::bad_alloc&) {
    }
    self.pause_ *= 2;
    self.wait();
  }
  void wait() noexcept { owner_.arm(*this, owner_.now() + pause_); }

  shard& owner_;
  stack::intrusive_list<offload_operation> out_;
  duration pause_ = first_word;
};

}  // namespace

void offload_operation::begin(offload_operation& op, const file_call* call) noexcept {
  auto& owner = op.owner();
  owner.local<functions_out>().add(op);
  op.entered = true;
  auto* const caller = owner.around().file_calls;
  if (call != nullptr && caller != nullptr) {
    op.caller = caller;
    if (caller->start(op, *call)) return;
  }
  hand_to_pool(op);
}

void offload_operation::hand_to_pool(offload_operation& op) noexcept {
  op.caller = nullptr;
  auto& pool = op.owner().around().pool;
  if (pool == nullptr) return op.complete(std::make_error_code(std::errc::operation_not_supported));
  pool->start(op);
}

void offload_operation::request_cancel(operation& op) noexcept {
  auto& of = static_cast<offload_operation&>(op);
  if (of.caller != nullptr) return of.caller->cancel(of);
  op.owner().around().pool->cancel(of);
}

/// The coroutine goes on.
void offload_operation::end(offload_operation& op) noexcept {
  if (op.entered) op.owner().local<functions_out>().remove(op);
}

}  // namespace detail

offload_counters offload_counts(shard& of) {
  const auto& pool = of.around().pool;
  return pool == nullptr ? offload_counters() : pool->counters();
}

}  // namespace weir

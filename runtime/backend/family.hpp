// The inside of weir::shard_family: what the shards of one program share, one object of a kind,
// made by whoever asks for it first. Knows none of the kinds: each belongs to the transport that
// keeps it, with a lock of its own. Nothing here is touched by a transfer, only when sockets begin
// and end.
#pragma once

#include <memory>
#include <mutex>
#include <typeindex>
#include <unordered_map>

#include "weir/runtime.hpp"

namespace weir::detail {

class family {
 public:
  /// The family's one T. Any thread.
  template <class T>
  T& part() {
    std::lock_guard lock(mutex_);
    auto& kept = parts_[typeid(T)];
    if (kept == nullptr) kept = std::make_shared<T>();
    return *static_cast<T*>(kept.get());
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> parts_;
};

}  // namespace weir::detail

// What those tell that wait in the cancellation tree, and those that hear of a coroutine's end, so
// that weir-ps and its like can say what every coroutine waits for. Filled by the functions that
// stand beside a cancel_node's and a completion's own; used by runtime/core/task_walk.cpp.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "weir/detail/place.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir {
class shard;
}

namespace weir::detail {

struct socket_base;
struct datagram_socket;
struct listener_socket;

/// One wait. What it points at is there while the shard does not go on.
struct wait_told {
  std::string_view operation;      ///< "read_some"
  std::coroutine_handle<> waiter;  ///< of weir's own promise
  const socket_base* stream = nullptr;
  const listener_socket* listener = nullptr;
  const datagram_socket* datagrams = nullptr;
  endpoint remote;         ///< where there is no socket yet
  instant deadline;        ///< 0: none
  std::int64_t have = -1;  ///< items of a channel, tasks of a scope; -1: does not apply
  std::int64_t bound = -1;
  source_at holder = nullptr;  ///< of a lock: where it was taken
  bool asked = false;          ///< to end early
};

/// What a coroutine that no coroutine awaits belongs to.
struct belonging_told {
  enum class kind : std::uint8_t { other, root, scope, join, remote };
  kind of = kind::other;
  std::coroutine_handle<> parent;       ///< the coroutine that waits for it (join, remote)
  const weir::shard* origin = nullptr;  ///< of a remote call
  const void* scope = nullptr;
  source_at made = nullptr;  ///< where the scope was made
  std::string_view name;
  std::size_t size = 0;
  std::uint64_t failures = 0;
  std::uint64_t refused = 0;
  bool orphaned = false;  ///< the scope object has gone
};

}  // namespace weir::detail

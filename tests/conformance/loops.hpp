// The suite on shards that live in somebody else's loop (weir/loop.hpp): where
// WEIR_CONFORMANCE_LOOP is set, the judged shards of kernel and stack back ends are driven by
// poll(2), or, on asio, by an io_context.
#pragma once

#include <memory>

#include "weir/weir.hpp"

namespace conformance {

bool in_somebodys_loop();

/// As weir::shard_thread: a shard on a thread of its own, whose loop is not the shard's.
class loop_thread {
 public:
  explicit loop_thread(const weir::config& settings);
  ~loop_thread();
  loop_thread(const loop_thread&) = delete;
  loop_thread& operator=(const loop_thread&) = delete;
  weir::shard& shard();

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace conformance

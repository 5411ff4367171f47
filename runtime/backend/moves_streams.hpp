// What a home can be besides: one whose streams leave it, and that takes in those which left
// another one (weir/detach.hpp). What is on its way belongs to the homes: nobody else knows what is
// in it.
#pragma once

#include "weir/detach.hpp"

namespace weir::detail {

/// A connection on its way. Its destructor, which any thread may run, closes it.
struct detached_socket {
  detached_socket(const weir::shard& left, bool unix_socket) : from(&left), local(unix_socket) {}
  detached_socket(const detached_socket&) = delete;
  virtual ~detached_socket() = default;

  const weir::shard* from;  // to compare with only: it may be gone
  const bool local;         // a Unix socket
};

/// On the shard's thread.
class moves_streams {
 public:
  /// No operation is under way on its socket, and what readers took is settled.
  /// op.succeed() or op.complete() with an error follows, from inside or later.
  virtual void start_detach(detach_operation& op) = 0;
  /// Of one that left a home of this kind. On an error nothing has changed.
  virtual result<socket_base*> attach_stream(detached_socket& moved) = 0;

 protected:
  ~moves_streams() = default;
};

}  // namespace weir::detail

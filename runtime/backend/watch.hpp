// A descriptor whose readiness a driver reports: for what is neither a socket of the transport's
// nor a packet device (Unix sockets, pipes, terminals).
#pragma once

namespace weir::detail {

class watch_client {
 public:
  /// Also at an error or a hang-up; may come without a cause. Must not end the watch.
  virtual void readable() = 0;
  virtual void writable() = 0;

 protected:
  ~watch_client() = default;
};

/// One descriptor's. Ends with this object, before the descriptor is closed; nothing is said any
/// more then, and nobody holds the descriptor's file.
class watch {
 public:
  virtual ~watch() = default;
  /// readable() or writable() follows, once, from a turn of the driver. Asking again meanwhile
  /// changes nothing.
  virtual void want_readable() = 0;
  virtual void want_writable() = 0;
};

}  // namespace weir::detail

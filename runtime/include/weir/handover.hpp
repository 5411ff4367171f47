// Replacing a running program without losing a client: the new one takes the listening sockets over
// from the old one, through a Unix socket with descriptors; then the old one stops and drains. The
// sockets themselves never close: whoever connects meanwhile waits in their queues.
//
//   auto before = co_await weir::take_over(where);                  // empty: nobody runs
//   auto listener = before ? weir::adopt_listener(shard, before->take("web")) : shard.listen(...);
//   ...                                                             // serve
//   if (before) co_await before->serving();                         // the old one stops now
//   weir::handover next(shard, where);
//   next.add("web", listener);
//   co_await next.done();                                           // somebody else serves
//   shard.request_stop();
//
// On kernel sockets, and on the stack where its device is handed over, too (stack.handover): its
// listeners have no descriptor, so take() gives none, and the new program listens by itself.
// Elsewhere operation_not_supported.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weir/net.hpp"
#include "weir/task.hpp"
#include "weir/unix.hpp"

namespace weir {

/// What the program that ran before gave.
class inheritance {
 public:
  explicit inheritance(unix_stream from) : from_(std::move(from)) {}

  /// The descriptor of this name; none where there is none (any more). What is not taken goes with
  /// this object.
  unique_fd take(std::string_view name);
  /// Tells the old program that this one serves, and waits until it accepts no more than what it
  /// has already. From then on the name that it was reached by is free.
  task<> serving();

 private:
  friend task<std::optional<inheritance>> take_over(unix_endpoint where);
  struct one {
    std::string name;
    unique_fd fd;
  };
  unix_stream from_;
  std::vector<one> all_;
};

/// Asks the program that listens there, if there is one, for its sockets. It goes on serving until
/// serving(), and for good if this program ends before. Throws io_error: error::limit_exceeded and
/// protocol_error (what answers is something else), permission_denied.
task<std::optional<inheritance>> take_over(unix_endpoint where);

/// The other side: gives this program's listeners to the one that asks first, of the same user or
/// of root. One shard's; `add()` what is there before done() is awaited. The listeners outlive it.
class handover {
 public:
  static constexpr std::size_t most_listeners = 64;

  /// Listens there. Throws what shard::listen() throws.
  handover(shard& here, const unix_endpoint& where);

  /// Names without spaces. Of a listener whose successor listens by itself
  /// (tcp_listener::successor_listens()) nothing is passed: done() waits until what had begun there
  /// was accepted, 15 s at most. Throws operation_not_supported; invalid_argument (a name twice, or
  /// none; too many).
  void add(std::string name, tcp_listener& listener);
  void add(std::string name, unix_listener& listener);

  /// Returns when a successor serves: stop accepting then. Successors that fail before are
  /// forgotten. Ends with operation_canceled when the shard is asked to stop, or this is cancelled.
  task<> done();

 private:
  struct one {
    std::string name;
    int descriptor;
    tcp_listener* tcp;
    unix_listener* local;
  };
  void add(one what);
  task<bool> give_to(unix_stream successor);

  unix_listener listener_;
  std::vector<one> all_;
};

}  // namespace weir

// What a dedicated stack's thread does for the shards' UDP sockets: it opens and closes them, shows
// them what came, and sends what they hand over. Each is a socket of the host, with its own queue,
// bounds and counters; where several shards share an address the host chooses.
#pragma once

#include <system_error>

#include "runtime/observe/snapshot.hpp"
#include "runtime/transport/stack/dedicated/datagram_record.hpp"

namespace weir::detail {

class stack_transport;

class datagram_service {
 public:
  /// The transport outlives this.
  explicit datagram_service(stack_transport& stack);

  // --- For the shards' sockets, which wait.

  std::error_code open(channel& c, dedicated_datagram_socket& s, const endpoint& local,
                       const endpoint* remote, const udp_options& options);
  std::error_code connect(dedicated_datagram_socket& s, const endpoint& remote);
  /// The last thing that is told of it is tell::gone.
  void close(dedicated_datagram_socket& s);

  // --- For the service.

  /// Closes all that the channel has.
  void leave(const channel& c);
  void carry_out(dedicated_datagram_socket& s, const up_note& note);
  void handle(const stack::event& what);
  void fail_everything(std::error_code error);
  /// Completes a note.
  void fill(dedicated_datagram_socket& s, down_note& note);
  /// The note is in the ring.
  void told(dedicated_datagram_socket& s, const down_note& note);
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const;

 private:
  using half = dedicated_datagram_socket::half;

  void give_back(dedicated_datagram_socket& s, std::uint32_t count);
  void send(dedicated_datagram_socket& s);
  void end(dedicated_datagram_socket& s);

  stack_transport& transport_;
  stack::host& host_;
  stack::intrusive_list<half> all_;
  std::error_code device_error_;
};

}  // namespace weir::detail

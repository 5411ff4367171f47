// What the Asio transport shows: its counters, and of its sockets what the kernel tells.
#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/transport/asio/asio_transport.hpp"

namespace weir::detail {

void asio_transport::observe(shard_snapshot& into, const snapshot_bounds& bounds) {
  auto& c = into.counts;
  kernel::show(counters_, into);
  c.push_back({"transport", "lending_starved", "receives that waited for a buffer to lend",
               lending_.starved()});
  c.push_back({"transport", "closing", "sockets given up and not gone yet", closing_, true});
  c.push_back({"transport", "lent_buffers", "buffers lent to readers", lending_.lent(), true});
  datagrams_.observe(into, bounds);
  for (auto* socket = sockets_.front(); socket != nullptr; socket = sockets_.after(*socket))
    if (!socket->given_up()) socket->observe(into, bounds);
}

void asio_listener::observe(shard_snapshot& into, const snapshot_bounds& bounds) const {
  ++into.listeners_total;
  if (into.listeners.size() >= bounds.listeners) return;
  auto& out = into.listeners.emplace_back();
  out.local = local;
  out.accepted = taken_;
  if (group_member_ != 0) out.accepted_ahead = adopted_.size();
  kernel::describe_sharing(how_, home().groups().count(local), out);
  for (auto n = kernel::observe_listener(fd(), out); n > 0; --n) count_system_call();
}

void asio_stream::observe(shard_snapshot& into, const snapshot_bounds& bounds) const {
  ++into.connections_total;
  if (into.connections.size() >= bounds.connections) return;
  auto& out = into.connections.emplace_back();
  for (auto n = kernel::observe_connection(fd(), *this, out); n > 0; --n) count_system_call();
  if (out.receive_queued) *out.receive_queued += rx_size;
}

}  // namespace weir::detail

// What is told beside being counted: to tracers, and to who watches a host.
#include "weir/stack/counters.hpp"

#include "stack/base/probes.hpp"

namespace weir::stack {

void host_counters::tell(counter c, std::uint64_t n) noexcept {
  if (is_turned_away(c)) probe::drop(name(c).data(), n);  // a literal: it ends with a zero
  if (watcher_.to != nullptr) watcher_.to->counted(c, n);
}

void host_counters::add_sent_again(const endpoint& local, const endpoint& remote,
                                   std::uint32_t segments, std::uint32_t bytes) noexcept {
  add(counter::retransmissions, segments);
  probe::retransmission(local.port, remote.port, remote.address.bytes().data(),
                        remote.address.is_v6() ? 1 : 0, bytes);
  if (watcher_.to != nullptr) watcher_.to->sent_again(local, remote, bytes);
}

}  // namespace weir::stack

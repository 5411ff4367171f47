// The points at which a tracer (perf, bpftrace, SystemTap) can be attached to a running program:
// USDT probes of the provider "weir". Every probe that weir has stands here, with its arguments;
// what has happened calls it. A probe that nobody is attached to is one nop: whoever calls one
// gives values that he has at hand, and computes nothing for it. Built without WEIR_WITH_PROBES
// nothing of it is there.
//
// Sockets are named by an address, which no other live socket of the process has; errors are
// numbers (errno's, on the whole; weir::error's below 6), 0 for none; ports are in host order.
#pragma once

#include <cstddef>
#include <cstdint>

#if WEIR_WITH_PROBES
#include <sys/sdt.h>  // lint: allow: macros that describe a place in the code, no call
#define WEIR_PROBE(arguments, ...) STAP_PROBE##arguments(weir, __VA_ARGS__)
#else
#define WEIR_PROBE(arguments, ...) static_cast<void>(0)
#endif

namespace weir::probe {

// NOLINTBEGIN(bugprone-easily-swappable-parameters)

/// An accept() is over. `socket`: null where it has none; `port`: the listener's.
inline void accept([[maybe_unused]] unsigned shard, [[maybe_unused]] const void* socket,
                   [[maybe_unused]] unsigned port, [[maybe_unused]] int error) noexcept {
  WEIR_PROBE(4, accept, shard, socket, port, error);
}
/// A connect() is over. `port`: the remote's.
inline void connect([[maybe_unused]] unsigned shard, [[maybe_unused]] const void* socket,
                    [[maybe_unused]] unsigned port, [[maybe_unused]] int error) noexcept {
  WEIR_PROBE(4, connect, shard, socket, port, error);
}
/// A read is over. 0 bytes without an error: the end of the stream.
inline void read([[maybe_unused]] unsigned shard, [[maybe_unused]] const void* socket,
                 [[maybe_unused]] std::size_t bytes, [[maybe_unused]] int error) noexcept {
  WEIR_PROBE(4, read, shard, socket, bytes, error);
}
/// A write is over.
inline void write([[maybe_unused]] unsigned shard, [[maybe_unused]] const void* socket,
                  [[maybe_unused]] std::size_t bytes, [[maybe_unused]] int error) noexcept {
  WEIR_PROBE(4, write, shard, socket, bytes, error);
}
/// The program gave a stream up. `reset`: 1 where it aborted it.
inline void close([[maybe_unused]] unsigned shard, [[maybe_unused]] const void* socket,
                  [[maybe_unused]] int reset) noexcept {
  WEIR_PROBE(3, close, shard, socket, reset);
}
/// A stream left its shard for another one.
inline void detach([[maybe_unused]] unsigned shard, [[maybe_unused]] const void* socket) noexcept {
  WEIR_PROBE(2, detach, shard, socket);
}
/// It is a stream again, by another address. `port`: the local one.
inline void attach([[maybe_unused]] unsigned shard, [[maybe_unused]] const void* socket,
                   [[maybe_unused]] unsigned port) noexcept {
  WEIR_PROBE(3, attach, shard, socket, port);
}
/// The stack turned something away, `count` times. `reason`: the counter's name, as in /metrics.
inline void drop([[maybe_unused]] const char* reason,
                 [[maybe_unused]] std::uint64_t count) noexcept {
  WEIR_PROBE(2, drop, reason, count);
}
/// The stack sent `bytes` again; 0: a SYN, or its answer. `address`: the remote's, 4 or 16 bytes in
/// network order as `v6` says.
inline void retransmission([[maybe_unused]] unsigned local_port,
                           [[maybe_unused]] unsigned remote_port,
                           [[maybe_unused]] const void* address, [[maybe_unused]] int v6,
                           [[maybe_unused]] unsigned bytes) noexcept {
  WEIR_PROBE(5, retransmission, local_port, remote_port, address, v6, bytes);
}
/// A shard has not turned for `lasted_ns`, and does not yet. Fired by the thread that watches;
/// `thread`: the one that stands.
inline void stall([[maybe_unused]] unsigned shard, [[maybe_unused]] int thread,
                  [[maybe_unused]] std::int64_t lasted_ns) noexcept {
  WEIR_PROBE(3, stall, shard, thread, lasted_ns);
}

// NOLINTEND(bugprone-easily-swappable-parameters)

}  // namespace weir::probe

#undef WEIR_PROBE

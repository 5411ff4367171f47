// What is left of a connection in TIME_WAIT (RFC 9293 3.6.1): enough to acknowledge a repeated FIN,
// to ignore resets (RFC 1337) and to judge a new SYN (RFC 6191). No queue, no connection object.
#pragma once

#include <cstdint>

#include "stack/base/flow_key.hpp"
#include "stack/tcp/seq.hpp"
#include "stack/tcp/timer_wheel.hpp"
#include "stack/wire/tcp.hpp"

namespace weir::stack::tcp {

struct time_wait_entry {
  flow_key flow;
  timer_node timer;
  instant answered;    ///< the last acknowledgement, to limit their rate
  duration lasting{};  ///< 2 MSL, as its connection was told
  std::uint32_t previous = 0xffffffff,
                next = 0xffffffff;  ///< by age: the oldest goes when the bound is met
  seq send_next, receive_next;
  std::uint32_t timestamp = 0, timestamp_offset = 0;
  std::uint16_t window = 0;
  bool timestamps = false;
  std::uint8_t ttl = 64;

  /// RFC 6191 2: whether a SYN surely belongs to a new connection. `enabled`: timestamps would be
  /// used if the SYN offers them.
  bool reopened_by(const wire::tcp_segment& syn, bool enabled) const {
    const bool beyond = seq(syn.sequence) > receive_next;
    if (!timestamps) return beyond || (enabled && syn.options.timestamps.has_value());
    if (!syn.options.timestamps) return beyond;
    const auto step = static_cast<std::int32_t>(syn.options.timestamps->value - timestamp);
    return step > 0 || (step == 0 && beyond);
  }
};
static_assert(sizeof(time_wait_entry) <= 136);

}  // namespace weir::stack::tcp

// SYNs from addresses that are nobody's: what a flood sends, and clients that never acknowledge.
#pragma once

#include <cstdint>

#include <weir/weir.hpp>

#include "scenarios/packet_clients.hpp"

namespace lab {

/// Queues the SYN of forged client `number`, the same for the same number.
inline void send_forged_syn(weir::bench::packet_clients& net, const weir::endpoint& to,
                            std::uint32_t number) {
  constexpr std::uint32_t forged_network = 0x64400000;  // 100.64.0.0/10, RFC 6598: nobody's own
  weir::stack::wire::tcp_segment syn;
  syn.source = weir::ip_address::v4(forged_network + 1 + number / 50'000);
  syn.source_port = static_cast<std::uint16_t>(10'000 + number % 50'000);
  syn.destination = to.address;
  syn.destination_port = to.port;
  syn.sequence = number * 2654435761u;
  syn.flags = weir::stack::wire::syn;
  syn.window = 65535;
  syn.options.mss = 1460;
  net.send(syn);
}

}  // namespace lab

// What a datagram carries beside its bytes, and what a batch of datagrams is made of: plain values,
// for udp_socket's receive_batch() and send_batch() (weir/udp.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "weir/stack/address.hpp"

namespace weir {

/// The two bits of Explicit Congestion Notification in an IP header (RFC 3168 5).
enum class ecn_mark : std::uint8_t {
  not_capable = 0,
  capable_1 = 1,  ///< ECT(1)
  capable_0 = 2,  ///< ECT(0)
  congestion = 3  ///< a router was congested
};

/// Which of a machine's own addresses a datagram came to or leaves from, and through which
/// interface.
struct datagram_path {
  ip_address address = {};      ///< unspecified: the one that routing chooses
  std::uint32_t interface = 0;  ///< its index (if_nametoindex(3)); 0: routing's choice
};

/// Room for what is received: the caller gives `buffer`, a receive fills in the rest.
struct incoming_datagram {
  std::span<std::byte> buffer;
  std::size_t n = 0;     ///< bytes in the buffer
  std::size_t size = 0;  ///< bytes that came: more than n where the buffer was too small
  /// Not 0 (udp_options::gro only): these are several datagrams in a row from one sender, of so
  /// many bytes each, the last of what is left.
  std::size_t segment = 0;
  endpoint from = {};
  datagram_path to = {};  ///< what it was sent to; answer through it with outgoing_datagram::from
  ecn_mark mark = ecn_mark::not_capable;

  std::span<std::byte> bytes() const { return buffer.first(n); }
};

/// What is to be sent.
struct outgoing_datagram {
  std::span<const std::byte> bytes;
  endpoint to = {};  ///< the default endpoint on a connected socket
  /// Not 0: cut into datagrams of so many bytes, the last of what is left.
  std::size_t segment = 0;
  datagram_path from = {};
  ecn_mark mark = ecn_mark::not_capable;
};

}  // namespace weir

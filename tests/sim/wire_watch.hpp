// An eye on the wire that knows TCP's promises and nothing of the stack: whatever a host sends must
// parse, stay inside the window that has reached it, acknowledge only what has reached it, and
// never take back what it promised (RFC 9293 3.4, 3.8.6, SHLD-14; RFC 2018 3; RFC 7323 3.2).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "stack/wire/tcp.hpp"
#include "weir/stack/address.hpp"

namespace sim_test {

class wire_watch {
 public:
  /// A host puts this packet on the wire. An error text, or nothing.
  std::string sent(std::span<const std::byte> packet, std::uint16_t mtu);
  /// This packet reaches a host; a corrupt one is not what anybody may rely on.
  void delivered(std::span<const std::byte> packet);

 private:
  // One direction of one connection, as far as the wire tells. Numbers count from its SYN.
  struct stream {
    bool open = false;
    bool mixed = false;  ///< more than one connection under this name
    std::uint32_t isn = 0;
    std::uint8_t shift = 0;
    bool scales = false;
    std::int64_t sent_end = 0;       ///< past the last octet that was sent
    std::int64_t arrived_end = 0;    ///< past the last octet that has reached the other host
    std::int64_t acknowledged = -1;  ///< the highest number that its receiver has sent
    std::int64_t promised = -1;      ///< right edge of the window that its receiver has sent
    std::int64_t allowed = -1;       ///< right edge that has reached its sender
    bool has_clock = false;
    std::uint32_t clock = 0;  ///< the newest timestamp that its sender has sent
  };
  struct key {
    weir::endpoint from, to;
    auto operator<=>(const key&) const = default;
  };
  static std::int64_t place(const stream& s, std::uint32_t number) {
    return s.sent_end +
           static_cast<std::int32_t>(number - (s.isn + static_cast<std::uint32_t>(s.sent_end)));
  }
  static std::int64_t edge_of(const stream& data, const stream& acks, std::uint32_t acknowledgment,
                              const weir::stack::wire::tcp_segment& segment);
  std::string check_data(const weir::stack::wire::tcp_segment& segment, stream& mine);
  std::string check_acknowledgment(const weir::stack::wire::tcp_segment& segment,
                                   const stream& mine, stream& theirs);

  std::map<key, stream> streams_;
};

}  // namespace sim_test

// Packets that a host sends to itself: copied, kept in order, bounded in number and bytes. They
// never touch a device (RFC 1122 3.2.1.3 g).
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "stack/base/parts.hpp"
#include "weir/stack/packets.hpp"

namespace weir::stack {

class loop_queue {
 public:
  struct looped_packet {
    std::vector<std::byte> bytes;
    receive_meta meta;
  };

  loop_queue(std::size_t max_packets, std::size_t max_bytes)
      : max_packets_(max_packets), max_bytes_(max_bytes) {}

  /// False: no room.
  bool push(part_list parts, const receive_meta& meta) {
    auto size = total_size(parts);
    if (packets_.size() >= max_packets_ || bytes_ + size > max_bytes_) return false;
    looped_packet packet;
    packet.meta = meta;
    packet.bytes.reserve(size);
    for (const auto& part : parts)
      packet.bytes.insert(packet.bytes.end(), part.begin(), part.end());
    bytes_ += size;
    packets_.push_back(std::move(packet));
    return true;
  }
  bool empty() const { return packets_.empty(); }
  looped_packet pop() {
    auto packet = std::move(packets_.front());
    packets_.pop_front();
    bytes_ -= packet.bytes.size();
    return packet;
  }

 private:
  std::size_t max_packets_, max_bytes_;
  std::size_t bytes_ = 0;
  std::deque<looped_packet> packets_;
};

}  // namespace weir::stack

// The way to the programs that had this queue of the device before, and still have flows: the
// newest first. Each is a packet socket; a frame is what the device would have given. Never waits.
#pragma once

#include <cstdint>
#include <vector>

#include "weir/stack/packets.hpp"

namespace weir::detail {

class predecessor_links final : public stack::packet_forwarder {
 public:
  /// The descriptors stay the caller's.
  explicit predecessor_links(std::vector<int> links) : links_(std::move(links)) {}

  bool forward(std::span<const std::byte> packet, const stack::receive_meta& meta) override;

  /// Nobody is left.
  bool ended() const { return at_ == links_.size(); }
  std::uint64_t forwarded() const { return forwarded_; }
  /// Dropped, because the link was full: as by a wire.
  std::uint64_t full() const { return full_; }

 private:
  std::vector<int> links_;
  std::size_t at_ = 0;
  std::uint64_t forwarded_ = 0, full_ = 0;
};

}  // namespace weir::detail

// Descriptors that travel with what a Unix socket carries: put into a message, and kept of one, up
// to what is expected.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>
#include <vector>

#include "weir/descriptor.hpp"

namespace weir::detail {

/// Room for what one message may bring: descriptors, and who sent it.
struct control_room {
  static constexpr std::size_t credentials = CMSG_SPACE(sizeof(ucred));
  alignas(cmsghdr) std::byte bytes[credentials + CMSG_SPACE(sizeof(int) * 253)];
};

/// `message` passes these, by `room`.
void pass(std::span<const int> descriptors, control_room& room, msghdr& message);

class passed_descriptors {
 public:
  std::size_t expected() const { return expected_; }
  void expect(std::size_t most);
  /// What is more than expected is closed.
  void keep(const msghdr& message);
  std::vector<unique_fd> take();

 private:
  std::size_t expected_ = 0;
  std::vector<unique_fd> kept_;
};

}  // namespace weir::detail

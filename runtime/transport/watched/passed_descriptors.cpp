// SCM_RIGHTS, out and in.
#include "runtime/transport/watched/passed_descriptors.hpp"

#include <cstring>
#include <utility>

namespace weir::detail {

void pass(std::span<const int> descriptors, control_room& room, msghdr& message) {
  message.msg_control = room.bytes;
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  std::memset(room.bytes, 0, message.msg_controllen);
  auto* said = CMSG_FIRSTHDR(&message);
  said->cmsg_level = SOL_SOCKET;
  said->cmsg_type = SCM_RIGHTS;
  said->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(said), descriptors.data(), descriptors.size_bytes());
}

void passed_descriptors::expect(std::size_t most) {
  kept_.reserve(most);
  expected_ = most;
}

void passed_descriptors::keep(const msghdr& message) {
  auto& of = const_cast<msghdr&>(message);
  for (auto* said = CMSG_FIRSTHDR(&of); said != nullptr; said = CMSG_NXTHDR(&of, said)) {
    if (said->cmsg_level != SOL_SOCKET || said->cmsg_type != SCM_RIGHTS) continue;
    const auto count = (said->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number;
      std::memcpy(&number, CMSG_DATA(said) + i * sizeof number, sizeof number);
      unique_fd came(number);
      if (kept_.size() < expected_) kept_.push_back(std::move(came));
    }
  }
}

std::vector<unique_fd> passed_descriptors::take() {
  std::vector<unique_fd> taken;
  taken.swap(kept_);
  kept_.reserve(expected_);
  return taken;
}

}  // namespace weir::detail

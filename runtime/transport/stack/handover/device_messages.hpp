// What two programs say to each other when one hands a device over to the other: messages of a
// packet socket (SOCK_SEQPACKET), each a text of lines and some descriptors.
//
//   who asks                 who has the device
//   (connects)
//                            "weir device 1", the facts line by line   [the listening socket]
//                            "queue 0"   [the queue, the link to it, the links to those before it]
//                            "queue 1" ...
//   "take"
//                            "yours": it reads the device no more
//
// Whoever asks may go at any time: nothing has changed then.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/descriptor.hpp"
#include "weir/stack/result.hpp"

namespace weir::detail {

/// What is true of the device and the stack on it.
struct device_facts {
  /// Keys of the configuration that both programs must give the same value, in any order of
  /// programs' making; text of one line.
  std::vector<std::pair<std::string, std::string>> agreed;
  unsigned queues = 1;
  bool checksum_offload = false, segmentation_offload = false;
  std::array<std::uint8_t, 32> secret{};

  std::string to_message() const;
  /// Nothing: it is no such message.
  static std::optional<device_facts> parse(std::string_view message);
};

/// "full": nothing is handed over, since too many have flows of the device already.
inline constexpr std::string_view take_word = "take", yours_word = "yours", full_word = "full";

struct device_message {
  std::string text;
  std::vector<unique_fd> descriptors;
};

std::error_code send_message(int socket, std::string_view text,
                             std::span<const int> descriptors = {});
/// Errors: connection_aborted (the other side has gone), operation_would_block (also where the
/// socket's time is over).
result<device_message> receive_message(int socket);

/// Whether the other end of this socket is of the same user, or root.
bool peer_may_share(int socket);

}  // namespace weir::detail

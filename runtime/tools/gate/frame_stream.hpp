// Ethernet frames over a Unix stream, as QEMU's `-netdev stream` and passt's callers speak it: four
// bytes of length in network order, then the frame. To the stack it is a packet device; a virtual
// machine is at its other end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "weir/shard.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"
#include "weir/unix.hpp"

namespace weir::gate {

class frame_stream : public std::enable_shared_from_this<frame_stream> {
 public:
  /// Bytes that wait for a machine that does not read, behind a write of as many that is under way.
  /// Frames beyond are dropped, as a device's queue drops them; the stack sends them again.
  static constexpr std::size_t most_waiting = std::size_t{1} << 20;

  frame_stream(shard& here, std::uint16_t mtu);

  /// The stack's end, of which there is one.
  std::unique_ptr<detail::packet_port> open_port(detail::packet_receiver& receiver);
  /// Carries frames both ways until the machine ends, or sends what is none. Gives what to say of
  /// it: nothing of an orderly end. One at a time.
  task<std::string> carry(unix_stream& machine);

 private:
  class port;

  task<std::string> take_frames(unix_stream& machine);
  task<> send_frames(unix_stream& machine);
  /// Hands out all whole frames; gives the bytes that they took, or says what is wrong.
  std::size_t deliver(std::span<std::byte> bytes, std::string& why);
  bool send(std::span<const std::span<const std::byte>> parts);

  shard& here_;
  std::size_t longest_;  // frame
  detail::packet_receiver* receiver_ = nullptr;
  bool connected_ = false;
  std::vector<std::byte> waiting_;
  event some_wait_;
  detail::packet_port_counters counters_;
};

}  // namespace weir::gate

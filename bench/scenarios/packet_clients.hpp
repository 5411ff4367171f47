// Clients by the packet: a socket on a network device through which whole IPv4/TCP packets are sent
// and seen, from any address, without a kernel socket each. For loads that a kernel's clients
// cannot make: a million connections, a flood of forged SYNs. Only inside a private network.
#pragma once

#include <linux/if_packet.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stack/wire/tcp.hpp"

namespace weir::bench {

/// Sends in batches and never blocks; what the device has no room for is dropped, as on a wire, and
/// counted.
class packet_clients {
 public:
  static constexpr std::size_t batch = 64;
  static constexpr std::size_t packet_limit = 256;  // bytes; what we send and need to see is short

  /// `hears`: receive() sees what comes; without it, it costs whoever sends nothing. Throws
  /// std::system_error that names the device.
  explicit packet_clients(const std::string& device, bool hears = true);
  ~packet_clients();
  packet_clients(const packet_clients&) = delete;
  packet_clients& operator=(const packet_clients&) = delete;

  /// Queues one segment (flags, numbers, options and addresses as given); sent with its batch.
  void send(const stack::wire::tcp_segment& segment, std::span<const std::byte> payload = {});
  void flush();
  /// The TCP segments that the other end sent since the last call, at most a batch; their payload
  /// is valid until the next call. Waits up to `wait_ms` for the first.
  std::span<const stack::wire::tcp_segment> receive(int wait_ms);

  std::uint64_t sent() const { return sent_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  sockaddr_ll to_{};
  int fd_ = -1;
  std::vector<std::byte> out_, in_;
  std::vector<std::size_t> lengths_;
  std::vector<stack::wire::tcp_segment> seen_;
  std::uint64_t sent_ = 0, dropped_ = 0;
};

/// Resident bytes of a process; throws std::system_error.
std::uint64_t resident_bytes(int pid);

}  // namespace weir::bench

// One queue of a packet device (TUN) in Asio's reactor. Reads when the device is readable, one
// frame per read(2), up to a bound per turn; writes at once. The descriptor is the caller's: it is
// taken out of the reactor, never closed.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "runtime/driver/asio/watched_descriptor.hpp"
#include "runtime/driver/frame_batch.hpp"

namespace weir::detail {

class asio_packet_port final : public packet_port {
 public:
  static result<std::unique_ptr<packet_port>> open(asio_driver& driver, int device,
                                                   std::size_t frame_limit,
                                                   packet_receiver& receiver);
  ~asio_packet_port() override;

  bool send(std::span<const std::span<const std::byte>> parts) override;
  const packet_port_counters& counters() const override { return counters_; }
  bool stop_reading() override;
  void resume_reading() override;

 private:
  /// Frames read in one go. The rest waits in the device for the next turn.
  static constexpr unsigned frames_per_turn = 128;

  class reader;

  asio_packet_port(asio_driver& driver, std::size_t frame_limit, packet_receiver& receiver);
  void read_frames();
  void deliver();

  asio_driver* driver_;
  packet_receiver* receiver_;
  reader* reader_;
  frame_batch batch_;
  std::vector<iovec> parts_;
  bool stopped_ = false;
  packet_port_counters counters_;
};

}  // namespace weir::detail

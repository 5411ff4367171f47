// One queue of a packet device (TUN) through the ring. Frames come by a multishot read into a small
// pool of buffers; those that came together are handed to the receiver together and offered again
// at once; on kernels without it, by a poll and plain reads. Small frames leave as requests that
// the turn's one enter submits, long ones (super-segments) by writev(2), always in order.
#pragma once

#include <array>
#include <memory>

#include "runtime/driver/frame_batch.hpp"
#include "runtime/driver/uring/buffer_pool.hpp"
#include "runtime/driver/uring/uring_driver.hpp"

namespace weir::detail {

class uring_packet_port final : public packet_port, private ring_client {
 public:
  uring_packet_port(uring_driver& driver, int device, std::size_t frame_limit,
                    packet_receiver& receiver);
  ~uring_packet_port() override;

  bool send(std::span<const std::span<const std::byte>> parts) override;
  const packet_port_counters& counters() const override { return counters_; }
  bool stop_reading() override;
  void resume_reading() override;

 private:
  static constexpr std::size_t slot_bytes = 2048;  // what is longer is not copied
  static constexpr std::size_t slot_count = 256;
  static constexpr int reads_per_poll = 64;
  static constexpr int failures_in_row = 16;  // of reads, then the device is given up
  enum tag : unsigned { read_tag, poll_tag };

  struct slot : ring_client {
    slot() : ring_client(&uring_packet_port::on_written) {}
    uring_packet_port* port = nullptr;
    slot* next = nullptr;
    std::uint32_t size = 0;
    std::byte bytes[slot_bytes];
  };

  static void on_completed(ring_client& self, unsigned tag, std::int32_t result,
                           std::uint32_t flags) noexcept;
  static void on_written(ring_client& self, unsigned tag, std::int32_t result,
                         std::uint32_t flags) noexcept;
  void on_read(std::int32_t result, std::uint32_t flags) noexcept;
  void on_poll(std::int32_t result) noexcept;
  /// The next submission entry, for the device.
  io_uring_sqe& request(std::uint8_t opcode);
  void arm();
  void arm_or_give_up(int error) noexcept;
  bool queue_write(std::span<const std::span<const std::byte>> parts, std::size_t size);
  bool write_now(std::span<const std::span<const std::byte>> parts, std::size_t size);
  void deliver_held() noexcept;
  bool deliver_batch() noexcept;
  bool deliver(std::span<const std::span<const std::byte>> frames) noexcept;

  uring_driver& driver_;
  packet_receiver& receiver_;
  int device_;
  bool kept_;  // the ring's own file: requests need not look it up
  bool multishot_;
  bool armed_ = false;
  bool closing_ = false;
  bool stopped_ = false;  // or about to be: the read that is armed was cancelled
  bool failed_ = false;
  int failures_ = 0;
  std::unique_ptr<buffer_pool> buffers_;
  struct held_frame {
    unsigned buffer;
    std::size_t size;
  };
  std::array<held_frame, packet_receiver::max_frames> held_;  // of this turn, not delivered yet
  std::size_t held_count_ = 0;
  std::size_t run_frames_ = 0, run_bytes_ = 0;  // since it was last decided how many to offer
  frame_batch batch_;                           // what is read without the ring's buffers
  std::unique_ptr<slot[]> slots_;
  slot* free_slots_ = nullptr;
  std::size_t writing_ = 0;  // slots that the kernel may still read
  packet_port_counters counters_;
};

}  // namespace weir::detail

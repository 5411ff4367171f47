// A driver: where a shard's completions and its time come from (io_uring, Asio, a virtual clock).
// Also the packet ports through which a stack's packets pass, since they must go through the same
// ring or reactor.
//
// Everything but wake() is called from the shard's thread. A driver resumes no coroutine: what it
// finds goes to its clients (transports, packet ports), which complete operations, which fills the
// shard's ready queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include "weir/stack/result.hpp"
#include "weir/stack/time.hpp"

namespace weir::detail {

/// Gets packets as the device frames them (for TUN: a virtio_net_hdr, then the IP packet).
class packet_receiver {
 public:
  static constexpr std::size_t max_frames = 16;

  virtual ~packet_receiver() = default;
  /// Some frames in the order of their arrival: those that were there at once, at least one and at
  /// most `max_frames`. Valid during the call only.
  virtual void receive(std::span<const std::span<const std::byte>> frames) = 0;
  /// The device failed for good; nothing more will come.
  virtual void device_failed(std::error_code error) = 0;
  /// packet_port::stop_reading() has come true.
  virtual void reading_stopped() {}
};

/// What a port counts.
struct packet_port_counters {
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t send_failed = 0;  ///< the device refused (full, too long)
  std::uint64_t no_buffer = 0;    ///< reception paused for lack of buffers
  std::uint64_t cut_short = 0;    ///< turns that left frames unread, as far as the port can tell

  void add_received(std::span<const std::span<const std::byte>> frames) {
    frames_in += frames.size();
    for (auto frame : frames) bytes_in += frame.size();
  }
};

/// One queue of a packet device, read and written through a driver.
class packet_port {
 public:
  virtual ~packet_port() = default;
  /// Sends one frame, gathered from parts that are valid during the call only: a port copies what
  /// it queues, or writes at once. False when the device has no room.
  virtual bool send(std::span<const std::span<const std::byte>> parts) = 0;
  virtual const packet_port_counters& counters() const = 0;
  /// Whoever reads the device instead gets what comes next; what was read already is still
  /// received. True: from now on; else reading_stopped() follows, unless it is resumed before.
  virtual bool stop_reading() { return true; }
  virtual void resume_reading() {}
};

class file_caller;
class watch;
class watch_client;

class driver {
 public:
  virtual ~driver() = default;
  virtual std::string_view name() const = 0;
  /// The driver's clock: CLOCK_MONOTONIC, or virtual time.
  virtual instant now() = 0;
  /// One turn: submits what was queued; waits until `deadline` (not at all when that is past) for
  /// completions or a wake(); spins first where configured; hands the completions out.
  virtual void turn(instant deadline) = 0;
  /// Whether more may have come than the last turn handed out: another one, without a wait, tells.
  virtual bool behind() { return false; }
  /// Ends a wait, or the next one. Any thread.
  virtual void wake() noexcept = 0;
  /// Reads and writes frames on a non-blocking packet device (TUN). `receiver` outlives the port;
  /// `frame_limit` is the longest frame. The descriptor stays the caller's. The virtual driver
  /// takes the number of a simulated host's interface.
  virtual result<std::unique_ptr<packet_port>> open_packet_port(int device, std::size_t frame_limit,
                                                                packet_receiver& receiver) = 0;
  /// Tells `client`, which outlives the watch, when the descriptor is ready. It stays the caller's,
  /// who ends the watch before closing it.
  virtual result<std::unique_ptr<watch>> watch_descriptor(int fd, watch_client& client);
  /// The same, and the open file's flags stay as they are: others have it too.
  virtual result<std::unique_ptr<watch>> watch_shared(int fd, watch_client& client);
  /// Calls on files, where it can without holding the shard up; else null.
  virtual file_caller* file_calls() noexcept { return nullptr; }
  /// 64 bits that nobody can foretell; of the simulator, of its seed, and so the same in each run.
  virtual std::uint64_t draw_seed();
  /// System calls made so far by this driver and its clients, as counted in the code.
  virtual std::uint64_t system_calls() const { return 0; }

  // --- For a shard in a loop that is not its own (weir/loop.hpp): either the loop watches a
  // descriptor, or it calls.

  /// The descriptor, which stays the driver's. wake() makes it readable from now on.
  virtual result<int> loop_descriptor();
  /// From now on it becomes readable when a turn has something to hand out, too. True: there is
  /// something already, of which it need not tell.
  virtual bool descriptor_tells() { return false; }
  /// A turn begins: it is not readable, and tells no more.
  virtual void descriptor_rests() {}

  /// From now on the loop that this driver was made on calls `turn`: soon after anything was handed
  /// out and after wake(), and when the time has come that `turn` gave back (instant{}: soon).
  virtual std::error_code let_loop_call(std::function<instant()> turn);
  /// While it has work the loop does not end of itself.
  virtual void has_work(bool /*some*/) {}

  /// The other loop is over for this driver: turn() waits as it does elsewhere. No wake() is due.
  virtual void leave_loop() {}
};

}  // namespace weir::detail

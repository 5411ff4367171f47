// See asio_packet_port.hpp.
#include "runtime/driver/asio/asio_packet_port.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "runtime/driver/asio/asio_driver.hpp"

namespace weir::detail {

/// The reactor's side; outlives the port while a wait of it is under way.
class asio_packet_port::reader final : public watched_descriptor {
 public:
  reader(asio_driver& driver, asio_packet_port& port) : watched_descriptor(driver), port_(&port) {}
  void leave() noexcept {
    port_ = nullptr;
    release();
    drop();
  }

 private:
  void readable() override {
    if (port_ != nullptr) port_->read_frames();
  }
  void writable() override {}

  asio_packet_port* port_;
};

asio_packet_port::asio_packet_port(asio_driver& driver, std::size_t frame_limit,
                                   packet_receiver& receiver)
    : driver_(&driver),
      receiver_(&receiver),
      reader_(new reader(driver, *this)),
      batch_(frame_limit) {}

asio_packet_port::~asio_packet_port() { reader_->leave(); }

result<std::unique_ptr<packet_port>> asio_packet_port::open(asio_driver& driver, int device,
                                                            std::size_t frame_limit,
                                                            packet_receiver& receiver) {
  std::unique_ptr<asio_packet_port> port(new asio_packet_port(driver, frame_limit, receiver));
  if (auto error = port->reader_->assign(device)) return error;
  port->reader_->wait_readable();
  return std::unique_ptr<packet_port>(std::move(port));
}

bool asio_packet_port::stop_reading() { return stopped_ = true; }

void asio_packet_port::resume_reading() {
  if (std::exchange(stopped_, false)) reader_->wait_readable();
}

void asio_packet_port::read_frames() {
  if (stopped_) return;
  unsigned reads = 0;
  for (; reads < frames_per_turn; ++reads) {
    driver_->count_system_call();
    auto room = batch_.room();
    auto n = ::read(reader_->fd(), room.data(), room.size());
    const int error = errno;
    if (n > 0) {
      batch_.add(static_cast<std::size_t>(n));
      if (batch_.full()) deliver();
      continue;
    }
    if (n < 0 && error == EINTR) continue;
    if (n < 0 && error == EAGAIN) break;
    deliver();
    // The device is gone (deleted, its namespace went), or at its end.
    receiver_->device_failed({n < 0 ? error : ENODEV, std::generic_category()});
    return;
  }
  deliver();
  if (reads == frames_per_turn) ++counters_.cut_short;
  reader_->wait_readable();
}

void asio_packet_port::deliver() {
  const auto frames = batch_.frames();
  if (frames.empty()) return;
  counters_.add_received(frames);
  receiver_->receive(frames);
  batch_.clear();
}

bool asio_packet_port::send(std::span<const std::span<const std::byte>> parts) {
  parts_.clear();
  for (auto part : parts) parts_.push_back({const_cast<std::byte*>(part.data()), part.size()});
  ssize_t n;
  do {
    driver_->count_system_call();
    n = ::writev(reader_->fd(), parts_.data(), static_cast<int>(parts_.size()));
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    ++counters_.send_failed;
    return false;
  }
  ++counters_.frames_out;
  counters_.bytes_out += static_cast<std::uint64_t>(n);
  return true;
}

}  // namespace weir::detail

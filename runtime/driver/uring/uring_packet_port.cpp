// See uring_packet_port.hpp. A device that refuses a frame (full, too long, down) costs that frame,
// as a wire would; a device whose reads keep failing is reported once and left alone.
#include "runtime/driver/uring/uring_packet_port.hpp"

#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weir::detail {

namespace {

// The kernel goes through all buffers that it is offered, and what it touches should stay in the
// cache: a line or two of a small frame's buffer, all of a long one's. Too few, and the read ends
// in every turn. Docs: performance.md, "The device's buffers".
constexpr unsigned for_small_frames = 128, for_long_frames = 32;
constexpr std::size_t small_frame = 4096;  // on average

buffer_pool::shape pool_for(std::size_t frame_limit) {
  return {for_small_frames, for_small_frames, (frame_limit + 63) & ~std::size_t{63}};
}

}  // namespace

uring_packet_port::uring_packet_port(uring_driver& driver, int device, std::size_t frame_limit,
                                     packet_receiver& receiver)
    : ring_client(&uring_packet_port::on_completed),
      driver_(driver),
      receiver_(receiver),
      device_(device),
      kept_(driver.keep_file(device)),
      multishot_(driver.features().multishot_read),
      batch_(frame_limit),
      slots_(std::make_unique<slot[]>(slot_count)) {
  if (multishot_) buffers_ = std::make_unique<buffer_pool>(driver, pool_for(frame_limit));
  for (std::size_t i = 0; i < slot_count; ++i) {
    slots_[i].port = this;
    slots_[i].next = free_slots_;
    free_slots_ = &slots_[i];
  }
  arm();
}

uring_packet_port::~uring_packet_port() {
  closing_ = true;
  if (armed_) driver_.cancel(user_data(multishot_ ? read_tag : poll_tag));
  driver_.wait_for_kernel([this] { return !armed_ && writing_ == 0; });
  if (kept_) driver_.forget_file();
}

bool uring_packet_port::stop_reading() {
  stopped_ = true;
  if (armed_) driver_.cancel(user_data(multishot_ ? read_tag : poll_tag));
  return !armed_;
}

void uring_packet_port::resume_reading() {
  if (std::exchange(stopped_, false) && !armed_ && !failed_) arm();
}

io_uring_sqe& uring_packet_port::request(std::uint8_t opcode) {
  auto& entry = driver_.sqe();
  entry.opcode = opcode;
  entry.fd = kept_ ? uring_driver::kept_file : device_;
  entry.flags = kept_ ? IOSQE_FIXED_FILE : 0;
  return entry;
}

void uring_packet_port::arm() {
  if (multishot_) {
    buffers_->refill();
    auto& entry = request(uring::op_read_multishot);
    entry.off = static_cast<std::uint64_t>(-1);
    entry.flags |= IOSQE_BUFFER_SELECT;
    entry.buf_group = static_cast<std::uint16_t>(buffers_->group());
    entry.user_data = user_data(read_tag);
  } else {
    auto& entry = request(IORING_OP_POLL_ADD);
    entry.poll32_events = POLLIN;
    entry.user_data = user_data(poll_tag);
  }
  armed_ = true;
}

void uring_packet_port::on_completed(ring_client& client, unsigned tag, std::int32_t result,
                                     std::uint32_t flags) noexcept {
  auto& self = static_cast<uring_packet_port&>(client);
  if (tag == read_tag)
    self.on_read(result, flags);
  else
    self.on_poll(result);
}

bool uring_packet_port::deliver(std::span<const std::span<const std::byte>> frames) noexcept {
  if (closing_ || failed_) return false;
  if (frames.empty()) return true;
  failures_ = 0;
  counters_.add_received(frames);
  receiver_.receive(frames);
  return true;
}

bool uring_packet_port::deliver_batch() noexcept {
  const bool goes_on = deliver(batch_.frames());
  batch_.clear();
  return goes_on;
}

void uring_packet_port::deliver_held() noexcept {
  std::array<std::span<const std::byte>, packet_receiver::max_frames> frames;
  for (std::size_t i = 0; i < held_count_; ++i)
    frames[i] = {buffers_->data(held_[i].buffer), held_[i].size};
  deliver(std::span(frames).first(held_count_));
  for (std::size_t i = 0; i < held_count_; ++i) {
    buffers_->give_back(held_[i].buffer);
    run_bytes_ += held_[i].size;
  }
  run_frames_ += std::exchange(held_count_, 0u);
  if (run_frames_ >= for_long_frames) {
    const bool small = run_bytes_ <= run_frames_ * small_frame;
    buffers_->offer_at_most(small ? for_small_frames : for_long_frames);
    run_frames_ = run_bytes_ = 0;
  }
  if (buffers_->spares() * 2 >= buffers_->count()) buffers_->refill();
}

void uring_packet_port::on_read(std::int32_t result, std::uint32_t flags) noexcept {
  if ((flags & IORING_CQE_F_MORE) == 0) armed_ = false;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
    buffers_->taken(id);
    if (result > 0)
      held_[held_count_++] = {id, static_cast<std::size_t>(result)};
    else
      buffers_->give_back(id);
  }
  const bool more = armed_ && driver_.following() == user_data(read_tag);
  if (held_count_ == held_.size() || (held_count_ != 0 && !more)) deliver_held();
  if (armed_ || closing_ || failed_) return;
  if (stopped_) return receiver_.reading_stopped();
  if (result == -ENOBUFS) {
    ++counters_.no_buffer;
    ++counters_.cut_short;
    return arm();
  }
  if (counters_.frames_in == 0 &&
      (result == -EINVAL || result == -EOPNOTSUPP || result == -EBADFD)) {
    multishot_ = false;  // a device that cannot do it; if it is broken, plain reads will say so
    return arm();
  }
  // A device never ends its stream; what says so is not one.
  arm_or_give_up(result < 0 ? -result : result == 0 ? EIO : 0);
}

void uring_packet_port::on_poll(std::int32_t result) noexcept {
  armed_ = false;
  if (closing_ || failed_) return;
  if (stopped_) return receiver_.reading_stopped();
  int error = result < 0 ? -result : 0;
  int reads = 0;
  for (; error == 0 && reads < reads_per_poll; ++reads) {
    driver_.count_system_calls();
    const auto room = batch_.room();
    auto n = ::read(device_, room.data(), room.size());
    if (n > 0) {
      batch_.add(static_cast<std::size_t>(n));
      if (batch_.full() && !deliver_batch()) return;
    } else {
      if (n == 0)
        error = EIO;
      else if (errno != EAGAIN)
        error = errno;
      break;
    }
  }
  if (!deliver_batch()) return;
  if (reads == reads_per_poll) ++counters_.cut_short;
  arm_or_give_up(error);
}

void uring_packet_port::arm_or_give_up(int error) noexcept {
  bool transient = error == EAGAIN || error == EINTR || error == ECANCELED || error == ENOMEM ||
                   error == EINVAL || error == EIO;
  if (error != 0 && (!transient || ++failures_ >= failures_in_row)) {
    failed_ = true;
    receiver_.device_failed(std::error_code(error, std::generic_category()));
    return;
  }
  arm();
}

bool uring_packet_port::send(std::span<const std::span<const std::byte>> parts) {
  std::size_t size = 0;
  for (auto part : parts) size += part.size();
  if (failed_ || size == 0) {
    ++counters_.send_failed;
    return false;
  }
  if (size <= slot_bytes && free_slots_ != nullptr) return queue_write(parts, size);
  if (writing_ != 0) driver_.flush();  // what was queued before goes first
  return write_now(parts, size);
}

bool uring_packet_port::queue_write(std::span<const std::span<const std::byte>> parts,
                                    std::size_t size) {
  auto& s = *free_slots_;
  free_slots_ = s.next;
  auto* at = s.bytes;
  for (auto part : parts) {
    if (part.empty()) continue;
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  s.size = static_cast<std::uint32_t>(size);
  auto& entry = request(IORING_OP_WRITE);
  entry.addr = reinterpret_cast<std::uint64_t>(s.bytes);
  entry.len = s.size;
  entry.off = static_cast<std::uint64_t>(-1);
  entry.user_data = s.user_data(0);
  ++writing_;
  return true;
}

void uring_packet_port::on_written(ring_client& client, unsigned, std::int32_t result,
                                   std::uint32_t) noexcept {
  auto& s = static_cast<slot&>(client);
  auto& self = *s.port;
  if (result == static_cast<std::int32_t>(s.size)) {
    ++self.counters_.frames_out;
    self.counters_.bytes_out += s.size;
  } else {
    ++self.counters_.send_failed;
  }
  --self.writing_;
  s.next = self.free_slots_;
  self.free_slots_ = &s;
}

bool uring_packet_port::write_now(std::span<const std::span<const std::byte>> parts,
                                  std::size_t size) {
  constexpr std::size_t most = 80;  // as many as the transport gathers
  std::array<iovec, most> vectors;
  std::size_t n = 0;
  for (auto part : parts) {
    if (part.empty()) continue;
    if (n == most) {
      ++counters_.send_failed;
      return false;
    }
    vectors[n++] = {const_cast<std::byte*>(part.data()), part.size()};
  }
  ssize_t written = 0;
  do {
    driver_.count_system_calls();
    written = ::writev(device_, vectors.data(), static_cast<int>(n));
  } while (written < 0 && errno == EINTR);
  if (written != static_cast<ssize_t>(size)) {
    ++counters_.send_failed;
    return false;
  }
  ++counters_.frames_out;
  counters_.bytes_out += size;
  return true;
}

}  // namespace weir::detail

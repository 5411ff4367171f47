// See buffer_pool.hpp.
#include "runtime/driver/uring/buffer_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "runtime/backend/limits.hpp"
#include "runtime/driver/uring/uring_driver.hpp"
#include "weir/error.hpp"

namespace weir::detail {

namespace {

// Buffers of a power of two would all begin in the same few sets of a cache, and small messages
// touch nothing but the beginnings.
constexpr std::size_t apart = 192;

void* map(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw io_error(std::make_error_code(std::errc::not_enough_memory), "receive buffers");
  return memory;
}

}  // namespace

buffer_pool::buffer_pool(uring_driver& driver, shape wanted)
    : driver_(driver),
      size_(wanted.size),
      stride_(wanted.size + apart),
      count_(wanted.count),
      in_ring_(wanted.in_ring),
      at_most_(wanted.in_ring),
      depth_(wanted.least_in_ring, wanted.in_ring),
      spare_(wanted.count) {
  assert(count_ <= 32768 && in_ring_ <= count_ && (in_ring_ & (in_ring_ - 1)) == 0);
  memory_ = static_cast<std::byte*>(map(stride_ * count_));
  for (unsigned id = count_; id > 0; --id) give_back(id - 1);
  if (!driver_.features().buffer_rings) return;
  group_ = driver_.new_buffer_group();
  ring_ = static_cast<io_uring_buf_ring*>(map(in_ring_ * sizeof(io_uring_buf)));
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(ring_);
  registration.ring_entries = in_ring_;
  registration.bgid = static_cast<std::uint16_t>(group_);
  if (int error = driver_.register_with_ring(IORING_REGISTER_PBUF_RING, &registration, 1);
      error < 0) {
    ::munmap(ring_, in_ring_ * sizeof(io_uring_buf));
    ::munmap(memory_, stride_ * count_);
    throw io_error(std::error_code(-error, std::generic_category()),
                   "io_uring_register_buf_ring (" + limit_on_locked_memory() + ")");
  }
  io_uring_buf_ring_init(ring_);
  refill();
}

buffer_pool::~buffer_pool() {
  if (ring_ != nullptr) {
    io_uring_buf_reg registration{};
    registration.bgid = static_cast<std::uint16_t>(group_);
    driver_.register_with_ring(IORING_UNREGISTER_PBUF_RING, &registration, 1);
    ::munmap(ring_, in_ring_ * sizeof(io_uring_buf));
  }
  ::munmap(memory_, stride_ * count_);
}

std::optional<unsigned> buffer_pool::take() noexcept {
  if (spares_ == 0) return std::nullopt;
  return spare_[--spares_];
}

void buffer_pool::refill() noexcept {
  depth_.used(std::exchange(taken_, 0u));
  const auto wanted = std::min(depth_.depth(), at_most_);
  if (ring_ == nullptr || offered_ >= wanted || spares_ == 0) return;
  unsigned n = std::min(wanted - offered_, spares_);
  int mask = static_cast<int>(in_ring_ - 1);
  for (unsigned i = 0; i < n; ++i) {
    auto id = spare_[--spares_];
    io_uring_buf_ring_add(ring_, data(id), static_cast<unsigned>(size_), id, mask,
                          static_cast<int>(i));
  }
  io_uring_buf_ring_advance(ring_, static_cast<int>(n));
  offered_ += n;
}

}  // namespace weir::detail

// A descriptor in Asio's reactor: at most one wait for reading and one for writing, each with its
// handler in memory of the descriptor's own, so that waiting allocates nothing. Transfers nothing
// itself.
//
// Life: counted references. The owner holds one, each wait that is under way another, because Asio
// hands an ended wait's handler back only later, from a turn of the driver, or throws it away when
// the io_context goes. So an owner may drop its reference at any time: the object goes when the
// last handler has.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <new>
#include <system_error>
#include <utility>

namespace weir::detail {

class asio_driver;

/// Memory for one handler at a time. What does not fit, or comes while it is taken, goes to the
/// heap and is counted.
class handler_slot {
 public:
  handler_slot() = default;
  handler_slot(const handler_slot&) = delete;

  void* allocate(std::size_t size) {
    if (!taken_ && size <= sizeof storage_) {
      taken_ = true;
      return storage_;
    }
    ++from_heap_;
    return ::operator new(size);
  }
  void deallocate(void* memory) noexcept {
    if (memory == storage_)
      taken_ = false;
    else
      ::operator delete(memory);
  }
  std::uint64_t from_heap() const { return from_heap_; }

 private:
  alignas(std::max_align_t) std::byte storage_[192];
  bool taken_ = false;
  std::uint64_t from_heap_ = 0;
};

template <class T>
struct slot_allocator {
  using value_type = T;

  explicit slot_allocator(handler_slot& s) : slot(&s) {}
  template <class U>
  slot_allocator(const slot_allocator<U>& other) : slot(other.slot) {}
  T* allocate(std::size_t n) { return static_cast<T*>(slot->allocate(n * sizeof(T))); }
  void deallocate(T* memory, std::size_t) noexcept { slot->deallocate(memory); }
  template <class U>
  bool operator==(const slot_allocator<U>& other) const {
    return slot == other.slot;
  }

  handler_slot* slot;
};

class watched_descriptor {
 public:
  explicit watched_descriptor(asio_driver& driver);
  watched_descriptor(const watched_descriptor&) = delete;
  watched_descriptor& operator=(const watched_descriptor&) = delete;

  /// Takes `fd` into the reactor. On an error it is still the caller's.
  std::error_code assign(int fd);
  /// -1 once it was closed or released.
  int fd() const { return fd_; }

  /// readable() or writable() follows, once, from a turn of the driver. Asking again meanwhile
  /// changes nothing.
  void wait_readable();
  void wait_writable();

  /// Takes the descriptor out of the reactor, without or with closing it. No readable() or
  /// writable() comes any more.
  int release() noexcept;
  void close() noexcept;

  void retain() noexcept { ++references_; }
  void drop() noexcept {
    if (--references_ == 0) delete this;
  }
  /// Handlers that did not fit into their slots.
  std::uint64_t heap_handlers() const {
    return reading_.slot.from_heap() + writing_.slot.from_heap();
  }

 protected:
  /// Also at an error or a hang-up; may come without a cause.
  virtual void readable() = 0;
  virtual void writable() = 0;
  virtual ~watched_descriptor() = default;

  asio_driver& driver() const { return *driver_; }

 private:
  /// One direction.
  struct direction {
    handler_slot slot;
    bool waiting = false;
  };

  /// What Asio keeps during a wait.
  class handler {
   public:
    using allocator_type = slot_allocator<handler>;

    handler(watched_descriptor& target, bool reads) : target_(&target), reads_(reads) {
      target.retain();
    }
    handler(const handler& other) : target_(other.target_), reads_(other.reads_) {
      target_->retain();
    }
    handler(handler&& other) noexcept
        : target_(std::exchange(other.target_, nullptr)), reads_(other.reads_) {}
    ~handler() {
      if (target_ != nullptr) target_->drop();
    }
    allocator_type get_allocator() const noexcept {
      return allocator_type(reads_ ? target_->reading_.slot : target_->writing_.slot);
    }
    void operator()(const std::error_code&) const { target_->waited(reads_); }

   private:
    watched_descriptor* target_;
    bool reads_;
  };

  void waited(bool reads);

  asio_driver* driver_;
  asio::posix::basic_stream_descriptor<asio::io_context::executor_type> descriptor_;
  int fd_ = -1;
  std::uint32_t references_ = 1;
  direction reading_;
  direction writing_;
};

}  // namespace weir::detail

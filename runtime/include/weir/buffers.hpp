// Buffers that are handed over instead of copied: what receive() lends, and what write_all() takes
// over. Both belong to one shard, are used and given back on its thread, and go before it does.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "weir/detail/home.hpp"

namespace weir {

/// Received bytes that the back end lends without a copy. They are given back when the object goes,
/// which is what lets the peer send more; hold few of them, and only for a short time. May outlive
/// its stream; must go before its shard does.
class lent_buffer {
 public:
  lent_buffer() = default;
  lent_buffer(detail::home& home, detail::lent_bytes lent) : home_(&home), lent_(lent) {}
  lent_buffer(lent_buffer&& other) noexcept
      : home_(std::exchange(other.home_, nullptr)), lent_(std::exchange(other.lent_, {})) {}
  lent_buffer& operator=(lent_buffer&& other) noexcept {
    if (this != &other) {
      release();
      home_ = std::exchange(other.home_, nullptr);
      lent_ = std::exchange(other.lent_, {});
    }
    return *this;
  }
  ~lent_buffer() { release(); }

  std::span<const std::byte> bytes() const { return {lent_.data, lent_.size}; }
  std::size_t size() const { return lent_.size; }
  /// False at the end of the stream.
  explicit operator bool() const { return lent_.size != 0; }
  void release() noexcept {
    if (home_ != nullptr && lent_.data != nullptr) home_->release(lent_);
    home_ = nullptr;
    lent_ = {};
  }

 private:
  friend class owned_buffer;
  detail::home* home_ = nullptr;
  detail::lent_bytes lent_;
};

/// Bytes to send, together with the duty to give their memory back: write_all() takes it over, and
/// the memory is free when the back end needs it no more. A received buffer becomes one without a
/// copy, so that what was received can be sent on as it is.
class owned_buffer {
 public:
  /// Must not throw and must not call weir: it runs in the middle of its work, on the shard's
  /// thread, once.
  using release_function = void (*)(void* context) noexcept;

  owned_buffer() = default;
  /// Memory of the caller's, which stays as it is until `give_back(context)` is called.
  owned_buffer(std::span<const std::byte> bytes, release_function give_back, void* context)
      : bytes_(bytes), release_(give_back), context_(context) {}
  /// The first `size` bytes of `memory`.
  owned_buffer(std::unique_ptr<std::byte[]> memory, std::size_t size)
      : bytes_(memory.get(), size), release_(&owned_buffer::destroy), context_(memory.release()) {}
  owned_buffer(lent_buffer&& lent) noexcept
      : bytes_(lent.bytes()),
        home_(std::exchange(lent.home_, nullptr)),
        lent_(std::exchange(lent.lent_, {})) {}
  owned_buffer(owned_buffer&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})),
        release_(std::exchange(other.release_, nullptr)),
        context_(std::exchange(other.context_, nullptr)),
        home_(std::exchange(other.home_, nullptr)),
        lent_(std::exchange(other.lent_, {})) {}
  owned_buffer& operator=(owned_buffer&& other) noexcept {
    if (this != &other) {
      release();
      bytes_ = std::exchange(other.bytes_, {});
      release_ = std::exchange(other.release_, nullptr);
      context_ = std::exchange(other.context_, nullptr);
      home_ = std::exchange(other.home_, nullptr);
      lent_ = std::exchange(other.lent_, {});
    }
    return *this;
  }
  ~owned_buffer() { release(); }

  std::span<const std::byte> bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  explicit operator bool() const { return !bytes_.empty(); }
  /// Leaves out the first or the last `n` bytes, at most all; the memory is kept whole.
  void remove_prefix(std::size_t n) { bytes_ = bytes_.subspan(n < size() ? n : size()); }
  void remove_suffix(std::size_t n) { bytes_ = bytes_.first(n < size() ? size() - n : 0); }

  /// Gives the memory back without sending it.
  void release() noexcept {
    if (release_ != nullptr) release_(context_);
    if (home_ != nullptr && lent_.data != nullptr) home_->release(lent_);
    bytes_ = {};
    release_ = nullptr;
    context_ = nullptr;
    home_ = nullptr;
    lent_ = {};
  }

  /// For homes: what of it was lent; data is null where nothing was.
  const detail::lent_bytes& lent() const { return lent_; }
  /// Whose it is: what one network lent may be written to another, and goes back to the first.
  detail::home* home() const { return home_; }
  release_function release_with() const { return release_; }
  void* context() const { return context_; }
  /// For homes: from here on `lent` stands for the memory, and its release for the caller's.
  void entrust(detail::home& home, const detail::lent_bytes& lent) noexcept {
    release_ = nullptr;
    context_ = nullptr;
    home_ = &home;
    lent_ = lent;
  }

 private:
  static void destroy(void* memory) noexcept { delete[] static_cast<std::byte*>(memory); }

  std::span<const std::byte> bytes_;
  release_function release_ = nullptr;
  void* context_ = nullptr;
  detail::home* home_ = nullptr;
  detail::lent_bytes lent_;
};

}  // namespace weir

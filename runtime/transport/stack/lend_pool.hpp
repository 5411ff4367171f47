// Buffers that receive() lends. A bounded number of them, made when first needed, reused last in,
// first out (the hottest first); when all are lent, whoever wants one waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace weir::detail {

class lend_pool {
 public:
  static constexpr std::size_t buffer_size = 16 * 1024;
  static constexpr std::size_t max_buffers = 1024;

  /// nullptr when all are lent.
  std::byte* take() {
    if (free_.empty()) {
      if (all_.size() >= max_buffers) {
        ++exhausted_;
        return nullptr;
      }
      all_.push_back(std::make_unique_for_overwrite<std::byte[]>(buffer_size));
      free_.reserve(all_.size());
      return all_.back().get();
    }
    auto* out = free_.back();
    free_.pop_back();
    return out;
  }
  void give_back(std::byte* buffer) noexcept { free_.push_back(buffer); }
  bool available() const { return !free_.empty() || all_.size() < max_buffers; }
  std::size_t lent() const { return all_.size() - free_.size(); }
  std::uint64_t exhausted() const { return exhausted_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> all_;
  std::vector<std::byte*> free_;
  std::uint64_t exhausted_ = 0;
};

}  // namespace weir::detail

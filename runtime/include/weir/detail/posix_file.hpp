// An open file of the machine's, by its descriptor: system calls that block, but for read_now(). By
// value where whoever answers with a file must not allocate for it.
#pragma once

#include "weir/descriptor.hpp"
#include "weir/detail/file_system.hpp"

namespace weir::detail {

class posix_file final : public file_handle {
 public:
  posix_file() = default;
  /// A regular one is open without O_NONBLOCK, or the pool may have to do what a driver could.
  posix_file(unique_fd fd, bool regular) : fd_(std::move(fd)), regular_(regular) {}

  std::error_code read_at(std::span<std::byte> into, std::uint64_t offset, std::size_t& n) override;
  bool read_now(std::span<std::byte> into, std::uint64_t offset, std::size_t& n) noexcept override;
  std::error_code write_at(std::span<const std::byte> bytes, std::uint64_t offset,
                           std::size_t& n) override;
  std::error_code append(std::span<const std::byte> bytes, std::size_t& n) override;
  std::error_code sync() override;
  std::error_code resize(std::uint64_t size) override;
  std::error_code status(file_status& out) override;
  int native_handle() const noexcept override { return fd_.get(); }
  int callable() const noexcept override { return regular_ ? fd_.get() : -1; }

 private:
  unique_fd fd_;
  bool regular_ = false;
};

}  // namespace weir::detail

// Files through the ring: calls on open files and on paths. What lies in the page cache the kernel
// does at once; the rest it waits for itself where the file system can, else, and for most calls on
// paths, it hands it to workers of its own, which are bounded here. What this kernel's ring has no
// operation for is the pool's.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/driver/uring/uring_driver.hpp"
#include "weir/detail/offloading.hpp"

namespace weir::detail {

class uring_file_calls final : public file_caller {
 public:
  /// Under way at once; beyond, the pool of offload() is asked.
  static constexpr std::size_t most = 64;

  /// `workers`: threads of the kernel that may wait for files of this ring.
  uring_file_calls(uring_driver& driver, unsigned workers);

  bool start(offload_operation& op, const file_call& call) noexcept override;
  void cancel(offload_operation& op) noexcept override;
  counters counts() const noexcept override { return counters_; }

 private:
  struct slot : ring_client {
    slot() : ring_client(&uring_file_calls::on_completed) {}
    uring_file_calls* owner = nullptr;
    offload_operation* op = nullptr;
    file_call call{};
    bool begun = false;  // some of it was carried out
    slot* next = nullptr;
  };

  bool has_operation_for(const file_call& call) const noexcept;
  void submit(slot& s) noexcept;
  static void on_completed(ring_client& client, unsigned tag, std::int32_t result,
                           std::uint32_t flags) noexcept;
  void over(slot& s, std::int32_t result) noexcept;

  uring_driver& driver_;
  std::array<slot, most> slots_;
  slot* free_ = nullptr;
  counters counters_;
};

}  // namespace weir::detail

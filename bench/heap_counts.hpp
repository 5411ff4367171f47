// The page that a measured server counts its heap allocations in (see heap_counter.cpp), held by
// weir-bench. Exact, and cheap enough to change nothing but the allocations themselves.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace weir::bench {

inline constexpr const char* heap_page_variable = "WEIR_BENCH_HEAP_PAGE";

class heap_counts {
 public:
  /// `bin_dir` holds the counter. Without it, or without memory files, nothing is counted.
  explicit heap_counts(const std::string& bin_dir) : library_(bin_dir + "/weir-bench-heap.so") {
    if (::access(library_.c_str(), R_OK) != 0) return;
    fd_ = ::memfd_create("heap-counts", 0);  // inherited
    if (fd_ < 0 || ::ftruncate(fd_, sizeof(counter)) != 0) return;
    void* page = ::mmap(nullptr, sizeof(counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (page != MAP_FAILED) count_ = static_cast<counter*>(page);
  }
  ~heap_counts() {
    if (count_ != nullptr) ::munmap(count_, sizeof(counter));
    if (fd_ >= 0) ::close(fd_);
  }
  heap_counts(const heap_counts&) = delete;
  heap_counts& operator=(const heap_counts&) = delete;

  bool works() const { return count_ != nullptr; }
  std::uint64_t now() const { return works() ? count_->load(std::memory_order_relaxed) : 0; }
  /// What the server's environment has to hold beside our own.
  std::vector<std::string> environment() const {
    if (!works()) return {};
    return {"LD_PRELOAD=" + library_, heap_page_variable + ("=" + std::to_string(fd_))};
  }

 private:
  using counter = std::atomic<std::uint64_t>;
  std::string library_;
  int fd_ = -1;
  counter* count_ = nullptr;
};

}  // namespace weir::bench

// What the layers above the sockets count of themselves (HTTP, TLS), for whoever shows a shard.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace weir {
class shard;
}

namespace weir::detail {

/// Of a shard: shard.local<shown_counts>(). Numbers of one name, of several servers or contexts,
/// are shown as their sum.
class shown_counts {
 public:
  struct number {
    std::string_view group, name, help;  ///< static
    std::uint64_t value = 0;
    bool level = false;  ///< goes up and down; else it only grows
  };
  using numbers = std::vector<number>;
  using teller = void (*)(const void* of, numbers& out);

  explicit shown_counts(shard&) {}
  shown_counts(const shown_counts&) = delete;
  shown_counts& operator=(const shown_counts&) = delete;

  /// `of` is shown as long as anybody else holds it. What only grows stays counted afterwards.
  void add(std::shared_ptr<const void> of, teller tell);
  numbers read();

 private:
  struct source {
    std::shared_ptr<const void> of;
    teller tell;
  };
  void fold_those_gone();

  std::vector<source> sources_;
  std::size_t fold_at_ = 64;  // sources
  numbers gone_;
};

}  // namespace weir::detail

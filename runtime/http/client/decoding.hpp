// An answer's body, decompressed as it is read.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "runtime/http/coding/coding.hpp"
#include "weir/http/body.hpp"

namespace weir::http::detail {

class decoding final : public body_source {
 public:
  /// More than `most_expansion` times what came is refused, beyond the first MiB.
  decoding(coding what, body_reader from, std::uint64_t most_expansion)
      : by_(decoder::make(what)), from_(from), most_expansion_(most_expansion) {}

  task<std::span<const std::byte>> read_body() override;
  std::span<const field> body_trailers() const override { return from_.trailers(); }

 private:
  std::unique_ptr<decoder> by_;
  body_reader from_;
  std::uint64_t most_expansion_;
  std::uint64_t came_ = 0, given_ = 0;
  std::span<const std::byte> rest_;  // of the piece that came
  bool over_ = false;
  std::array<std::byte, 16 * 1024> block_;
};

}  // namespace weir::http::detail

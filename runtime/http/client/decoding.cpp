// Decompressing answers (decoding.hpp).
#include "runtime/http/client/decoding.hpp"

#include "weir/error.hpp"

namespace weir::http::detail {
namespace {

constexpr std::uint64_t unjudged = 1024 * 1024;  // bytes that may come of however few

io_error malformed(const char* what) {
  return {std::make_error_code(std::errc::protocol_error), what};
}

}  // namespace

task<std::span<const std::byte>> decoding::read_body() {
  while (!over_) {
    const auto before = rest_.size();
    const auto n = by_->read(rest_, block_);
    if (!n) throw malformed("http: an answer's body cannot be decompressed");
    if (*n != 0) {
      given_ += *n;
      if (given_ > unjudged && (most_expansion_ == 0 || given_ / most_expansion_ > came_))
        throw io_error(make_error_code(error::limit_exceeded),
                       "http: an answer's body grows out of all proportion");
      co_return std::span<const std::byte>(block_).first(*n);
    }
    if (!rest_.empty()) {
      if (rest_.size() == before) throw malformed("http: an answer's body cannot be decompressed");
      continue;
    }
    rest_ = co_await from_.read();
    came_ += rest_.size();
    over_ = rest_.empty();
    if (over_ && came_ != 0 && !by_->complete())
      throw malformed("http: an answer's compressed body ends too early");
  }
  co_return std::span<const std::byte>();
}

}  // namespace weir::http::detail

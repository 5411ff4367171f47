// Parts of files (file_block.hpp).
#include "runtime/http/files/file_block.hpp"

#include <chrono>

#include "weir/error.hpp"
#include "weir/file.hpp"
#include "weir/timing.hpp"

namespace weir::http {
namespace {

/// As weir::file's, of a descriptor that is no weir::file's.
struct block_call {
  using value = std::size_t;
  static constexpr const char* name = "file";
  const open_file* file;
  std::span<std::byte> into;
  std::uint64_t offset;
  std::error_code operator()(weir::detail::file_system&, value& n) {
    n = file->read_at(offset, into);
    return {};
  }
  std::optional<weir::detail::file_call::any> as_file_call(weir::detail::file_system&) const {
    return weir::detail::file_call::read{file->descriptor(), into, offset};
  }
  static std::error_code gave(weir::detail::file_system&, std::int32_t result, value& n) noexcept {
    n = static_cast<std::size_t>(result);
    return {};
  }
};

}  // namespace

task<std::size_t> read_block(const open_file& file, std::uint64_t offset,
                             std::span<std::byte> into) {
  auto n = file.read_now(offset, into);
  if (n == 0) {  // the disk has to be waited for
    using read = weir::detail::request<weir::detail::file_awaiter<block_call>>;
    auto got = co_await read({&file, into, offset}).nothrow();
    while (!got && got.error() == std::errc::resource_unavailable_try_again) {
      co_await sleep_for(std::chrono::milliseconds(5));  // many files at once: in turn
      got = co_await read({&file, into, offset}).nothrow();
    }
    if (!got) throw io_error(got.error(), "file");
    n = *got;
  }
  if (n == 0) throw io_error(std::make_error_code(std::errc::io_error), "file");
  co_return n;
}

}  // namespace weir::http

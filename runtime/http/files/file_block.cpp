// Parts of files (file_block.hpp).
#include "runtime/http/files/file_block.hpp"

#include <chrono>

#include "weir/error.hpp"
#include "weir/offload.hpp"
#include "weir/timing.hpp"

namespace weir::http {

task<std::size_t> read_block(const open_file& file, std::uint64_t offset,
                             std::span<std::byte> into) {
  auto n = file.read_now(offset, into);
  if (n == 0) {  // the disk has to be waited for
    auto read = [&] { return file.read_at(offset, into); };
    auto got = co_await offload(read).nothrow();
    while (!got && got.error() == std::errc::resource_unavailable_try_again) {
      co_await sleep_for(std::chrono::milliseconds(5));  // many files at once: in turn
      got = co_await offload(read).nothrow();
    }
    if (!got) throw io_error(got.error(), "file");
    n = *got;
  }
  if (n == 0) throw io_error(std::make_error_code(std::errc::io_error), "file");
  co_return n;
}

}  // namespace weir::http

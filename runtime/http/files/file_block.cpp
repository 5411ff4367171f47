// Parts of files (file_block.hpp).
#include "runtime/http/files/file_block.hpp"

#include "weir/error.hpp"
#include "weir/file.hpp"

namespace weir::http {

task<std::size_t> read_block(open_file& file, std::uint64_t offset, std::span<std::byte> into) {
  const auto n = co_await weir::detail::read_piece(file.handle(), into, offset);
  if (n == 0) ended_early();
  co_return n;
}

void ended_early() { throw io_error(std::make_error_code(std::errc::io_error), "file"); }

}  // namespace weir::http

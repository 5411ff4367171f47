// weir/file.hpp: what is no template.
#include "weir/detail/surroundings.hpp"
#include "weir/file.hpp"

namespace weir {

detail::file_system* detail::files_of(shard& here) noexcept { return here.around().files.get(); }

int file::native_handle() const {
  const int fd = here().native_handle();
  if (fd < 0)
    throw io_error(std::make_error_code(std::errc::operation_not_supported), "native_handle");
  return fd;
}

task<std::uint64_t> send_file(any_stream& to, file& from, std::uint64_t offset,
                              std::uint64_t length) {
  std::vector<std::byte> buffer(64 * 1024);
  std::uint64_t sent = 0;
  while (sent < length) {
    const auto want = std::min<std::uint64_t>(buffer.size(), length - sent);
    auto n = co_await from.read_at(std::span(buffer).first(want), offset + sent);
    if (n == 0) break;
    co_await to.write_all(std::span<const std::byte>(buffer).first(n));
    sent += n;
  }
  co_return sent;
}

}  // namespace weir

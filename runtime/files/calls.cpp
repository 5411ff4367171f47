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

}  // namespace weir

// The descriptors 0, 1 and 2 of this program as streams: copies of them, adopted as what they are.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/backend/local_transport.hpp"
#include "runtime/process/file_stream.hpp"
#include "weir/detail/surroundings.hpp"
#include "weir/process.hpp"

namespace weir {
namespace {

result<any_stream> try_standard(shard& here, int number) {
  assert(here.on_this_thread());
  auto* locals = here.around().locals.get();
  if (locals == nullptr || !locals->passes_descriptors()) return std::errc::operation_not_supported;
  unique_fd copy(::fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  struct stat file;
  if (!copy || ::fstat(copy.get(), &file) != 0)
    return std::error_code(errno, std::generic_category());
  if (S_ISREG(file.st_mode) || S_ISBLK(file.st_mode))
    return detail::file_stream::make(here, std::move(copy));
  if (!S_ISSOCK(file.st_mode)) return try_adopt_pipe(here, copy);
  auto adopted = locals->adopt_shared_socket(copy);
  if (!adopted) return adopted.error();
  return any_stream(**adopted);
}

any_stream standard(shard& here, int number, const char* name) {
  auto got = try_standard(here, number);
  if (!got) throw io_error(got.error(), name);
  return std::move(*got);
}

}  // namespace

result<any_stream> try_standard_input(shard& here) { return try_standard(here, STDIN_FILENO); }
result<any_stream> try_standard_output(shard& here) { return try_standard(here, STDOUT_FILENO); }
result<any_stream> try_standard_error(shard& here) { return try_standard(here, STDERR_FILENO); }
any_stream standard_input(shard& here) { return standard(here, STDIN_FILENO, "standard input"); }
any_stream standard_output(shard& here) { return standard(here, STDOUT_FILENO, "standard output"); }
any_stream standard_error(shard& here) { return standard(here, STDERR_FILENO, "standard error"); }

}  // namespace weir

// See write_only_port.hpp.
#include "runtime/transport/stack/write_only_port.hpp"

#include <sys/uio.h>

#include <array>
#include <cerrno>

namespace weir::detail {

bool write_only_port::send(std::span<const std::span<const std::byte>> parts) {
  constexpr std::size_t most = 80;  // as many as the transport gathers
  std::array<iovec, most> vectors;
  std::size_t count = 0, size = 0;
  for (auto part : parts) {
    if (part.empty()) continue;
    if (count == most) {
      ++counters_.send_failed;
      return false;
    }
    vectors[count++] = {const_cast<std::byte*>(part.data()), part.size()};
    size += part.size();
  }
  ssize_t written = 0;
  do written = ::writev(device_, vectors.data(), static_cast<int>(count));
  while (written < 0 && errno == EINTR);
  if (written != static_cast<ssize_t>(size)) {
    ++counters_.send_failed;
    return false;
  }
  ++counters_.frames_out;
  counters_.bytes_out += size;
  return true;
}

}  // namespace weir::detail

// See weir/service.hpp: sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3), as they are
// documented for programs that use no library.
#include "weir/service.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "weir/timing.hpp"

namespace weir {
namespace {

constexpr int first_descriptor = 3;  // SD_LISTEN_FDS_START
constexpr int most_descriptors = 1024;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::optional<std::int64_t> number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// Whether a variable that names a process means this one; `missing` where it is not set.
bool means_us(const char* name, bool missing) {
  const auto text = variable(name);
  return text.empty() ? missing : number(text) == ::getpid();
}

}  // namespace

service_manager service_manager::of_environment() {
  service_manager out;
  const auto count = number(variable("LISTEN_FDS"));
  if (means_us("LISTEN_PID", false) && count && *count <= most_descriptors) {
    auto names = variable("LISTEN_FDNAMES");
    for (int i = 0; i < *count; ++i) {
      const int fd = first_descriptor + i;
      const auto end = names.find(':');
      auto name = names.substr(0, end);
      names.erase(0, end == std::string::npos ? names.size() : end + 1);
      if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) continue;  // it is not there
      out.descriptors_.push_back({name.empty() ? "unknown" : name, unique_fd(fd)});
    }
  }
  out.notify_socket_ = variable("NOTIFY_SOCKET");
  if (const auto us = number(variable("WATCHDOG_USEC")); us && *us > 0 && *us <= INT64_MAX / 1000)
    if (means_us("WATCHDOG_PID", true)) out.watchdog_ = std::chrono::microseconds(*us);
  for (const auto* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
                           "WATCHDOG_PID", "WATCHDOG_USEC"})
    ::unsetenv(name);
  return out;
}

unique_fd service_manager::take(std::string_view name) {
  for (auto each = descriptors_.begin(); each != descriptors_.end(); ++each) {
    if (each->name != name) continue;
    auto fd = std::move(each->fd);
    descriptors_.erase(each);
    return fd;
  }
  return {};
}

std::error_code service_manager::notify(std::string_view state) const noexcept {
  if (notify_socket_.empty()) return {};
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (notify_socket_.size() >= sizeof to.sun_path)
    return std::make_error_code(std::errc::filename_too_long);
  std::memcpy(to.sun_path, notify_socket_.data(), notify_socket_.size());
  const auto size = offsetof(sockaddr_un, sun_path) + notify_socket_.size();
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
  unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return {errno, std::generic_category()};
  const auto sent = ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                             reinterpret_cast<const sockaddr*>(&to), static_cast<socklen_t>(size));
  return sent < 0 ? std::error_code(errno, std::generic_category()) : std::error_code();
}

task<> keep_watchdog(const service_manager& manager) {
  const auto every = manager.watchdog();
  if (every == no_limit) co_return;
  for (;;) {
    (void)manager.notify("WATCHDOG=1");
    co_await sleep_for(every / 2);
  }
}

}  // namespace weir

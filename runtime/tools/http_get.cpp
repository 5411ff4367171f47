// See http_get.hpp.
#include "runtime/tools/http_get.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "runtime/transport/kernel/kernel_socket.hpp"

namespace ss {
namespace {

using clock = std::chrono::steady_clock;
using weir::detail::kernel::unique_fd;

constexpr std::chrono::seconds patience{5};
constexpr std::size_t most_bytes = 256u << 20;

class connection {
 public:
  explicit connection(const weir::endpoint& to) : where_(to.to_string()) {
    weir::detail::kernel::socket_address address(to);
    fd_.reset(::socket(address.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) fail(errno);
    if (::connect(fd_.get(), address.data(), address.size) == 0) return;
    if (errno != EINPROGRESS) fail(errno);
    wait(POLLOUT);
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) fail(error);
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN)
        wait(POLLOUT);
      else if (n < 0)
        fail(errno);
      else
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  /// Until the end of the stream.
  std::string receive() {
    std::string out;
    char buffer[16384];
    for (;;) {
      auto n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n == 0) return out;
      if (n < 0 && errno != EAGAIN) fail(errno);
      if (n < 0) {
        wait(POLLIN);
        continue;
      }
      out.append(buffer, static_cast<std::size_t>(n));
      if (out.size() > most_bytes) throw get_error(fmt::format("{}: it says too much", where_));
    }
  }

 private:
  void wait(short what) {
    pollfd watched{fd_.get(), what, 0};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until_ - clock::now()).count();
    const auto n = left > 0 ? ::poll(&watched, 1, static_cast<int>(left)) : 0;
    if (n < 0 && errno != EINTR) fail(errno);
    if (n == 0) throw get_error(fmt::format("{}: no answer in {} s", where_, patience.count()));
  }

  [[noreturn]] void fail(int error) const {
    if (error == ECONNREFUSED)
      throw get_error(
          fmt::format("{}: nothing listens there; start the server with "
                      "--observe.listen {} (or WEIR_OBSERVE_LISTEN, or the file's "
                      "[observe] listen)",
                      where_, where_));
    throw get_error(fmt::format("{}: {}", where_, std::strerror(error)));
  }

  std::string where_;
  unique_fd fd_;
  clock::time_point until_ = clock::now() + patience;
};

}  // namespace

answer http_get(const weir::endpoint& from, const std::string& target) {
  connection to(from);
  to.send(fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target,
                      from.to_string()));
  const auto all = to.receive();
  const auto no_http = [&] {
    return get_error(fmt::format("{}: what listens there is no web server", from.to_string()));
  };
  constexpr std::string_view version = "HTTP/1.1 ";
  const auto end = all.find("\r\n\r\n");
  if (!all.starts_with(version) || end == std::string::npos) throw no_http();
  answer out;
  const auto* digits = all.data() + version.size();
  if (std::from_chars(digits, digits + 3, out.status).ec != std::errc()) throw no_http();
  out.body = all.substr(end + 4);
  return out;
}

}  // namespace ss

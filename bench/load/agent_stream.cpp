// Reading and writing of an agent's lines.
#include "load/agent_stream.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <system_error>

namespace weir::load {
namespace {

/// A socket's peer that has gone is an error here, and no signal.
ssize_t give(int fd, std::string_view text) {
  const auto n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  return n < 0 && errno == ENOTSOCK ? ::write(fd, text.data(), text.size()) : n;
}

}  // namespace

void agent_stream::say(const nlohmann::json& message) {
  const auto text = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (std::string_view left = text; !left.empty();) {
    const auto n = give(out_, left);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), "the other end");
    left.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool agent_stream::fill(std::optional<duration> limit) {
  using std::chrono::milliseconds;
  pollfd waits{in_, POLLIN, 0};
  const int ms = limit ? static_cast<int>(std::clamp<std::int64_t>(
                             std::chrono::ceil<milliseconds>(*limit).count(), 0, 1'000'000'000))
                       : -1;
  const int ready = ::poll(&waits, 1, ms);
  if (ready < 0 && errno == EINTR) return true;
  if (ready == 0) throw std::runtime_error("no answer in time");
  std::array<char, 65536> bytes;
  const auto n = ::read(in_, bytes.data(), bytes.size());
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;
  read_.append(bytes.data(), static_cast<std::size_t>(n));
  return true;
}

std::optional<nlohmann::json> agent_stream::hear(std::optional<duration> limit) {
  using clock = std::chrono::steady_clock;
  const auto until = limit ? clock::now() + *limit : clock::time_point::max();
  for (;;) {
    const auto end = read_.find('\n');
    if (end == std::string::npos) {
      if (read_.size() > longest_line) throw std::runtime_error("a line without an end");
      if (!fill(limit ? std::optional(duration(until - clock::now())) : std::nullopt)) return {};
      continue;
    }
    const auto line = read_.substr(0, end);
    read_.erase(0, end + 1);
    auto message = nlohmann::json::parse(line, nullptr, false);
    if (message.is_object()) {
      begun_ = true;
      return message;
    }
    if (begun_)
      throw std::runtime_error(fmt::format("not an agent's line: `{}`", line.substr(0, 100)));
  }
}

}  // namespace weir::load

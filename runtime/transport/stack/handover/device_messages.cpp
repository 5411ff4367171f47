// Texts, descriptors beside them, and who it is.
#include "runtime/transport/stack/handover/device_messages.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "runtime/transport/watched/passed_descriptors.hpp"

namespace weir::detail {
namespace {

constexpr std::string_view first_line = "weir device 1";
constexpr std::size_t most_text = 16 * 1024;
constexpr std::size_t most_descriptors = 253;  // the kernel's SCM_MAX_FD

/// The text up to the next line, which is taken off.
std::string_view next_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

bool read_secret(std::string_view hex, std::array<std::uint8_t, 32>& out) {
  if (hex.size() != 2 * out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto* at = hex.data() + 2 * i;
    if (std::from_chars(at, at + 2, out[i], 16).ptr != at + 2) return false;
  }
  return true;
}

}  // namespace

std::string device_facts::to_message() const {
  auto out = fmt::format("{}\nqueues {}\nchecksum {}\nsegmentation {}\nsecret {:02x}\n", first_line,
                         queues, checksum_offload ? 1 : 0, segmentation_offload ? 1 : 0,
                         fmt::join(secret, ""));
  for (const auto& [key, value] : agreed) out += fmt::format("{} {}\n", key, value);
  return out;
}

std::optional<device_facts> device_facts::parse(std::string_view message) {
  if (next_line(message) != first_line) return std::nullopt;
  device_facts out;
  out.queues = 0;
  bool has_secret = false;
  while (!message.empty()) {
    const auto line = next_line(message);
    const auto key = line.substr(0, line.find(' '));
    const auto value = line.substr(std::min(line.size(), key.size() + 1));
    if (key == "queues")
      std::from_chars(value.data(), value.data() + value.size(), out.queues);
    else if (key == "checksum")
      out.checksum_offload = value == "1";
    else if (key == "segmentation")
      out.segmentation_offload = value == "1";
    else if (key == "secret")
      has_secret = read_secret(value, out.secret);
    else
      out.agreed.emplace_back(key, value);
  }
  if (!has_secret || out.queues == 0) return std::nullopt;
  return out;
}

std::error_code send_message(int socket, std::string_view text, std::span<const int> descriptors) {
  iovec bytes{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  control_room room;
  if (descriptors.size() > most_descriptors) return std::make_error_code(std::errc::message_size);
  if (!descriptors.empty()) pass(descriptors, room, message);
  ssize_t sent = 0;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? kernel::last_error() : std::error_code();
}

result<device_message> receive_message(int socket) {
  device_message out;
  out.text.resize(most_text);
  iovec bytes{out.text.data(), out.text.size()};
  control_room room;
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = room.bytes;
  message.msg_controllen = sizeof room.bytes;
  ssize_t came = 0;
  do came = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (came < 0 && errno == EINTR);
  if (came < 0) return kernel::last_error();
  passed_descriptors kept;
  kept.expect(most_descriptors);
  kept.keep(message);
  if (came == 0) return std::errc::connection_aborted;
  out.text.resize(static_cast<std::size_t>(came));
  out.descriptors = kept.take();
  return out;
}

bool peer_may_share(int socket) {
  ucred who{};
  socklen_t size = sizeof who;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
         (who.uid == ::geteuid() || who.uid == 0);
}

}  // namespace weir::detail

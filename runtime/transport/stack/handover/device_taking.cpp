// The side of the program that starts: asks for the device, and blocks meanwhile, since nothing
// runs yet; else makes the place at which the next one asks.
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "runtime/transport/kernel/kernel_socket.hpp"
#include "runtime/transport/stack/handover/device_handover.hpp"
#include "weir/config.hpp"

namespace weir::detail {
namespace {

constexpr timeval patience{10, 0};  // with a program that does not answer
constexpr int most_asking = 8;      // one after the other

[[noreturn]] void refuse(const unix_endpoint& at, const std::string& why) {
  throw config_error(fmt::format("stack.handover = '{}': {}", at.to_string(), why));
}

unique_fd packet_socket(const unix_endpoint& at, int flags) {
  unique_fd made(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!made) refuse(at, kernel::last_error().message());
  return made;
}

/// What comes next from the program that has the device.
device_message next_message(const unix_endpoint& at, int socket) {
  auto came = receive_message(socket);
  if (came) return std::move(*came);
  const auto why = came.error();
  if (why == std::errc::operation_would_block)
    refuse(at, "the program there has the device, and does not answer");
  refuse(at, why == std::errc::connection_aborted || why == std::errc::connection_reset
                 ? "the program there ended, or gives its device to nobody now"
                 : why.message());
}

void compare(const unix_endpoint& at, const device_facts& theirs, const device_facts& own) {
  for (const auto& [key, value] : own.agreed) {
    const auto same_key = [&wanted = key](const auto& pair) { return pair.first == wanted; };
    const auto there = std::ranges::find_if(theirs.agreed, same_key);
    const auto other = there == theirs.agreed.end() ? "something else" : there->second;
    if (other != value)
      refuse(at, fmt::format("the program there has {} = {}, and this one {}: a device is handed "
                             "over as it is",
                             key, other, value));
  }
  if (theirs.queues != own.queues)
    refuse(at, fmt::format("the device has {} queues there, and stack.queues and shards ask for {} "
                           "here",
                           theirs.queues, own.queues));
}

}  // namespace

asking_place open_asking_place(const unix_endpoint& name) {
  asking_place out{name, packet_socket(name, SOCK_NONBLOCK)};
  constexpr std::uint32_t own_user = 0600;
  auto error =
      bind_to(out.listening.get(), name, name.is_path() ? std::optional(own_user) : std::nullopt);
  if (!error && ::listen(out.listening.get(), most_asking) != 0) error = kernel::last_error();
  if (error) refuse(name, error.message());
  return out;
}

std::optional<inherited_device> take_device(const unix_endpoint& from, const device_facts& own) {
  const auto socket = packet_socket(from, 0);
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
    (void)::setsockopt(socket.get(), SOL_SOCKET, option, &patience, sizeof patience);
  const unix_address address(from);
  if (::connect(socket.get(), address.data(), address.size) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return std::nullopt;
    refuse(from, errno == EPROTOTYPE ? "what listens there is no program that hands a device over"
                                     : kernel::last_error().message());
  }
  if (!peer_may_share(socket.get())) refuse(from, "the program there is another user's");
  auto said = next_message(from, socket.get());
  if (said.text == full_word)
    refuse(from, fmt::format("{} programs before this one have connections still",
                             device_handover::most_predecessors));
  auto facts = device_facts::parse(said.text);
  if (!facts || said.descriptors.size() != 1) refuse(from, "what it says is not understood");
  compare(from, *facts, own);
  inherited_device out{{from, std::move(said.descriptors[0])}, std::move(*facts), {}};
  for (unsigned i = 0; i < out.facts.queues; ++i) {
    auto queue = next_message(from, socket.get());
    if (queue.text != fmt::format("queue {}", i) || queue.descriptors.size() < 2)
      refuse(from, "what it says is not understood");
    auto& held = out.queues.emplace_back();
    held.device = std::move(queue.descriptors[0]);
    for (std::size_t at = 1; at < queue.descriptors.size(); ++at)
      held.links.push_back(std::move(queue.descriptors[at]));
  }
  if (const auto error = send_message(socket.get(), take_word)) refuse(from, error.message());
  if (next_message(from, socket.get()).text != yours_word)
    refuse(from, "what it says is not understood");
  return out;
}

}  // namespace weir::detail

// Echo requests (ping), by the sockets that Linux has for them without a privilege (icmp(7)):
// SOCK_DGRAM, whose datagrams are ICMP messages, and whose identifier is the kernel's.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>

#include <fmt/format.h>

#include "runtime/core/log.hpp"
#include "runtime/tools/gate/gateway.hpp"

namespace weir::gate {
namespace {

constexpr std::size_t before_sequence = 6;  // type, code, checksum, identifier

struct messages {
  std::uint8_t request, reply;
};
constexpr messages of_v4{8, 0}, of_v6{128, 129};

constexpr std::uint16_t a_port = 1;  // it means nothing here, but 0 is none

unique_fd open_socket(ip_family family) {
  const bool v4 = family == ip_family::v4;
  return unique_fd(::socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC,
                            v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}));
}

/// The kernel's choice of an identifier, which is its port. A connected one would take replies from
/// that port only, and they come from none.
std::error_code bind(int fd, ip_family family) {
  sockaddr_storage any{};
  any.ss_family = family == ip_family::v4 ? AF_INET : AF_INET6;
  const socklen_t size = family == ip_family::v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&any), size) == 0) return {};
  return {errno, std::generic_category()};
}

using buffer = std::unique_ptr<std::byte[]>;
constexpr std::size_t room = before_sequence + udp_socket::max_payload;

/// What comes from the guest stands behind the room for the rest of the message.
task<> ask(udp_socket& inside, udp_socket& outside, flow_line& line, ip_address to, messages types,
           scope& both) {
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(room);
  const std::span all(bytes.get(), room);
  for (;;) {
    auto got = co_await inside.receive(all.subspan(before_sequence)).nothrow();
    if (!got) break;
    line.out += got.n;
    std::memset(bytes.get(), 0, before_sequence);
    bytes[0] = std::byte{types.request};
    const auto message = all.first(before_sequence + got.n);
    (void)co_await outside.send_to(message, {to, a_port}).nothrow();
  }
  both.cancel();
}

task<> answer(udp_socket& outside, udp_socket& inside, flow_line& line, ip_address to,
              messages types, scope& both) {
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(room);
  const std::span all(bytes.get(), room);
  for (;;) {
    auto got = co_await outside.receive_from(all).nothrow();
    if (got.ec == std::errc::operation_canceled || got.ec == weir::error::closed) break;
    if (!got || got.from.address != to || got.n < before_sequence + 2 ||
        bytes[0] != std::byte{types.reply})
      continue;
    const auto data = all.first(got.n).subspan(before_sequence);
    line.in += data.size();
    (void)co_await inside.send(data).nothrow();
  }
  both.cancel();
}

}  // namespace

bool may_carry_echoes() {
  if (open_socket(ip_family::v4)) return true;
  detail::log_line(fmt::format("echo requests (ping) are ignored: {}{}", std::strerror(errno),
                               errno == EACCES ? " (sysctl net.ipv4.ping_group_range)" : ""));
  return false;
}

task<> gateway::accept_echoes(udp_flow_listener listener) {
  for (;;) {
    auto flow = co_await listener.accept();
    if (!flow) break;
    others_.spawn(carry_echoes(std::move(*flow)));
  }
}

task<> gateway::carry_echoes(udp_socket inside) {
  const auto to = inside.local_endpoint().address;
  flow_line line{"icmp", inside.remote_endpoint(), inside.local_endpoint(), here_.now()};
  const auto judged = options_.policy.judge({to, 0}, names_, here_.now());
  if (judged.what != verdict::kind::allowed)
    co_return log_.over(line, here_.now(),
                        judged.by != nullptr ? "denied by " + judged.by->text : "denied");
  auto fd = open_socket(to.family());
  auto error = fd ? bind(fd.get(), to.family()) : std::error_code(errno, std::generic_category());
  if (error) co_return log_.over(line, here_.now(), words_of(error));
  auto outside = try_adopt_udp(here_, fd);
  if (!outside) co_return log_.over(line, here_.now(), words_of(outside.error()));
  const auto types = to.is_v4() ? of_v4 : of_v6;
  {
    scope both(here_);
    both.spawn(ask(inside, *outside, line, to, types, both));
    both.spawn(answer(*outside, inside, line, to, types, both));
    co_await both.join();
  }
  log_.over(line, here_.now(), "idle");
}

}  // namespace weir::gate

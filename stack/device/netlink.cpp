// rtnetlink: see netlink.hpp.
#include "stack/device/netlink.hpp"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

namespace weir::stack {
namespace {

std::error_code last_error() { return {errno, std::system_category()}; }

// A dump of one link is a few KiB; the kernel never sends more than this in one message unasked.
constexpr std::size_t answer_size = 32u << 10;

}  // namespace

// One message with room for what this file puts into one.
class netlink::request {
 public:
  request(std::uint16_t type, std::uint16_t flags) {
    head().nlmsg_type = type;
    head().nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    head().nlmsg_len = NLMSG_HDRLEN;
  }
  template <class Body>
  Body& body() {
    head().nlmsg_len = NLMSG_LENGTH(sizeof(Body));
    return *reinterpret_cast<Body*>(bytes_.data() + NLMSG_HDRLEN);
  }
  void add(std::uint16_t type, std::span<const std::uint8_t> value) {
    auto& at = open(type);
    std::memcpy(RTA_DATA(&at), value.data(), value.size());
    at.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(value.size()));
    head().nlmsg_len += static_cast<std::uint32_t>(RTA_SPACE(value.size()));
  }
  void add(std::uint16_t type, std::uint32_t value) {
    add(type, std::span(reinterpret_cast<const std::uint8_t*>(&value), sizeof value));
  }
  void add(std::uint16_t type, std::uint8_t value) { add(type, std::span(&value, 1)); }
  /// Starts a nested attribute; close() with what it returned.
  rtattr& open(std::uint16_t type) {
    auto& at = *reinterpret_cast<rtattr*>(bytes_.data() + head().nlmsg_len);
    at.rta_type = type;
    at.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(0));
    return at;
  }
  rtattr& open_nested(std::uint16_t type) {
    auto& at = open(type);
    head().nlmsg_len += static_cast<std::uint32_t>(RTA_LENGTH(0));
    return at;
  }
  void close(rtattr& nested) {
    nested.rta_len = static_cast<std::uint16_t>(bytes_.data() + head().nlmsg_len -
                                                reinterpret_cast<std::uint8_t*>(&nested));
  }
  nlmsghdr& head() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }

 private:
  alignas(nlmsghdr) std::array<std::uint8_t, 512> bytes_{};
};

netlink::netlink() : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
  if (!socket_) error_ = last_error();
}

namespace {

void read_link(const nlmsghdr& message, link_state& state) {
  const auto* link = static_cast<const ifinfomsg*>(NLMSG_DATA(&message));
  state.up = (link->ifi_flags & IFF_UP) != 0;
  auto room = static_cast<int>(message.nlmsg_len - NLMSG_LENGTH(sizeof *link));
  const auto* at = reinterpret_cast<const rtattr*>(reinterpret_cast<const char*>(link) +
                                                   NLMSG_ALIGN(sizeof *link));
  for (; RTA_OK(at, room); at = RTA_NEXT(at, room)) {
    if (at->rta_type == IFLA_MTU) {
      std::uint32_t mtu = 0;
      std::memcpy(&mtu, RTA_DATA(at), sizeof mtu);
      state.mtu = static_cast<std::uint16_t>(mtu > 65535 ? 65535 : mtu);
    } else if (at->rta_type == IFLA_STATS64) {
      rtnl_link_stats64 stats{};
      std::memcpy(&stats, RTA_DATA(at), std::min(sizeof stats, std::size_t{RTA_PAYLOAD(at)}));
      state.dropped = stats.tx_dropped;
    }
  }
}

}  // namespace

std::error_code netlink::transact(request& r, std::uint16_t wanted,
                                  const std::function<void(const nlmsghdr&)>& take) {
  if (error_) return error_;
  r.head().nlmsg_seq = ++sequence_;
  if (::send(socket_.get(), &r.head(), r.head().nlmsg_len, 0) < 0) return last_error();
  alignas(nlmsghdr) std::array<char, answer_size> answer;
  for (;;) {
    auto got = ::recv(socket_.get(), answer.data(), answer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return last_error();
    auto room = static_cast<unsigned>(got);
    for (auto* m = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(m, room);
         m = NLMSG_NEXT(m, room)) {
      if (m->nlmsg_seq != sequence_) continue;
      if (m->nlmsg_type == NLMSG_ERROR) {
        auto code = -static_cast<const nlmsgerr*>(NLMSG_DATA(m))->error;
        return code == 0 ? std::error_code() : std::error_code(code, std::system_category());
      }
      if (wanted != 0 && m->nlmsg_type == wanted) {
        take(*m);
        return {};
      }
    }
  }
}

std::error_code netlink::add_address(int interface_index, const ip_prefix& address) {
  request r(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  auto& body = r.body<ifaddrmsg>();
  body.ifa_family = address.address.is_v4() ? AF_INET : AF_INET6;
  body.ifa_prefixlen = address.length;
  body.ifa_index = static_cast<unsigned>(interface_index);
  body.ifa_flags = address.address.is_v6() ? IFA_F_NODAD : 0;  // nobody else is on this link
  r.add(IFA_LOCAL, address.address.bytes());
  r.add(IFA_ADDRESS, address.address.bytes());
  return transact(r);
}

std::error_code netlink::add_route(int interface_index, const ip_prefix& destination,
                                   const std::optional<ip_address>& router) {
  request r(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  auto& body = r.body<rtmsg>();
  body.rtm_family = destination.address.is_v4() ? AF_INET : AF_INET6;
  body.rtm_dst_len = destination.length;
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_BOOT;
  const bool on_link = destination.address.is_v4() && !router;
  body.rtm_scope = on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  body.rtm_type = RTN_UNICAST;
  r.add(RTA_DST, destination.address.bytes());
  r.add(RTA_OIF, static_cast<std::uint32_t>(interface_index));
  if (router) r.add(RTA_GATEWAY, router->bytes());
  return transact(r);
}

std::error_code netlink::set_link(int interface_index, std::uint32_t mtu,
                                  std::uint32_t queue_length) {
  request r(RTM_NEWLINK, NLM_F_ACK);
  r.body<ifinfomsg>().ifi_index = interface_index;
  r.add(IFLA_MTU, mtu);
  r.add(IFLA_TXQLEN, queue_length);
  return transact(r);
}

std::error_code netlink::set_up(int interface_index) {
  request r(RTM_NEWLINK, NLM_F_ACK);
  auto& body = r.body<ifinfomsg>();
  body.ifi_index = interface_index;
  body.ifi_flags = IFF_UP;
  body.ifi_change = IFF_UP;
  return transact(r);
}

std::error_code netlink::no_generated_addresses(int interface_index) {
  request r(RTM_NEWLINK, NLM_F_ACK);
  r.body<ifinfomsg>().ifi_index = interface_index;
  auto& families = r.open_nested(IFLA_AF_SPEC);
  auto& v6 = r.open_nested(AF_INET6);
  r.add(IFLA_INET6_ADDR_GEN_MODE, static_cast<std::uint8_t>(IN6_ADDR_GEN_MODE_NONE));
  r.close(v6);
  r.close(families);
  return transact(r);
}

std::optional<link_state> netlink::query(int interface_index) {
  request r(RTM_GETLINK, 0);
  r.body<ifinfomsg>().ifi_index = interface_index;
  link_state state;
  if (transact(r, RTM_NEWLINK, [&](const nlmsghdr& m) { read_link(m, state); }))
    return std::nullopt;
  return state;
}

bool netlink::is_local(const ip_address& address) {
  request r(RTM_GETROUTE, 0);
  auto& body = r.body<rtmsg>();
  body.rtm_family = address.is_v4() ? AF_INET : AF_INET6;
  body.rtm_dst_len = address.is_v4() ? 32 : 128;
  r.add(RTA_DST, address.bytes());
  bool local = false;
  auto error = transact(r, RTM_NEWROUTE, [&](const nlmsghdr& m) {
    local = static_cast<const rtmsg*>(NLMSG_DATA(&m))->rtm_type == RTN_LOCAL;
  });
  return !error && local;
}

}  // namespace weir::stack

// See private_net.hpp. Plain ioctl for addresses; rtnetlink only for the veth pair, for which there
// is no ioctl.
#include "private_net.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

namespace weir::bench {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw std::system_error(errno, std::system_category(), what);
}

/// False: errno says why not.
bool wrote_file(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t n = ::write(fd, text.data(), text.size());
  const int error = errno;
  ::close(fd);
  errno = error;
  return n == static_cast<ssize_t>(text.size());
}

void write_file(const char* path, const std::string& text) {
  if (!wrote_file(path, text)) refuse(path);
}

void interface_up(const std::string& name) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  const bool known = ::ioctl(fd, SIOCGIFFLAGS, &request) == 0;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  const bool up = known && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  if (!up) refuse(fmt::format("bringing {} up", name));
}

/// Kernel sockets here send as acknowledgements let them. A machine whose default is bbr would have
/// them wait on pacing timers instead, and bulk figures would be those of the timers.
void avoid_paced_congestion_control() {
  for (const char* choice : {"cubic", "reno"})  // not every kernel lets a namespace take cubic
    if (wrote_file("/proc/sys/net/ipv4/tcp_congestion_control", choice)) return;
}

/// One rtnetlink request under construction.
class netlink_message {
 public:
  netlink_message(std::uint16_t type, std::uint16_t flags) {
    bytes_.resize(NLMSG_LENGTH(sizeof(ifinfomsg)));
    header()->nlmsg_type = type;
    header()->nlmsg_flags = flags;
  }
  void attribute(std::uint16_t type, const void* data, std::size_t size) {
    const std::size_t at = open(type);
    bytes_.insert(bytes_.end(), static_cast<const char*>(data),
                  static_cast<const char*>(data) + size);
    close(at);
  }
  std::size_t open(std::uint16_t type) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + RTA_LENGTH(0));
    reinterpret_cast<rtattr*>(&bytes_[at])->rta_type = type;
    return at;
  }
  void close(std::size_t at) {
    reinterpret_cast<rtattr*>(&bytes_[at])->rta_len =
        static_cast<unsigned short>(bytes_.size() - at);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void append_empty_link() { bytes_.resize(bytes_.size() + sizeof(ifinfomsg)); }

  /// Sends it and waits for the kernel's verdict.
  void request(const std::string& what) {
    header()->nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) refuse("netlink socket");
    alignas(nlmsghdr) char answer[4096];
    const bool asked =
        ::send(fd, bytes_.data(), bytes_.size(), 0) == static_cast<ssize_t>(bytes_.size());
    const ssize_t n = asked ? ::recv(fd, answer, sizeof answer, 0) : -1;
    ::close(fd);
    if (n < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr)))) refuse(what);
    const auto* verdict =
        static_cast<const nlmsgerr*>(NLMSG_DATA(reinterpret_cast<nlmsghdr*>(answer)));
    errno = -verdict->error;
    if (verdict->error != 0) refuse(what);
  }

 private:
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  std::vector<char> bytes_;
};

void create_veth(const char* name, const char* peer, int peer_namespace) {
  netlink_message message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK);
  message.attribute(IFLA_IFNAME, name, std::strlen(name) + 1);
  const auto link = message.open(IFLA_LINKINFO);
  message.attribute(IFLA_INFO_KIND, "veth", 5);
  const auto data = message.open(IFLA_INFO_DATA);
  const auto other = message.open(VETH_INFO_PEER);
  message.append_empty_link();
  message.attribute(IFLA_IFNAME, peer, std::strlen(peer) + 1);
  message.attribute(IFLA_NET_NS_FD, &peer_namespace, sizeof peer_namespace);
  message.close(other);
  message.close(data);
  message.close(link);
  message.request("creating a veth pair");
}

sockaddr ipv4(in_addr_t number) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_addr.s_addr = number;
  sockaddr any;
  std::memcpy(&any, &out, sizeof any);
  return any;
}

in_addr_t netmask(unsigned prefix_length) {
  return prefix_length == 0 ? 0 : htonl(~std::uint32_t{0} << (32 - prefix_length));
}

/// What every network of ours is like.
void prepare_network() {
  interface_up("lo");
  avoid_paced_congestion_control();
  // Clients that close first would use up their ports within seconds. Best effort: where it is
  // refused, they say which port they could not get.
  (void)wrote_file("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0");
}

}  // namespace

network network::current() {
  const int fd = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) refuse("/proc/thread-self/ns/net");
  return network(fd);
}

network network::fresh() {
  const network before = current();
  if (::unshare(CLONE_NEWNET) != 0) refuse("a network namespace (unshare CLONE_NEWNET)");
  prepare_network();
  auto made = current();
  if (::setns(before.fd(), CLONE_NEWNET) != 0) refuse("setns");
  return made;
}

network::~network() {
  if (fd_ >= 0) ::close(fd_);
}

inside::inside(const network& there) : before_(network::current()) {
  if (::setns(there.fd(), CLONE_NEWNET) != 0) refuse("setns");
}

inside::~inside() { (void)::setns(before_.fd(), CLONE_NEWNET); }

void link_networks(const link_end& one, const link_end& other) {
  {
    const inside there(one.where);
    create_veth(one.name, other.name, other.where.fd());
    configure_interface(one.name, one.address, 24);
  }
  const inside there(other.where);
  configure_interface(other.name, other.address, 24);
}

void add_route(const char* destination, unsigned prefix_length, const char* gateway) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  rtentry route{};
  route.rt_dst = ipv4(::inet_addr(destination));
  route.rt_genmask = ipv4(netmask(prefix_length));
  route.rt_gateway = ipv4(::inet_addr(gateway));
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  const bool done = ::ioctl(fd, SIOCADDRT, &route) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  if (!done) refuse(fmt::format("a route to {}/{} by {}", destination, prefix_length, gateway));
}

void allow_forwarding() { write_file("/proc/sys/net/ipv4/ip_forward", "1"); }

void enter_private_network() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (user == 0) {
    if (::unshare(CLONE_NEWNET) != 0)
      refuse("a network namespace of our own (unshare CLONE_NEWNET)");
  } else {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
      refuse(
          "a user and network namespace of our own (unshare CLONE_NEWUSER: is "
          "kernel.unprivileged_userns_clone off?)");
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", fmt::format("0 {} 1", user));
    write_file("/proc/self/gid_map", fmt::format("0 {} 1", group));
  }
  prepare_network();
}

void enter_network_behind_veth(const std::string& ours, const std::string& theirs) {
  const int old_namespace = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (old_namespace < 0) refuse("/proc/self/ns/net");
  if (::unshare(CLONE_NEWNET) != 0)
    refuse("a network namespace for the server (unshare CLONE_NEWNET)");
  const int new_namespace = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  avoid_paced_congestion_control();
  create_veth("veth-server", "veth-client", old_namespace);
  configure_interface("veth-server", ours, 24);
  if (::setns(old_namespace, CLONE_NEWNET) != 0) refuse("setns");
  configure_interface("veth-client", theirs, 24);
  if (::setns(new_namespace, CLONE_NEWNET) != 0) refuse("setns");
  ::close(old_namespace);
  ::close(new_namespace);
}

int open_tun(const char* name, short extra_flags) {
  const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) refuse("/dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | extra_flags);
  if (::ioctl(fd, TUNSETIFF, &request) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  refuse(fmt::format("creating TUN device {}", name));
}

void configure_interface(const std::string& name, const std::string& address,
                         unsigned prefix_length) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  auto* in = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  in->sin_family = AF_INET;
  ::inet_pton(AF_INET, address.c_str(), &in->sin_addr);
  bool done = ::ioctl(fd, SIOCSIFADDR, &request) == 0;
  in->sin_addr.s_addr = netmask(prefix_length);
  done = done && ::ioctl(fd, SIOCSIFNETMASK, &request) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  if (!done) refuse(fmt::format("giving {} to {}", address, name));
  interface_up(name);
}

void set_queue_length(const std::string& name, int packets) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  request.ifr_qlen = packets;
  const bool done = ::ioctl(fd, SIOCSIFTXQLEN, &request) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  if (!done) refuse(fmt::format("the queue length of {}", name));
}

void raise_file_limit() noexcept {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace weir::bench

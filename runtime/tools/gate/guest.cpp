// Namespaces, the device in them, and the command. namespaces(7), unix(7).
#include "runtime/tools/gate/guest.hpp"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "stack/device/netlink.hpp"
#include "stack/device/private_network.hpp"
#include "weir/config.hpp"
#include "weir/error.hpp"

namespace weir::gate {
namespace {

/// What the child says, with the device's descriptor where all went well.
struct report {
  bool ok = false;
  std::uint16_t mtu = 0;
  bool checksum_offload = false, segmentation_offload = false;
  std::array<char, 480> words{};
};

constexpr int exit_not_started = 126, exit_not_found = 127;

std::string last_error() { return std::strerror(errno); }

void send_report(int line, report what, int fd) {
  iovec bytes{&what, sizeof what};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    auto* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  (void)::sendmsg(line, &message, MSG_NOSIGNAL);
}

[[noreturn]] void fail(int line, const std::string& words) {
  report what;
  std::strncpy(what.words.data(), words.c_str(), what.words.size() - 1);
  send_report(line, what, -1);
  ::_exit(exit_not_started);
}

bool receive_report(int line, report& what, unique_fd& fd) {
  iovec bytes{&what, sizeof what};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = room.data();
  message.msg_controllen = room.size();
  ssize_t n = 0;
  do n = ::recvmsg(line, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(sizeof what)) return false;
  auto* const head = CMSG_FIRSTHDR(&message);
  if (head != nullptr && head->cmsg_type == SCM_RIGHTS) {
    int passed = -1;
    std::memcpy(&passed, CMSG_DATA(head), sizeof passed);
    fd = unique_fd(passed);
  }
  return true;
}

/// The network namespace, from within the user namespace that owns it: only there may a device be
/// made. A process may have gone on into another one since, as a sandbox does.
bool enter_network(const unique_fd& net) {
  const unique_fd owner(::ioctl(net.get(), NS_GET_USERNS));
  // EINVAL: we are in that one already. EPERM: it is none of ours, and setns() says what that
  // means.
  if (owner && ::setns(owner.get(), CLONE_NEWUSER) != 0 && errno != EINVAL) return false;
  return ::setns(net.get(), CLONE_NEWNET) == 0;
}

std::string join_namespaces(const guest_place& place) {
  if (place.of_process != 0) {
    const auto path = fmt::format("/proc/{}/ns/net", place.of_process);
    const unique_fd net(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!net)
      return fmt::format("{}: {}: no such process, or it is another user's", path, last_error());
    if (enter_network(net)) return {};
    return fmt::format("{}: {}: run as its user, or as root", path, last_error());
  }
  const unique_fd net(::open(place.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!net) return fmt::format("{}: {}", place.path, last_error());
  if (enter_network(net)) return {};
  return fmt::format(
      "{}: {}: {}", place.path, last_error(),
      errno == EINVAL ? "it is no network namespace" : "run as its user, or as root");
}

/// A file of ours stands where /etc/resolv.conf is, for this process and its children.
std::string replace_resolv_conf(const std::vector<ip_address>& dns) {
  std::array<char, PATH_MAX> real{};
  if (::realpath("/etc/resolv.conf", real.data()) == nullptr)
    return "/etc/resolv.conf: " + last_error();
  if (::unshare(CLONE_NEWNS) != 0) return "a mount namespace: " + last_error();
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return "a mount namespace: " + last_error();
  std::string text = "# weir-gate's\n";
  for (const auto& each : dns) text += "nameserver " + each.to_string() + "\n";
  std::string path = "/tmp/weir-gate-XXXXXX";
  const unique_fd file(::mkstemp(path.data()));
  if (!file) return path + ": " + last_error();
  std::string why;
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fchmod(file.get(), 0644) != 0 ||
      ::mount(path.c_str(), real.data(), nullptr, MS_BIND, nullptr) != 0)
    why = fmt::format("{} over {}: {}", path, real.data(), last_error());
  ::unlink(path.c_str());
  return why;
}

void give_addresses(const guest_network& network, stack::tun_options& how) {
  how.host_addresses = network.guest;
  how.routes = {{ip_address(), 0}};
  bool v6 = false;
  for (const auto& each : network.guest) v6 |= each.address.is_v6();
  if (v6) how.routes.push_back({ip_address::v6({}), 0});
  if (!network.ethernet) return;
  for (const auto& each : network.gateway)
    (each.address.is_v4() ? how.router_v4 : how.router_v6) = each.address;
}

std::string make_device(const guest_network& network, int line) {
  stack::tun_options how;
  how.name = network.device;
  how.mtu = network.mtu;
  how.checksum_offload = how.segmentation_offload = network.offload;
  if (network.ethernet) how.kind = stack::device_kind::ethernet;
  if (!network.asks) give_addresses(network, how);
  std::string why;
  auto device = stack::tun_device::open(how, why);
  if (!device) return why;
  if (!device->created())
    return fmt::format("there is a device called {} already; give another name by --stack.device",
                       network.device);
  send_report(line,
              {true, device->mtu(), device->checksum_offload(), device->segmentation_offload(), {}},
              device->fd());
  return {};  // the gateway has it now
}

/// A namespace that others made may have its loopback down. Its own addresses are reached through
/// that, which is where podman's published ports arrive; slirp4netns sees to it, too.
void loopback_up() {
  stack::netlink routes;
  if (const auto index = static_cast<int>(::if_nametoindex("lo")); index != 0)
    if (const auto error = routes.set_up(index))
      std::fprintf(stderr, "weir-gate: the guest's loopback stays down (%s)\n",
                   error.message().c_str());
}

[[noreturn]] void start_command(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const auto& each : command) words.push_back(const_cast<char*>(each.c_str()));
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  const int why = errno;
  std::fprintf(stderr, "weir-gate: %s: %s\n", words[0], std::strerror(why));
  ::_exit(why == ENOENT ? exit_not_found : exit_not_started);
}

[[noreturn]] void be_guest(const guest_place& place, const guest_network& network, int line,
                           pid_t gateway) {
  const bool runs = !place.command.empty();
  if (runs) {
    std::string why;
    if (stack::enter_private_network(why, stack::private_user::always)) fail(line, why);
  } else if (auto why = join_namespaces(place); !why.empty()) {
    fail(line, why);
  }
  if (!runs && !network.asks) loopback_up();
  if (auto why = make_device(network, line); !why.empty()) fail(line, why);
  if (!runs) ::_exit(0);
  if (place.resolv_conf)
    if (auto why = replace_resolv_conf(network.dns); !why.empty())
      std::fprintf(stderr, "weir-gate: the command keeps the host's resolv.conf (%s)\n",
                   why.c_str());
  // Without the gateway there is no network. Set after the user namespace, which clears it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != gateway) ::_exit(exit_not_started);
  char ready = 0;
  ssize_t n = 0;
  do n = ::read(line, &ready, 1);
  while (n < 0 && errno == EINTR);
  if (n != 1) ::_exit(exit_not_started);
  start_command(place.command);
}

}  // namespace

guest::guest(const guest_place& place, const guest_network& network) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw config_error("socketpair: " + last_error());
  line_ = unique_fd(ends[0]);
  unique_fd theirs(ends[1]);
  const auto gateway = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw config_error("fork: " + last_error());
  if (pid_ == 0) {
    line_.reset();
    be_guest(place, network, theirs.get(), gateway);
  }
  theirs.reset();
  report what;
  if (!receive_report(line_.get(), what, device_.fd))
    throw config_error("the guest's namespace could not be made: its process ended");
  if (!what.ok) throw config_error(what.words.data());
  device_.mtu = what.mtu;
  device_.checksum_offload = what.checksum_offload;
  device_.segmentation_offload = what.segmentation_offload;
  if (place.command.empty()) (void)ask(0);  // it has nothing else to do, and ends
}

guest::~guest() {
  if (pid_ <= 0 || status_ >= 0) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

void guest::go() {
  if (::send(line_.get(), "g", 1, MSG_NOSIGNAL) != 1)
    throw io_error({errno, std::generic_category()}, "starting the command");
  line_.reset();
}

int guest::ask(int how) {
  if (status_ >= 0) return status_;
  int status = 0;
  pid_t got = 0;
  do got = ::waitpid(pid_, &status, how);
  while (got < 0 && errno == EINTR);
  if (got != pid_) return -1;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

}  // namespace weir::gate

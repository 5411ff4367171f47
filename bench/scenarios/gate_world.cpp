// Addresses: subject N's host is 198.18.(10 + N).2, and the world .1 on that link; a guest behind
// the kernel's forwarding is 198.18.(40 + N).2 (198.18.0.0/15: RFC 2544).
#include "scenarios/gate_world.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "clients.hpp"

namespace weir::bench {
namespace {

constexpr std::uint64_t up_within_ns = 15'000'000'000;
constexpr int answer_within_ms = 300;

/// Where PATH has it; empty when it is not installed.
std::string found(const std::string& program) {
  if (program.find('/') != std::string::npos)
    return ::access(program.c_str(), X_OK) == 0 ? program : "";
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const auto whole = folder + "/" + program; ::access(whole.c_str(), X_OK) == 0) return whole;
  return {};
}

/// Packets that `device` receives are worked on by `cpu` (Linux, Documentation/networking/scaling:
/// RPS). sysfs shows the devices of the network that mounted it, so a process of its own does.
bool received_on(const network& where, const std::string& device, int cpu) {
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    if (::setns(where.fd(), CLONE_NEWNET) != 0 || ::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("sysfs", "/sys", "sysfs", 0, nullptr) != 0)
      ::_exit(1);
    std::ofstream file("/sys/class/net/" + device + "/queues/rx-0/rps_cpus");
    file << fmt::format("{:x}", 1u << cpu) << std::flush;
    ::_exit(file ? 0 : 1);
  }
  int status = 1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0;
}

/// One byte there and back on a connection of its own.
bool echoes_a_byte(const endpoint& where) {
  const int fd = start_client(where);
  if (fd < 0) return false;
  char byte = 'w';
  pollfd ready{fd, POLLOUT, 0};
  bool right = ::poll(&ready, 1, answer_within_ms) == 1 && ::send(fd, &byte, 1, MSG_NOSIGNAL) == 1;
  ready.events = POLLIN;
  right = right && ::poll(&ready, 1, answer_within_ms) == 1 && ::recv(fd, &byte, 1, 0) == 1;
  ::close(fd);
  return right;
}

}  // namespace

std::vector<way_out> ways_out(const std::string& bin_dir) {
  return {{"weir-gate", bin_dir + "/weir-gate", {"attach", "--netns"}},
          {"slirp4netns",
           "slirp4netns",
           {"--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"},
           false},
          // As root it would become nobody, who may not join our namespaces.
          {"pasta",
           "pasta",
           {"--foreground", "--quiet", "--config-net", "--no-map-gw", "--runas", "0", "-4", "-t",
            "none", "-u", "none", "-T", "none", "-U", "none", "--netns"}},
          {"kernel", "", {}},
          {"kernel-steered", "", {}, true, true}};
}

network_folder::network_folder() : path_("/tmp/weir-bench-gate-XXXXXX") {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    throw std::system_error(errno, std::system_category(), "a mount namespace");
  if (::mkdtemp(path_.data()) == nullptr ||
      ::mount("tmpfs", path_.c_str(), "tmpfs", 0, "mode=0755") != 0)
    throw std::system_error(errno, std::system_category(), path_);
}

network_folder::~network_folder() {
  ::umount2(path_.c_str(), MNT_DETACH);
  ::rmdir(path_.c_str());
}

std::string network_folder::add(const network& which) const {
  auto file = fmt::format("{}/{}", path_, which.fd());
  const int made = ::open(file.c_str(), O_CREAT | O_RDONLY | O_CLOEXEC, 0644);
  if (made >= 0) ::close(made);
  const auto ours = fmt::format("/proc/self/fd/{}", which.fd());
  if (made < 0 || ::mount(ours.c_str(), file.c_str(), nullptr, MS_BIND, nullptr) != 0)
    throw std::system_error(errno, std::system_category(), file);
  return file;
}

gate_subject::gate_subject(const way_out& how, unsigned number, const gate_world& all)
    : host_(network::fresh()),
      guest_(network::fresh()),
      world_address_(fmt::format("198.18.{}.1", 10 + number)) {
  const auto host_address = fmt::format("198.18.{}.2", 10 + number);
  const auto device = fmt::format("world{}", number);
  link_networks({all.world, device.c_str(), world_address_.c_str()},
                {host_, "uplink", host_address.c_str()});
  {
    const inside host(host_);
    add_route("0.0.0.0", 0, world_address_.c_str());
  }
  if (how.program.empty())
    forward_by_kernel(how, number, all);
  else
    start(how, all);
  wait_for_an_echo(all.echo_port);
}

void gate_subject::forward_by_kernel(const way_out& how, unsigned number, const gate_world& all) {
  const auto near = fmt::format("198.18.{}.1", 40 + number);
  const auto guest_address = fmt::format("198.18.{}.2", 40 + number);
  link_networks({host_, "guest", near.c_str()}, {guest_, "eth0", guest_address.c_str()});
  {
    const inside host(host_);
    allow_forwarding();
  }
  {
    const inside there(guest_);
    add_route("0.0.0.0", 0, near.c_str());
  }
  const inside there(all.world);
  add_route(fmt::format("198.18.{}.0", 40 + number).c_str(), 24,
            fmt::format("198.18.{}.2", 10 + number).c_str());
  if (!how.steers) return;
  if (all.cpu < 0) throw std::runtime_error("there is one core only");
  if (!received_on(host_, "uplink", all.cpu) || !received_on(host_, "guest", all.cpu) ||
      !received_on(guest_, "eth0", all.load_cpu) ||
      !received_on(all.world, fmt::format("world{}", number), all.load_cpu))
    throw std::runtime_error("packets cannot be steered to a core here (rps_cpus)");
}

void gate_subject::start(const way_out& how, const gate_world& all) {
  std::vector<std::string> command{found(how.program)};
  if (command.front().empty()) throw std::runtime_error(how.program + " is not installed");
  command.insert(command.end(), how.options.begin(), how.options.end());
  command.push_back(all.files.add(guest_));
  if (!how.takes_netns_option) command.emplace_back("tap0");
  const inside host(host_);
  process_ = std::make_unique<server_process>(command, all.cpu, 0, start_options{{}, {}});
}

void gate_subject::wait_for_an_echo(std::uint16_t port) const {
  const auto where = *parse_endpoint(fmt::format("{}:{}", world_address_, port));
  const inside there(guest_);
  const std::uint64_t until = now_ns() + up_within_ns;
  while (!echoes_a_byte(where)) {
    std::string why;
    if (process_ != nullptr && process_->died(why))
      throw std::runtime_error(fmt::format("{}: {}", why, process_->complaint()));
    if (now_ns() > until) throw std::runtime_error("nothing comes through it");
    ::usleep(20'000);
  }
}

}  // namespace weir::bench

// weir-probe: what this machine can do for weir, and what stands in the way of what it cannot. It
// changes nothing: what has to be tried out (a device, a namespace) is tried in a child process
// with a network of its own.
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "runtime/run/tun_probe.hpp"
#include "runtime/tools/report.hpp"
#include "stack/device/private_network.hpp"
#include "stack/device/tun_device.hpp"
#include "weir/runtime.hpp"
#if WEIR_WITH_URING
#include "runtime/driver/uring/uring_probe.hpp"
#endif

namespace {

using probe::group;

std::string first_line(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

std::string kernel() {
  utsname names{};
  if (::uname(&names) != 0) return "unknown";
  return fmt::format("{} {} {}", names.sysname, names.release, names.machine);
}

/// Runs `f` in a child process; gives what it returned, which is empty when all is well.
std::string tried_in_a_child(const std::function<std::string()>& f) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::strerror(errno);
  auto child = ::fork();
  if (child < 0) return fmt::format("fork: {}", std::strerror(errno));
  if (child == 0) {
    auto text = f();
    auto written = ::write(ends[1], text.data(), text.size());
    ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text(4096, '\0');
  auto n = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return "the attempt ended abnormally";
  return text;
}

std::string try_private_network() {
  return tried_in_a_child([]() -> std::string {
    std::string why;
    return weir::stack::enter_private_network(why) ? why : "";
  });
}

std::string try_private_device() {
  return tried_in_a_child([]() -> std::string {
    std::string why;
    if (weir::stack::enter_private_network(why)) return why;
    auto device = weir::stack::tun_device::open({}, why);
    return device ? "" : why;
  });
}

std::string try_user_namespace() {
  return tried_in_a_child([]() -> std::string {
    if (::unshare(CLONE_NEWUSER) == 0) return "";
    auto error = errno;
    return fmt::format(
        "{} (see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
        "kernel.apparmor_restrict_unprivileged_userns)",
        std::strerror(error));
  });
}

group backends(const weir::config& settings) {
  group out{"backends", "back ends", {}};
  for (auto* name : {"uring", "asio", "stack", "sim"}) {
    auto probed = weir::probe_backend(name, settings);
    out.facts.push_back({name, name, probed.usable, probed.reason, true});
  }
  auto why = try_private_device();
  out.facts.push_back(
      {"stack_private_net", "stack with stack.private_net", why.empty(), why, true});
  return out;
}

group machine() {
  group out{"cores", "cores", {}};
  weir::config all;
  all.shards = 0;
  out.facts.push_back({"usable", "usable by this process", std::int64_t{all.shard_count()}, ""});
  out.facts.push_back(
      {"present", "present", std::int64_t{std::thread::hardware_concurrency()}, ""});
  auto clock = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  out.facts.push_back({"clock", "clock source", clock,
                       clock == "tsc" || clock == "kvm-clock" ? "" : "reading it may be slow"});
  return out;
}

#if WEIR_WITH_URING
/// Each feature as a ring of weir's has it: used, or hidden by the configuration, or not there.
void add_features(group& out, const weir::detail::uring_features& used,
                  const weir::detail::ring_rules& rules) {
  for (const auto& feature : weir::detail::uring_feature_table) {
    const bool there = used.*feature.member;
    const auto why = rules.allow(feature.member)
                         ? fmt::format("Linux {}.{}", feature.since / 100, feature.since % 100)
                         : "hidden";
    out.facts.push_back({std::string(feature.name), std::string(feature.name), there,
                         there ? "" : fmt::format("{}; {}", why, feature.without)});
  }
}
#endif

group io_uring_facts([[maybe_unused]] const weir::config& settings) {
  group out{"io_uring", "io_uring", {}};
  auto disabled = first_line("/proc/sys/kernel/io_uring_disabled");
  out.facts.push_back(
      {"disabled", "sysctl kernel.io_uring_disabled", disabled.empty() ? "absent" : disabled, ""});
#if WEIR_WITH_URING
  io_uring ring;
  weir::detail::uring_features features;
  const weir::detail::ring_rules rules(settings.uring);
  int error = weir::detail::open_ring(ring, 8, 16, rules, features);
  out.facts.push_back({"ring", "a ring can be made", error == 0,
                       error == 0 ? "" : weir::detail::explain_setup_error(-error)});
  if (error != 0) return out;
  out.facts.push_back({"limits", "used of it", rules.limited() ? rules.words() : "all", ""});
  add_features(out, features, rules);
  io_uring_queue_exit(&ring);
#else
  out.facts.push_back({"ring", "a ring can be made", false, "io_uring was left out of this build"});
#endif
  return out;
}

group tun_facts(const weir::config& settings) {
  group out{"tun", "TUN devices", {}};
  struct stat about{};
  bool exists = ::stat("/dev/net/tun", &about) == 0;
  out.facts.push_back({"exists", "/dev/net/tun", exists,
                       exists ? fmt::format("mode {:04o}", about.st_mode & 07777) : ""});
  auto* user = ::getpwuid(::geteuid());
  auto who = user != nullptr ? std::string(user->pw_name) : std::to_string(::geteuid());
  bool opens = ::access("/dev/net/tun", R_OK | W_OK) == 0;
  out.facts.push_back({"opens", fmt::format("{} may open it", who), opens,
                       opens ? "" : "every user may where udev made it (mode 0666)"});
  auto here = weir::detail::probe_tun(settings.stack, "stack.device");
  out.facts.push_back({"here", "in this network", here.usable, here.reason, true});
  return out;
}

group namespaces() {
  group out{"namespaces", "user namespaces and private networks", {}};
  auto most = first_line("/proc/sys/user/max_user_namespaces");
  out.facts.push_back({"max_user_namespaces", "sysctl user.max_user_namespaces", most, ""});
  auto why = try_user_namespace();
  out.facts.push_back({"user", "user namespaces", why.empty(), why, true});
  why = try_private_network();
  out.facts.push_back({"network", "a private network", why.empty(), why, true});
  return out;
}

std::int64_t limit_of(rlimit limit) {
  return limit.rlim_cur == RLIM_INFINITY ? -1 : static_cast<std::int64_t>(limit.rlim_cur);
}

group limits() {
  group out{"limits", "limits", {}};
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  out.facts.push_back(
      {"descriptors", "open descriptors (ulimit -n)", limit_of(limit),
       limit_of(limit) >= 0 && limit_of(limit) < 10'000
           ? fmt::format("bounds connections on kernel sockets; the hard limit is {}",
                         limit.rlim_max)
           : ""});
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  out.facts.push_back({"locked_bytes", "locked memory (ulimit -l)", limit_of(limit),
                       limit_of(limit) < 0 ? "unlimited" : ""});
  for (auto& [key, path, remark] :
       std::initializer_list<std::tuple<const char*, const char*, const char*>>{
           {"somaxconn", "net/core/somaxconn", "the kernel cuts listen.backlog to this"},
           {"tcp_max_syn_backlog", "net/ipv4/tcp_max_syn_backlog", ""},
           {"unprivileged_port_start", "net/ipv4/ip_unprivileged_port_start",
            "ports below it take root"},
       })
    out.facts.push_back({key, fmt::format("sysctl {}", path),
                         first_line(std::string("/proc/sys/") + path), remark});
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  weir::config_parser parser(
      "weir-probe", "What this machine can do for weir: back ends, io_uring, TUN, limits.");
  parser.flag("--json", "print JSON", json);
  auto settings = parser.parse_or_exit(argc, argv);
  probe::report report{kernel(),
                       {backends(settings), machine(), io_uring_facts(settings),
                        tun_facts(settings), namespaces(), limits()}};
  auto text = json ? report.to_json() : report.to_text();
  bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return written ? 0 : 1;
}

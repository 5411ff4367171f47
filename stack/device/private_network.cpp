// Namespaces: see private_network.hpp. user_namespaces(7), network_namespaces(7).
#include "stack/device/private_network.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>

#include "stack/device/descriptor.hpp"
#include "stack/device/netlink.hpp"

namespace weir::stack {
namespace {

std::error_code last_error() { return {errno, std::system_category()}; }

std::error_code write_file(const char* path, std::string_view text) {
  descriptor file(::open(path, O_WRONLY | O_CLOEXEC));
  if (!file) return last_error();
  auto n = ::write(file.get(), text.data(), text.size());
  if (n < 0) return last_error();
  return {};
}

bool has_other_threads() {
  std::error_code error;
  std::size_t threads = 0;
  for (std::filesystem::directory_iterator at("/proc/self/task", error), end; !error && at != end;
       at.increment(error))
    ++threads;
  return threads > 1;
}

std::string explain(std::error_code error) {
  std::string text = "private network: cannot make a namespace (" + error.message() + "): ";
  if (error == std::errc::no_space_on_device)
    return text + "the limit of user namespaces is reached; raise sysctl user.max_user_namespaces";
  if (error == std::errc::function_not_supported || error == std::errc::invalid_argument)
    return text + "this kernel has no user or network namespaces, or a seccomp filter hides them";
  return text +
         "user namespaces are forbidden here; set sysctl kernel.unprivileged_userns_clone=1 "
         "(Debian) or "
         "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), allow unshare in the "
         "container's seccomp "
         "profile, or run as root";
}

// The caller becomes root inside; a process may map just itself, and only after giving up
// setgroups(2).
std::error_code map_user(uid_t user, gid_t group) {
  if (auto error = write_file("/proc/self/setgroups", "deny");
      error && error != std::errc::no_such_file_or_directory)
    return error;
  if (auto error = write_file("/proc/self/uid_map", "0 " + std::to_string(user) + " 1"))
    return error;
  return write_file("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
}

std::error_code loopback_up() {
  netlink routes;
  auto index = static_cast<int>(::if_nametoindex("lo"));
  if (index == 0) return last_error();
  return routes.set_up(index);
}

}  // namespace

std::error_code enter_private_network(std::string& why, private_user whose) {
  if (has_other_threads()) {
    why = "private network: it must be entered before the program starts a second thread";
    return std::make_error_code(std::errc::operation_not_permitted);
  }
  auto user = ::geteuid();
  auto group = ::getegid();
  // Root of the machine needs no user namespace; root of a container may lack the capability and
  // then does.
  bool done = whose == private_user::when_needed && user == 0 && ::unshare(CLONE_NEWNET) == 0;
  if (!done) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
      auto error = last_error();
      why = explain(error);
      return error;
    }
    if (auto error = map_user(user, group)) {
      why = "private network: the user namespace was made, but its ids cannot be mapped (" +
            error.message() + "): a security module forbids it; run as root";
      return error;
    }
  }
  if (auto error = loopback_up()) {
    why = "private network: the namespace was made, but may not be set up (" + error.message() +
          "): a security module takes its capabilities away (Ubuntu: sysctl "
          "kernel.apparmor_restrict_unprivileged_userns=0); or run as root";
    return error;
  }
  return {};
}

}  // namespace weir::stack

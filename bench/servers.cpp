// See servers.hpp. Adding a server to the benchmark is one row of the table below.
#include "servers.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <net/if.h>
#include <unistd.h>

#include <climits>
#include <ctime>
#include <iterator>
#include <stdexcept>
#include <system_error>

#include "endpoint.hpp"

namespace weir::bench {
namespace {

constexpr int device_wait_ms = 5000;

enum class how_started { weir_kernel, weir_stack, baseline, asio_uring };

struct row {
  std::string_view name;
  how_started how;
  std::string_view address;  // empty: loopback, any free port
  const char* device;        // what carries the address, when it is not loopback
  bool only_echo;
  std::string_view text;
};

constexpr row rows[] = {
    {"uring", how_started::weir_kernel, "", nullptr, false,
     "weir on kernel sockets through io_uring"},
    {"asio", how_started::weir_kernel, "", nullptr, false, "weir on kernel sockets through Asio"},
    {"stack", how_started::weir_stack, "198.18.0.2:7", "wbench0", false,
     "weir on its own TCP stack over TUN"},
    {"raw-epoll", how_started::baseline, "", nullptr, false, "a plain epoll loop"},
    {"raw-uring", how_started::baseline, "", nullptr, true,
     "a plain liburing loop: multishot, provided buffers"},
    {"asio-epoll", how_started::baseline, "", nullptr, true, "Asio's own coroutines on epoll"},
    {"asio-uring", how_started::asio_uring, "", nullptr, true, "Asio's own coroutines on io_uring"},
    {"libuv", how_started::baseline, "", nullptr, true, "libuv"},
    {"veth-epoll", how_started::baseline, "198.18.2.2:7", "veth-client", false,
     "the plain epoll loop behind a veth pair: kernel TCP over a link"},
    {"tun-reflector", how_started::baseline, "198.18.1.2:7", "wreflect", true,
     "stateless answers on TUN: the floor for a user-space stack"},
};

const row& row_of(std::string_view name) {
  for (const row& r : rows)
    if (r.name == name) return r;
  std::vector<std::string_view> names;
  for (const row& r : rows) names.push_back(r.name);
  throw std::invalid_argument(
      fmt::format("no server is called `{}`; there are {}", name, fmt::join(names, ", ")));
}

}  // namespace

server_spec parse_server(std::string_view text) {
  server_spec out;
  out.label = text;
  std::size_t at = text.find(':');
  out.name = text.substr(0, at);
  row_of(out.name);
  while (at != std::string_view::npos) {
    const std::size_t next = text.find(':', at + 1);
    const std::string_view setting =
        text.substr(at + 1, next == std::string_view::npos ? next : next - at - 1);
    const std::size_t equals = setting.find('=');
    if (equals == std::string_view::npos || equals == 0)
      throw std::invalid_argument(fmt::format("`{}` in `{}` is not key=value", setting, text));
    out.settings.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
    at = next;
  }
  return out;
}

bool needs_private_network(const server_spec& spec) { return !row_of(spec.name).address.empty(); }

bool serves(const server_spec& spec, scenario kind, std::string& why) {
  const row& r = row_of(spec.name);
  const bool weir = r.how == how_started::weir_kernel || r.how == how_started::weir_stack;
  const auto wanted = services_of(kind).front();
  if (weir || wanted == "echo" || (wanted != "http" && !r.only_echo)) return true;
  why = fmt::format("{} does not serve {}", spec.name, wanted);
  return false;
}

void wait_for_free_device(const server_spec& spec) {
  const row& r = row_of(spec.name);
  if (r.device == nullptr) return;
  const timespec pause{0, 1'000'000};
  for (int tries = 0; ::if_nametoindex(r.device) != 0; ++tries) {
    if (tries == device_wait_ms)
      throw std::runtime_error(fmt::format("there is a device {} already", r.device));
    ::nanosleep(&pause, nullptr);
  }
}

std::vector<std::pair<std::string, std::string>> known_servers() {
  std::vector<std::pair<std::string, std::string>> out;
  for (const row& r : rows) out.emplace_back(r.name, r.text);
  return out;
}

std::vector<std::string> command_for(const server_spec& spec, const std::string& usual_dir,
                                     scenario kind) {
  const row& r = row_of(spec.name);
  auto bin_dir = usual_dir;
  for (const auto& [key, value] : spec.settings)
    if (key == "bin") bin_dir = value;
  const auto services = services_of(kind);
  const bool http = services.front() == "http";
  std::vector<std::string> where;
  auto next = r.address.empty() ? endpoint{} : *parse_endpoint(r.address);
  for (std::size_t i = 0; i < services.size(); ++i) {
    where.push_back(r.address.empty() ? free_loopback_endpoint() : to_string(next));
    next = next_port(next);
  }
  std::vector<std::string> out;
  switch (r.how) {
    case how_started::weir_kernel:
    case how_started::weir_stack:
      out = {bin_dir + (http ? "/http_server" : "/services"), "--backend", spec.name};
      for (std::size_t i = 0; i < services.size(); ++i)
        out.insert(out.end(), {fmt::format("--{}", services[i]), where[i]});
      if (r.how == how_started::weir_stack) out.insert(out.end(), {"--stack.device", r.device});
      break;
    case how_started::baseline:
      out = {bin_dir + "/weir-bench", "serve", spec.name,
             r.address.empty() ? "127.0.0.1:0" : where.front()};
      if (kind != scenario::echo && !r.only_echo)
        out.insert(out.end(), {"--services", fmt::format("{}", fmt::join(services, ","))});
      break;
    case how_started::asio_uring: out = {bin_dir + "/weir-bench-asio-uring", where.front()}; break;
  }
  for (const auto& [key, value] : spec.settings)
    if (key != "bin") out.push_back("--" + key + "=" + value);
  return out;
}

std::string free_loopback_endpoint() {
  const int fd = listen_on(*parse_endpoint("127.0.0.1:0"), 1);
  const std::string text = to_string(local_endpoint(fd));
  ::close(fd);
  return text;
}

std::string own_directory() {
  char path[PATH_MAX];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0) throw std::system_error(errno, std::system_category(), "/proc/self/exe");
  const std::string text(path, static_cast<std::size_t>(n));
  return text.substr(0, text.rfind('/'));
}

}  // namespace weir::bench

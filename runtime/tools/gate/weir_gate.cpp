// weir-gate: a program in a network of its own, whose way out is this program's ordinary sockets.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "runtime/core/log.hpp"
#include "runtime/tools/gate/frame_stream.hpp"
#include "runtime/tools/gate/gateway.hpp"
#include "runtime/tools/gate/handed_in.hpp"
#include "runtime/tools/gate/slirp_words.hpp"
#include "weir/weir.hpp"

namespace {

using namespace std::chrono_literals;
using namespace weir;
using namespace weir::gate;

constexpr int exit_usage = 2;
constexpr duration after_stop = 5s;  // that the command has once it was asked to end

constexpr const char* usage =
    "usage: weir-gate run [OPTIONS] -- COMMAND [ARGUMENTS]\n"
    "       weir-gate attach [OPTIONS] --pid N | --netns PATH | --socket PATH | --fd FD\n"
    "\n"
    "run     COMMAND in a user and network namespace of its own, connected through this host's\n"
    "        sockets: TCP, UDP, DNS, IPv4 and IPv6. Ends with COMMAND's exit status.\n"
    "attach  the same for a network namespace that exists, or for a virtual machine, until a\n"
    "        signal.\n"
    "\n"
    "examples:\n"
    "  weir-gate run -- curl https://example.org\n"
    "  weir-gate run -p 8080:80 --deny 10.0.0.0/8 -- ./server\n"
    "  weir-gate run --allow 198.51.100.7:443 --deny '*' --log - -- ./update\n"
    "  weir-gate run --upstream socks5://127.0.0.1:1080 --resolve.servers 9.9.9.9 -- firefox\n"
    "  weir-gate attach --pid 4711 --observe.listen 127.0.0.1:9100\n"
    "  weir-gate attach --socket vm.sock &\n"
    "  qemu-system-x86_64 -nic stream,addr.type=unix,addr.path=vm.sock ...\n"
    "\n"
    "weir-gate run --help lists the options.\n";

struct asked {
  bool attaches = false;
  bool ethernet = false, dhcp = false;
  guest_place place;
  gateway_options gateway;
  std::string log;
  std::string pid;
  std::string socket;  // where a virtual machine connects
  handed_in handed;
  int ready_fd = -1, exit_fd = -1, handed_fd = -1;
  bool keeps_resolv_conf = false;
};

/// What the options say, in the order of the command line: rules are judged in it.
void declare(config_parser& parser, asked& into) {
  const auto rules = [&](const char* option, const char* help, bool allow) {
    parser.repeated(option, "RULE", help, [&into, allow](std::string_view text) -> std::string {
      auto one = rule::parse(text, allow);
      if (!one)
        return "must be a network or a name, with ports or without: 10.0.0.0/8, "
               "[2001:db8::]/32:80-90, *:25, example.org, *.example.org:443";
      into.gateway.policy.rules.push_back(std::move(*one));
      return {};
    });
  };
  rules("--allow", "what may be reached, before every --deny", true);
  rules("--deny", "what may not be reached: told to the guest as prohibited", false);
  parser.repeated("--publish", "[ADDR:]PORT:PORT[/udp]",
                  "a port of this host (of 127.0.0.1 where no address is given) and the guest's "
                  "that it leads to; -p",
                  [&into](std::string_view text) -> std::string {
                    auto one = published::parse(text);
                    if (!one)
                      return "must be PORT:PORT or ADDRESS:PORT:PORT, /udp behind it or not";
                    into.gateway.publish.push_back(*one);
                    return {};
                  });
  parser.flag("--host-loopback",
              "the gateway's address (10.0.2.2, fd77:6569:7200::2) leads to this host's loopback",
              into.gateway.policy.host_loopback);
  parser.value("--max-flows", "N", "TCP connections, and UDP flows of each family, at once", "",
               [&into](std::string_view text) -> std::string {
                 const auto n = std::atoi(std::string(text).c_str());
                 if (n < 1 || n > 65536) return "must be a number from 1 to 65536";
                 into.gateway.max_flows = static_cast<std::uint32_t>(n);
                 return {};
               });
  parser.value("--udp-idle", "S", "seconds after which an idle UDP flow ends", "60",
               [&into](std::string_view text) -> std::string {
                 const auto n = std::atoi(std::string(text).c_str());
                 if (n < 1 || n > 86400) return "must be seconds, from 1 to 86400";
                 into.gateway.udp_idle = std::chrono::seconds(n);
                 return {};
               });
  parser.value(
      "--upstream", "URL",
      "a proxy, by which everything leaves: socks5://[USER:PASSWORD@]HOST:PORT, http://...", "",
      [&into](std::string_view text) -> std::string {
        std::string why;
        if (!upstream::parse(text, into.gateway.upstream.emplace(), why)) return why;
        return {};
      });
  parser.flag("--tap", "the guest's device carries Ethernet frames", into.ethernet);
  parser.flag("--dhcp",
              "--tap, and the guest configures the device itself: by DHCP, DHCPv6 and IPv6 router "
              "advertisements",
              into.dhcp);
  parser.value("--log", "FILE", "a line for each flow that is over; - for stderr", into.log);
  if (into.attaches) {
    parser.value("--pid", "N", "the process whose network namespace it is", into.pid);
    parser.value("--netns", "PATH", "the file of the network namespace", into.place.path);
    const auto path = [&](const char* option, const char* help, std::string& to) {
      parser.value(option, "PATH", help, "", [&to](std::string_view text) -> std::string {
        if (text.empty() || text.size() > unix_endpoint::max_size || text[0] == '@')
          return "must be a path of at most 107 bytes";
        to = text;
        return {};
      });
    };
    path("--socket",
         "a Unix socket, to which a virtual machine connects: Ethernet frames as QEMU's \"stream\" "
         "and passt have them; it asks by DHCP",
         into.socket);
    const auto descriptor = [&](const char* option, const char* help, int& number) {
      parser.value(option, "FD", help, "", [&number](std::string_view text) -> std::string {
        const std::string digits(text);
        number = std::atoi(digits.c_str());
        if (digits.find_first_not_of("0123456789") == digits.npos && ::fcntl(number, F_GETFD) >= 0)
          return {};
        return "must be the number of a descriptor that is open";
      });
    };
    path("--api-socket", "a Unix socket, on which ports are published as slirp4netns's API has it",
         into.gateway.api_socket);
    descriptor("--fd",
               "a descriptor behind which the guest is: a Unix stream of such frames, or a TUN or "
               "TAP device with IFF_NO_PI, IFF_VNET_HDR and --stack.mtu",
               into.handed_fd);
    descriptor("--ready-fd", "\"1\" is written to it once the network is there", into.ready_fd);
    descriptor("--exit-fd", "a pipe whose other end, once closed, ends this", into.exit_fd);
  } else {
    parser.flag("--keep-resolv-conf", "the command sees this host's /etc/resolv.conf",
                into.keeps_resolv_conf);
  }
}

/// "-p X" is "--publish X".
std::vector<std::string> spelled_out(int argc, char** argv, int end) {
  std::vector<std::string> out = {"weir-gate"};
  for (int i = 2; i < end; ++i) {
    const std::string_view word = argv[i];
    if (word == "-p")
      out.emplace_back("--publish");
    else if (word.starts_with("-p") && word.size() > 2)
      out.push_back("--publish=" + std::string(word.substr(2)));
    else
      out.emplace_back(word);
  }
  (void)argc;
  return out;
}

guest_network usual_network(const config& settings, const asked& what) {
  guest_network out;
  const bool is_handed_in = what.handed_fd >= 0 || !what.socket.empty();
  out.ethernet = is_handed_in
                     ? what.handed.ethernet
                     : what.ethernet || what.dhcp || settings.stack.link == device_link::ethernet;
  out.asks = what.dhcp || (is_handed_in && out.ethernet);
  out.device = settings.stack.device;
  out.mtu = settings.stack.mtu;
  out.offload = settings.stack.offload;
  out.guest = {*ip_prefix::parse("10.0.2.100/24"), *ip_prefix::parse("fd77:6569:7200::100/64")};
  out.gateway = {*ip_prefix::parse("10.0.2.2/24"), *ip_prefix::parse("fd77:6569:7200::2/64")};
  out.dns = {*ip_address::parse("10.0.2.3"), *ip_address::parse("fd77:6569:7200::3")};
  // Its IPv6 address may be of the guest's own making then: published ports lead to the other.
  if (out.asks) {
    out.leased_v6 = out.guest.back().address;
    out.guest.pop_back();
  }
  return out;
}

/// The name servers of this host: the guest's stands for the first.
std::vector<endpoint> host_resolver(const config& settings) {
  if (!settings.resolve.servers.empty()) return settings.resolve.servers;
  std::vector<endpoint> out;
  std::ifstream file("/etc/resolv.conf");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string keyword, address;
    words >> keyword >> address;
    if (keyword != "nameserver") continue;
    if (const auto parsed = ip_address::parse(address)) out.push_back({*parsed, 53});
  }
  return out;
}

/// As many descriptors as this process may have: a flow takes one. Gives how many flows that are.
std::uint32_t raise_descriptors(rlimit& before) {
  constexpr rlim_t spare = 256, most = 1u << 20;
  ::getrlimit(RLIMIT_NOFILE, &before);
  auto now = before;
  now.rlim_cur = std::min(now.rlim_max, most);
  if (::setrlimit(RLIMIT_NOFILE, &now) != 0) now = before;
  return static_cast<std::uint32_t>(now.rlim_cur > 2 * spare ? now.rlim_cur - spare : spare);
}

/// Keys at a terminal are the command's: it is in the same group of processes, and gets their
/// signals itself.
void leave_terminal_signals_to_the_command() {
  const int terminal = ::open("/dev/tty", O_RDONLY | O_CLOEXEC);
  if (terminal < 0) return;
  if (::tcgetpgrp(terminal) == ::getpgrp()) {
    sigset_t keys;
    ::sigemptyset(&keys);
    ::sigaddset(&keys, SIGINT);
    ::sigaddset(&keys, SIGQUIT);
    ::sigprocmask(SIG_BLOCK, &keys, nullptr);
  }
  ::close(terminal);
}

/// The first signal that ends us ends the command, which has some time for it.
task<> end_command_on_stop(const guest& command) {
  co_await stop_requested();
  ::kill(command.pid(), SIGTERM);
  co_await sleep_for(after_stop);
  ::kill(command.pid(), SIGKILL);
}

task<> wait_for(guest& command, signal_watch& children, int& status) {
  for (status = command.poll(); status < 0; status = command.poll()) {
    auto came = co_await children.next().nothrow();
    if (came) continue;
    ::kill(command.pid(), SIGKILL);  // the second signal that ends us
    status = command.wait();
    break;
  }
}

/// The end of whoever holds the other end of the pipe ends us.
task<> stop_with(shard& here, unique_fd pipe) {
  auto other = adopt_pipe(here, std::move(pipe));
  std::array<std::byte, 16> bytes;
  for (;;) {
    auto got = co_await other.read_some(bytes).nothrow();
    if (!got || got.n == 0) break;
  }
  here.request_stop();
}

/// One virtual machine after the other.
task<> serve_machines(unix_listener listener, std::shared_ptr<frame_stream> frames) {
  for (;;) {
    auto machine = co_await listener.accept();
    if (!machine) break;
    const auto why = co_await frames->carry(*machine);
    if (!why.empty()) weir::detail::log_line("the machine is gone: " + why);
  }
}

/// The machine at the other end of a descriptor: its end is ours.
task<> serve_machine(shard& here, unix_stream machine, std::shared_ptr<frame_stream> frames) {
  const auto why = co_await frames->carry(machine);
  if (!why.empty()) weir::detail::log_line("the machine is gone: " + why);
  here.request_stop();
}

/// Until a signal, or the end of who asked for it.
task<> stay_attached(shard& here, const asked& what, scope& others) {
  std::puts("attached");
  std::fflush(stdout);
  if (what.ready_fd >= 0) {
    const unique_fd ready(what.ready_fd);
    if (::write(ready.get(), "1", 1) != 1)
      throw io_error({errno, std::generic_category()}, "--ready-fd");
  }
  if (what.exit_fd >= 0) others.spawn(stop_with(here, unique_fd(what.exit_fd)));
  co_await stop_requested();
}

/// Whose frames come by a stream: a device that `frames` stands for. Else the guest's own, or the
/// one that was handed in.
guest_device device_of(asked& what, guest* other, const std::shared_ptr<frame_stream>& frames) {
  if (other != nullptr) return other->take_device();
  if (frames == nullptr) return std::move(what.handed.device);
  guest_device out;
  out.mtu = what.gateway.network.mtu;
  out.open_port = [frames](auto& receiver) { return frames->open_port(receiver); };
  return out;
}

/// `other` is null where the guest is behind a descriptor.
task<> serve(shard& here, asked& what, guest* other, flow_log& log, int& status) {
  std::shared_ptr<frame_stream> frames;
  if (!what.socket.empty() || what.handed.stream)
    frames = std::make_shared<frame_stream>(here, what.gateway.network.mtu);
  gateway gate(here, what.gateway, device_of(what, other, frames), log);
  signal_watch children(here, {SIGCHLD});
  scope ending(here);
  std::exception_ptr failure;
  try {
    gate.open();
    if (!what.socket.empty())
      ending.spawn(serve_machines(here.listen(unix_endpoint(what.socket), {.mode = 0600}), frames));
    if (what.handed.stream)
      ending.spawn(serve_machine(here, adopt_unix(here, std::move(what.handed.stream)), frames));
    if (what.attaches) {
      co_await stay_attached(here, what, ending);
      status = 0;
    } else {
      other->go();
      ending.spawn(end_command_on_stop(*other));
      co_await wait_for(*other, children, status);
    }
  } catch (...) {
    failure = std::current_exception();
  }
  ending.cancel();
  co_await ending.join();
  co_await gate.close(std::chrono::milliseconds(here.settings().stop.linger_ms));
  if (failure) std::rethrow_exception(failure);
}

config parsed(asked& what, int argc, char** argv, int end) {
  config_parser parser(what.attaches ? "weir-gate attach" : "weir-gate run",
                       what.attaches
                           ? "Connects a network namespace through this host's sockets."
                           : "Runs a command in a network of its own: [OPTIONS] -- COMMAND");
  declare(parser, what);
  auto words = spelled_out(argc, argv, end);
  std::vector<char*> pointers;
  for (auto& each : words) pointers.push_back(each.data());
  auto settings = parser.parse_or_exit(static_cast<int>(pointers.size()), pointers.data());
  if (settings.backend == "stack" || settings.backend == "sim")
    throw config_error("backend: weir-gate goes out by kernel sockets: uring, asio or auto");
  for (const auto& each : settings.networks)
    if (each.name == gateway::network_name)
      throw config_error(fmt::format(
          "[network.{}]: weir-gate's own network, on which its guest is, has that name; choose "
          "another",
          each.name));
  if ((what.ethernet || what.dhcp) && settings.stack.link == device_link::ip)
    throw config_error("stack.link = 'ip': --tap and --dhcp need Ethernet; leave one of them out");
  settings.shards = 1;
  settings.stack.placement = placement::inline_;
  std::vector<rule> in_order;
  for (const bool allow : {true, false})
    for (const auto& each : what.gateway.policy.rules)
      if (each.allow == allow) in_order.push_back(each);
  what.gateway.policy.rules = std::move(in_order);
  return settings;
}

void check(asked& what) {
  if (!what.attaches) {
    if (what.place.command.empty())
      throw config_error("which command? weir-gate run [OPTIONS] -- COMMAND [ARGUMENTS]");
    return;
  }
  const int ways = (what.pid.empty() ? 0 : 1) + (what.place.path.empty() ? 0 : 1) +
                   (what.socket.empty() ? 0 : 1) + (what.handed_fd < 0 ? 0 : 1);
  if (ways != 1) throw config_error("give one of --pid N, --netns PATH, --socket PATH and --fd FD");
  if (what.pid.empty()) return;
  what.place.of_process = std::atoi(what.pid.c_str());
  if (what.place.of_process <= 0) throw config_error("--pid: must be a process's number");
}

int gate_main(int argc, char** argv);

/// Under slirp4netns's name.
int be_slirp4netns(int argc, char** argv) {
  auto asked = from_slirp4netns({argv + 1, argv + argc});
  if (asked.asks_for_help) {
    std::fputs(slirp4netns_usage, stdout);
    return 0;
  }
  if (!asked.wrong.empty()) throw config_error(asked.wrong);
  if (asked.asks_for_version) asked.words = {"--version"};
  std::string name = "weir-gate";
  std::vector<char*> pointers = {name.data()};
  for (auto& each : asked.words) pointers.push_back(each.data());
  const auto count = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  return gate_main(count, pointers.data());
}

int gate_main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "--help" || verb == "-h" || verb == "help") {
    std::fputs(usage, stdout);
    return 0;
  }
  if (verb == "--version") {
    char* words[] = {argv[0], argv[1]};
    config_parser("weir-gate", "").parse_or_exit(2, words);
  }
  if (verb != "run" && verb != "attach") {
    std::fprintf(stderr, "weir-gate: '%.*s': must be run or attach\n\n%s",
                 static_cast<int>(verb.size()), verb.data(), usage);
    return exit_usage;
  }
  asked what;
  what.attaches = verb == "attach";
  const auto end = static_cast<int>(
      std::find_if(argv + 2, argv + argc,
                   [](const char* word) { return std::string_view(word) == "--"; }) -
      argv);
  for (int i = end + 1; i < argc; ++i) what.place.command.emplace_back(argv[i]);
  const auto settings = parsed(what, argc, argv, end);
  check(what);
  what.place.resolv_conf = !what.keeps_resolv_conf;
  auto& gateway = what.gateway;
  if (what.handed_fd >= 0) what.handed = take_in(what.handed_fd, settings.stack.mtu);
  gateway.network = usual_network(settings, what);
  for (const auto& each : gateway.network.gateway) gateway.policy.gateway.push_back(each.address);
  gateway.policy.dns = gateway.network.dns;
  gateway.policy.resolver = host_resolver(settings);
  if (gateway.upstream && settings.resolve.servers.empty()) {
    gateway.policy.resolver.clear();  // the host's own is seldom one that the proxy reaches
    weir::detail::log_line("names: none, unless --resolve.servers says whom to ask by the proxy");
  }
  flow_log log(what.log);
  std::optional<guest> other;
  if (what.handed_fd < 0 && what.socket.empty()) other.emplace(what.place, gateway.network);
  rlimit before{};
  const auto most = std::min(raise_descriptors(before), 65536u);
  gateway.max_flows = gateway.max_flows == 0 ? most : std::min(gateway.max_flows, most);
  if (!what.attaches) leave_terminal_signals_to_the_command();
  int status = -1;
  const int outcome = weir::run(settings, [&](shard& here) {
    return serve(here, what, other ? &*other : nullptr, log, status);
  });
  return status < 0 ? std::max(outcome, 1) : status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string_view name = argc > 0 ? argv[0] : "";
    const bool as_slirp = name.substr(name.rfind('/') + 1) == "slirp4netns";
    return as_slirp ? be_slirp4netns(argc, argv) : gate_main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "weir-gate: %s\n", error.what());
    return exit_usage;
  }
}

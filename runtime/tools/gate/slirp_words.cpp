// slirp4netns(1)'s options, one table.
#include "runtime/tools/gate/slirp_words.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

namespace weir::gate {
namespace {

enum class meaning {
  help,
  version,
  configure,
  exit_fd,
  ready_fd,
  api_socket,
  mtu,
  no_host_loopback,
  no_names,
  kind,
  nothing,  // given anyway, or of no use here: both families, the owner of the network is found
  missing
};

struct option {
  std::string_view name;
  char letter;  // or 0
  bool has_value;
  meaning means;
};

constexpr option options[] = {{"help", 'h', false, meaning::help},
                              {"version", 'v', false, meaning::version},
                              {"configure", 'c', false, meaning::configure},
                              {"exit-fd", 'e', true, meaning::exit_fd},
                              {"ready-fd", 'r', true, meaning::ready_fd},
                              {"mtu", 'm', true, meaning::mtu},
                              {"enable-ipv6", '6', false, meaning::nothing},
                              {"disable-host-loopback", 0, false, meaning::no_host_loopback},
                              {"disable-dns", 0, false, meaning::no_names},
                              {"netns-type", 0, true, meaning::kind},
                              {"userns-path", 0, true, meaning::nothing},
                              {"enable-sandbox", 0, false, meaning::nothing},
                              {"enable-seccomp", 0, false, meaning::nothing},
                              {"api-socket", 'a', true, meaning::api_socket},
                              {"cidr", 0, true, meaning::missing},
                              {"macaddress", 0, true, meaning::missing},
                              {"outbound-addr", 0, true, meaning::missing},
                              {"outbound-addr6", 0, true, meaning::missing},
                              {"target-type", 0, true, meaning::missing}};

/// What was said, in the order in which it does not matter.
struct said {
  bool configure = false, host_loopback = true, names = true, by_path = false;
  std::vector<std::string> places;  // whose network, and the device's name
};

class reader {
 public:
  explicit reader(const std::vector<std::string>& arguments) : arguments_(arguments) {}

  slirp4netns_words read() {
    for (at_ = 0; at_ < arguments_.size() && out_.wrong.empty(); ++at_) {
      const std::string_view word = arguments_[at_];
      if (word.starts_with("--"))
        take_long(word.substr(2));
      else if (word.size() > 1 && word[0] == '-')
        take_letters(word.substr(1));
      else
        said_.places.emplace_back(word);
    }
    if (out_.wrong.empty() && !out_.asks_for_help && !out_.asks_for_version) finish();
    return std::move(out_);
  }

 private:
  void take_long(std::string_view word) {
    const auto equals = word.find('=');
    const auto name = word.substr(0, equals);
    for (const auto& each : options) {
      if (each.name != name) continue;
      if (!each.has_value && equals != word.npos) break;
      if (equals != word.npos) return apply(each, std::string(word.substr(equals + 1)));
      return apply(each, each.has_value ? next_word() : std::optional<std::string>(""));
    }
    out_.wrong = "--" + std::string(name) + ": no such option";
  }

  // "-c", "-ce3", "-e 3".
  void take_letters(std::string_view letters) {
    for (std::size_t i = 0; i < letters.size() && out_.wrong.empty(); ++i) {
      const auto* found = std::find_if(std::begin(options), std::end(options),
                                       [&](const option& o) { return o.letter == letters[i]; });
      if (found == std::end(options)) {
        out_.wrong = std::string("-") + letters[i] + ": no such option";
        return;
      }
      if (!found->has_value) {
        apply(*found, "");
        continue;
      }
      const auto rest = letters.substr(i + 1);
      return apply(*found, rest.empty() ? next_word() : std::optional(std::string(rest)));
    }
  }

  std::optional<std::string> next_word() {
    if (at_ + 1 >= arguments_.size()) return std::nullopt;
    return arguments_[++at_];
  }

  void apply(const option& what, const std::optional<std::string>& value) {
    const auto name = "--" + std::string(what.name);
    if (!value) {
      out_.wrong = name + ": needs a value";
      return;
    }
    switch (what.means) {
      case meaning::help: out_.asks_for_help = true; break;
      case meaning::version: out_.asks_for_version = true; break;
      case meaning::configure: said_.configure = true; break;
      case meaning::exit_fd:
      case meaning::ready_fd:
      case meaning::api_socket: pass_on({name, *value}); break;
      case meaning::mtu: pass_on({"--stack.mtu", *value}); break;
      case meaning::no_host_loopback: said_.host_loopback = false; break;
      case meaning::no_names: said_.names = false; break;
      case meaning::kind:
        said_.by_path = *value == "path";
        if (!said_.by_path && *value != "pid") out_.wrong = name + ": must be path or pid";
        break;
      case meaning::nothing: break;
      case meaning::missing: out_.wrong = name + ": weir-gate has nothing of the kind"; break;
    }
  }

  void pass_on(std::initializer_list<std::string> words) { passed_.insert(passed_.end(), words); }

  void finish() {
    if (said_.places.size() != 2) {
      out_.wrong = "which network, and which device? slirp4netns [OPTIONS] PID|PATH TAPNAME";
      return;
    }
    out_.words = {"attach",        said_.by_path ? "--netns" : "--pid",
                  said_.places[0], "--stack.device",
                  said_.places[1], said_.configure ? "--tap" : "--dhcp"};
    if (said_.host_loopback) out_.words.emplace_back("--host-loopback");
    if (!said_.names)
      out_.words.insert(out_.words.end(), {"--deny", "10.0.2.3", "--deny", "fd77:6569:7200::3"});
    out_.words.insert(out_.words.end(), passed_.begin(), passed_.end());
  }

  const std::vector<std::string>& arguments_;
  std::size_t at_ = 0;
  said said_;
  std::vector<std::string> passed_;
  slirp4netns_words out_;
};

}  // namespace

const char* const slirp4netns_usage =
    "usage: slirp4netns [OPTIONS] PID|PATH TAPNAME\n"
    "\n"
    "weir-gate attach under the name that podman and rootlesskit call.\n"
    "\n"
    "-c, --configure          give the device addresses; without it the guest asks by DHCP\n"
    "-e, --exit-fd=FD         end when the other end of this pipe is closed\n"
    "-r, --ready-fd=FD        write \"1\" to it once the network is there\n"
    "-a, --api-socket=PATH    publish ports by requests on this Unix socket\n"
    "-m, --mtu=MTU            the device's MTU\n"
    "-6, --enable-ipv6        always on\n"
    "--disable-host-loopback  10.0.2.2 does not lead to the host's loopback\n"
    "--disable-dns            10.0.2.3 answers nobody\n"
    "--netns-type=TYPE        path or pid (default)\n"
    "--userns-path=PATH       not needed: the owner of the network is found\n"
    "--enable-sandbox         without effect\n"
    "--enable-seccomp         without effect\n"
    "-h, --help               show this and exit\n"
    "-v, --version            show the version and exit\n";

slirp4netns_words from_slirp4netns(const std::vector<std::string>& arguments) {
  return reader(arguments).read();
}

}  // namespace weir::gate

// The configuration: every key through every place, the order of the places, and what each kind of
// mistake is told.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "runtime/config/keys.hpp"
#include "runtime/core/log.hpp"
#include "weir/config.hpp"

using namespace weir;
using strings = std::vector<std::string>;

namespace {

/// A file of the test's own, gone with the test.
class temporary_file {
 public:
  explicit temporary_file(const std::string& text) {
    char name[] = "/tmp/weir-config-XXXXXX";
    int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    close(fd);
    path = name;
    std::ofstream(path) << text;
  }
  ~temporary_file() { std::remove(path.c_str()); }
  std::string path;
};

config parse(const strings& arguments, const strings& environment = {}) {
  return config_parser("test", "A test.").parse(arguments, environment);
}

std::string error_of(const strings& arguments, const strings& environment = {}) {
  try {
    (void)parse(arguments, environment);
  } catch (const config_error& error) {
    return error.what();
  }
  return "no error";
}

/// The message of a file's error, with "FILE" for its name.
std::string error_of_file(const std::string& text) {
  temporary_file file(text);
  auto what = error_of({"--config", file.path});
  if (auto at = what.find(file.path); at != std::string::npos)
    what.replace(at, file.path.size(), "FILE");
  return what;
}

/// A value that is not the key's default, in the form that the command line takes.
std::string other_value(const detail::key& k) {
  if (k.name == "backend") return "asio";
  if (k.name == "stack.queues") return "1";
  if (k.name == "stack.address") return "198.18.0.7/24";
  if (k.name == "stack.host_address") return "198.18.0.9/24";
  if (k.name == "stack.device") return "tun7";
  if (k.name == "stack.handover") return "unix:@other";
  if (k.name == "observe.listen") return "127.0.0.1:9100";
  if (k.name == "observe.pcap") return "out.pcapng";
  if (k.name == "observe.network" || k.name == "resolve.network") return "kernel";
  if (k.name == "stack.route") return "10.9.0.0/16";
  if (k.name == "resolve.servers") return "192.0.2.1:5353";
  if (k.name.starts_with("tls.") && k.name != "tls.minimum") return "other.pem";
  auto shown = k.show(config{})[0];
  if (k.kind == detail::key_kind::boolean) return shown == "true" ? "false" : "true";
  if (k.kind == detail::key_kind::number)
    return k.name == "stack.mtu" || k.name == "http.max_head" ? "1400"
           : k.name.ends_with("buffer")                       ? "65536"
                                                              : "7";
  return k.allowed.substr(k.allowed.rfind(' ') + 1);  // the last choice
}

std::string shown(const detail::key& k, const config& c) {
  std::string out;
  for (auto& one : k.show(c)) out += (out.empty() ? "" : ",") + one;
  return out;
}

}  // namespace

TEST_CASE("defaults_are_those_of_the_design") {
  auto c = parse({});
  CHECK(c.backend == "auto");
  CHECK(c.shards == 1);
  CHECK(c.listen.backlog == 1024);
  CHECK(c.listen.sharing == sharing::exclusive);
  CHECK_FALSE(c.listen.allow_wildcard);
  CHECK(c.tcp.nodelay);
  CHECK(c.tcp.congestion == "cubic");
  CHECK(c.stack.device == "weir0");
  REQUIRE(c.stack_addresses().size() == 1);
  CHECK(c.stack_addresses()[0].to_string() == "198.18.0.2/24");
  CHECK(c.stack_host_addresses()[0].to_string() == "198.18.0.1/24");
  CHECK(c.stack.mtu == 1500);
  CHECK(c.observe.listen.empty());
}

TEST_CASE("every_key_is_set_by_the_command_line_the_environment_and_the_file") {
  for (auto& k : detail::keys()) {
    CAPTURE(k.name);
    auto value = other_value(k);
    REQUIRE(value != shown(k, config{}));
    if (k.kind != detail::key_kind::boolean) CHECK(shown(k, parse({k.option(), value})) == value);
    CHECK(shown(k, parse({k.option() + "=" + value})) == value);
    CHECK(shown(k, parse({}, {k.environment() + "=" + value})) == value);

    auto written = value;
    if (k.kind != detail::key_kind::boolean && k.kind != detail::key_kind::number)
      written = '"' + value + '"';
    auto short_name = k.section().empty() ? k.name : k.name.substr(k.section().size() + 1);
    auto header = k.section().empty() ? "" : "[" + k.section() + "]\n";
    temporary_file file(header + short_name + " = " + written + "\n");
    CHECK(shown(k, parse({"--config", file.path})) == value);
  }
}

TEST_CASE("the_environment_wins_over_the_file_and_the_command_line_over_both") {
  temporary_file file("shards = 2\nbusy_poll_us = 2\n[listen]\nbacklog = 2\n");
  auto c =
      parse({"--config", file.path, "--shards", "4"}, {"WEIR_SHARDS=3", "WEIR_BUSY_POLL_US=3"});
  CHECK(c.shards == 4);
  CHECK(c.busy_poll_us == 3);
  CHECK(c.listen.backlog == 2);
}

TEST_CASE("the_last_of_several_values_of_one_option_wins") {
  CHECK(parse({"--shards", "2", "--shards=3"}).shards == 3);
}

TEST_CASE("flags_need_no_value_and_take_one_after_an_equals_sign") {
  CHECK(parse({"--pin"}).pin);
  CHECK(parse({"--pin=true"}).pin);
  CHECK_FALSE(parse({"--tcp.nodelay=false"}).tcp.nodelay);
  CHECK(error_of({"--pin=maybe"}) == "command line: pin = 'maybe': must be true or false");
  CHECK(error_of({"--pin", "false"}) == "command line: unexpected argument 'false'");
}

TEST_CASE("lists_are_repeated_options_or_split_at_commas_or_arrays") {
  strings hosts = {"--stack.host_address", "198.18.0.1/24", "--stack.host_address", "fd00::1/64"};
  auto with = [&](strings more) {
    more.insert(more.end(), hosts.begin(), hosts.end());
    return more;
  };
  auto check = [](const config& c) {
    REQUIRE(c.stack.address.size() == 2);
    CHECK(c.stack.address[0].to_string() == "198.18.0.2/24");
    CHECK(c.stack.address[1].to_string() == "fd00::2/64");
  };
  check(parse(with({"--stack.address", "198.18.0.2/24", "--stack.address", "fd00::2/64"})));
  check(parse(with({"--stack.address=198.18.0.2/24,fd00::2/64"})));
  check(parse(hosts, {"WEIR_STACK_ADDRESS=198.18.0.2/24, fd00::2/64"}));
  temporary_file file("[stack]\naddress = [\"198.18.0.2/24\", \"fd00::2/64\"]\n");
  check(parse(with({"--config", file.path})));
}

TEST_CASE("a_list_given_by_a_stronger_place_replaces_the_weaker_one") {
  temporary_file file("[stack]\naddress = [\"198.18.0.4/24\", \"198.18.0.5/24\"]\n");
  auto c = parse({"--config", file.path, "--stack.address", "198.18.0.6/24"});
  REQUIRE(c.stack.address.size() == 1);
  CHECK(c.stack.address[0].to_string() == "198.18.0.6/24");
}

TEST_CASE("auto_and_off_are_words_for_the_default") {
  CHECK(parse({"--tcp.receive_buffer", "auto"}).tcp.receive_buffer == 0);
  CHECK(parse({"--observe.listen", "off", "--observe.pcap=off"}).observe.listen.empty());
  CHECK(error_of({"--tcp.send_buffer", "0"}) ==
        "command line: tcp.send_buffer = '0': must be a number from 4096 to 1073741824 or 'auto'");
}

TEST_CASE("auto_is_a_word_beside_the_numbers_of_busy_polling") {
  auto c = parse({"--busy_poll_us", "auto"});
  CHECK(c.busy_poll_us == config::busy_poll_auto);
  CHECK(parse({"--busy_poll_us", "0"}).busy_poll_us == 0);
  temporary_file file(c.to_toml());
  CHECK(parse({"--config", file.path}).busy_poll_us == config::busy_poll_auto);
  CHECK(error_of({"--busy_poll_us", "1000001"}) ==
        "command line: busy_poll_us = '1000001': must be a number from 0 to 1000000 or 'auto'");
}

TEST_CASE("name_servers_are_addresses_with_or_without_a_port") {
  CHECK(parse({}).resolve.servers.empty());
  const auto c = parse({"--resolve.servers", "192.0.2.1,192.0.2.2:5353,::1,[2001:db8::1]:54"});
  using list = std::vector<weir::endpoint>;
  CHECK(c.resolve.servers ==
        list{{"192.0.2.1", 53}, {"192.0.2.2", 5353}, {"::1", 53}, {"2001:db8::1", 54}});
  temporary_file file(c.to_toml()), plain(config{}.to_toml());
  CHECK(parse({"--config", file.path}).resolve.servers == c.resolve.servers);
  CHECK(parse({"--config", plain.path}).resolve.servers.empty());
  CHECK(parse({"--config", file.path, "--resolve.servers=system"}).resolve.servers.empty());
  for (const auto* wrong : {"ns.example.org", "0.0.0.0", "192.0.2.1:0", "192.0.2.1,system"})
    CHECK(error_of({"--resolve.servers", wrong}).find("resolve.servers") != std::string::npos);
}

TEST_CASE("io_uring_is_used_as_far_as_a_profile_and_a_list_permit") {
  CHECK(parse({}).uring.profile.empty());
  CHECK(parse({}).uring.hide.empty());
  const auto c = parse({"--uring.profile", "6.1", "--uring.hide", "cqe_skip,buffer_rings"});
  CHECK(c.uring.profile == "6.1");
  CHECK(c.uring.hide == std::vector<std::string>{"cqe_skip", "buffer_rings"});
  temporary_file file(c.to_toml()), plain(config{}.to_toml());
  CHECK(parse({"--config", file.path}).uring.hide == c.uring.hide);
  CHECK(parse({"--config", plain.path}).uring.hide.empty());
  CHECK(parse({"--config", plain.path}).uring.profile.empty());
  CHECK(parse({"--config", file.path, "--uring.hide=none"}).uring.hide.empty());
  CHECK(error_of({"--uring.profile", "6.2"}) ==
        "command line: uring.profile = '6.2': must be kernel, 5.19, 6.1 or 6.6");
  CHECK(error_of({"--uring.hide", "none,cqe_skip"}).find("cqe_skip") != std::string::npos);
  CHECK(error_of({"--uring.hide", "msgring"}).find("send_msg_ring") != std::string::npos);
}

TEST_CASE("networks_have_sections_of_their_own") {
  temporary_file file(
      "[network.lan]\naddress = [\"10.7.0.2/24\"]\nhost_address = [\"10.7.0.1/24\"]\n"
      "route = [\"10.70.0.0/16\"]\nmtu = 1400\noffload = false\n[network.out]\nbackend = "
      "\"kernel\"\n");
  const auto c =
      parse({"--config", file.path, "--network.lan.mtu=1300", "--network.dmz.host_address",
             "10.9.0.1/24", "--resolve.network", "out", "--observe.network=dmz"},
            {"WEIR_NETWORK_DMZ_ADDRESS=10.9.0.2/24,10.9.0.3/24", "WEIR_NETWORK_DMZ_DEVICE=tun9"});
  REQUIRE(c.networks.size() == 3);
  CHECK(c.networks[0].name == "lan");
  CHECK(c.networks[0].backend == "stack");
  CHECK(c.networks[0].stack.device == "lan");
  CHECK(c.networks[0].stack.mtu == 1300);
  CHECK_FALSE(c.networks[0].stack.offload);
  REQUIRE(c.networks[0].stack.route.size() == 1);
  CHECK(c.networks[0].stack.route[0].to_string() == "10.70.0.0/16");
  CHECK(c.networks[1].backend == "kernel");
  CHECK(c.networks[2].stack.device == "tun9");
  CHECK(c.networks[2].stack.address.size() == 2);
  CHECK(c.resolve.network == "out");
  CHECK(c.observe.network == "dmz");
  CHECK(c.default_network.empty());
  CHECK(c.stack.device == "weir0");
}

TEST_CASE("the_back_end_may_be_a_network_and_is_printed_as_one") {
  const std::string text =
      "backend = \"lan\"\n[network.lan]\naddress = [\"10.7.0.2/24\"]\n"
      "host_address = [\"10.7.0.1/24\"]\n[stack]\nplacement = \"dedicated\"\n";
  temporary_file file(text);
  const auto c = parse({"--config", file.path});
  CHECK(c.backend == "stack");
  CHECK(c.default_network == "lan");
  CHECK(c.stack.device == "lan");
  CHECK(c.stack_addresses()[0].to_string() == "10.7.0.2/24");
  CHECK(c.stack.placement == weir::placement::dedicated);
  temporary_file kernel("backend = \"out\"\n[network.out]\nbackend = \"kernel\"\n");
  CHECK(parse({"--config", kernel.path}).backend == "auto");
  CHECK(parse({"--config", kernel.path}).default_network == "out");
}

TEST_CASE("an_unknown_variable_of_a_network_is_a_warning_too") {
  strings warnings;
  detail::network_keys networks;
  (void)detail::read_environment(strings{"WEIR_NETWORK_LAN_DEVISE=x"}, detail::keys(), networks,
                                 warnings);
  CHECK(warnings ==
        strings{"environment variable WEIR_NETWORK_LAN_DEVISE: no such key, ignored; did you mean "
                "'WEIR_NETWORK_LAN_DEVICE'?"});
}

TEST_CASE("a_network_that_cannot_be_is_told_where_and_why") {
  const auto said = [](const std::string& text) { return error_of_file(text); };
  CHECK(said("[network.lan]\n") == "FILE:1: network.lan.address: is needed, such as 192.0.2.2/24");
  CHECK(said("[network.lan]\naddress = [\"10.7.0.2/24\"]\n") ==
        "FILE:1: network.lan.host_address: is needed, such as 10.7.0.1/24");
  CHECK(said("[network.lan]\ndevise = \"x\"\n") ==
        "FILE:2: unknown key 'network.lan.devise'; did you mean 'network.lan.device'?");
  CHECK(said("[network.Lan]\n").find("'network.Lan': a network's name is") != std::string::npos);
  CHECK(said("[network]\nlan = 5\n") == "FILE:2: 'network.lan': must be a section");
  CHECK(said("[network.stack]\n") == "FILE:1: [network.stack]: the name is taken; choose another");
  CHECK(said("[network.out]\nbackend = \"kernel\"\nmtu = 1400\n") ==
        "FILE:3: network.out.mtu: has no meaning where network.out.backend is 'kernel'");
  CHECK(said("[network.out]\nbackend = \"kernel\"\nlink = \"ip\"\n") ==
        "FILE:3: network.out.link: has no meaning where network.out.backend is 'kernel'");
  CHECK(said("backend = \"lam\"\n[network.lan]\naddress = [\"10.7.0.2/24\"]\n"
             "host_address = [\"10.7.0.1/24\"]\n") ==
        "FILE:1: backend = 'lam': must be uring, asio, stack, sim or auto, or the name of a "
        "[network.NAME]; did you mean 'lan'?");
  const std::string lan =
      "[network.lan]\naddress = [\"10.7.0.2/24\"]\nhost_address = [\"10.7.0.1/24\"]\n";
  CHECK(said(lan + "[resolve]\nnetwork = \"lam\"\n") ==
        "FILE:5: resolve.network = 'lam': must be 'kernel', or the name of a [network.NAME]; did "
        "you mean 'lan'?");
  CHECK(said(lan + "[observe]\nnetwork = \"nowhere\"\n").find("observe.network = 'nowhere'") !=
        std::string::npos);
  CHECK(said(lan + "[network.wan]\ndevice = \"lan\"\naddress = [\"10.8.0.2/24\"]\n"
                   "host_address = [\"10.8.0.1/24\"]\n") ==
        "FILE:5: network.wan.device = 'lan': [network.lan] has it too; each stack needs its own");
  CHECK(error_of({"--network.LAN.mtu", "1400"}).find("a network's name is") != std::string::npos);
  CHECK(error_of({"--network.lan.mtuu", "1400"}) ==
        "command line: unknown option '--network.lan.mtuu'; did you mean '--network.lan.mtu'?");
}

TEST_CASE("an_owner_key_and_a_deferred_accept_have_words_for_none") {
  CHECK(parse({}).listen.owner_key == 0);
  CHECK(parse({}).listen.defer_accept_ms == 0);
  const auto c =
      parse({"--listen.owner_key", "9223372036854775807", "--listen.defer_accept_ms=250"});
  CHECK(c.listen.owner_key == 9223372036854775807u);
  CHECK(c.listen.defer_accept_ms == 250);
  temporary_file same("[listen]\nowner_key = 9223372036854775807\n");
  CHECK(parse({"--config", same.path}).listen.owner_key == c.listen.owner_key);
  CHECK(parse({}).to_toml().find("\ndefer_accept_ms = \"off\"\nowner_key = \"random\"\n") !=
        std::string::npos);
  CHECK(parse({"--listen.owner_key=random", "--listen.defer_accept_ms", "off"}).listen.owner_key ==
        0);
  CHECK(error_of({"--listen.owner_key=0"}) ==
        "command line: listen.owner_key: must be a number from 1 to 9223372036854775807 or "
        "'random'");
}

TEST_CASE("an_unknown_key_is_named_with_its_place_and_the_nearest_known_one") {
  CHECK(error_of_file("shards = 1\n[listen]\nbacklogg = 5\n") ==
        "FILE:3: unknown key 'listen.backlogg'; did you mean 'listen.backlog'?");
  CHECK(error_of_file("backlog = 5\n") ==
        "FILE:1: unknown key 'backlog'; did you mean 'listen.backlog'?");
  CHECK(error_of_file("\n\n[lissten]\nbacklog = 5\n")
            .starts_with("FILE:3: unknown section 'lissten'"));
  CHECK(error_of_file("[listen.tcp]\nx = 5\n") == "FILE:1: unknown section 'listen.tcp'");
  CHECK(error_of_file("quite_another_thing = 5\n") == "FILE:1: unknown key 'quite_another_thing'");
  CHECK(error_of({"--listen.backlgo", "5"}) ==
        "command line: unknown option '--listen.backlgo'; did you mean '--listen.backlog'?");
  CHECK(error_of({"--listen.backlgo=5"}) ==
        "command line: unknown option '--listen.backlgo'; did you mean '--listen.backlog'?");
  CHECK(error_of({"-x"}) == "command line: unknown option '-x'");
  CHECK(error_of({"stray"}) == "command line: unexpected argument 'stray'");
}

TEST_CASE("an_unknown_variable_is_a_warning_that_names_the_nearest_key") {
  const auto warnings_of = [](const strings& environment) {
    strings warnings;
    detail::network_keys networks;
    (void)detail::read_environment(environment, detail::keys(), networks, warnings);
    return warnings;
  };
  CHECK(warnings_of({"WEIR_LISTEN_BACKLOGS=5", "WEIR_SHARDS=2"}) ==
        strings{"environment variable WEIR_LISTEN_BACKLOGS: no such key, ignored; did you mean "
                "'WEIR_LISTEN_BACKLOG'?"});
  // What Kubernetes gives to each program where a service is called "weir".
  CHECK(warnings_of({"WEIR_SERVICE_HOST=10.96.0.7", "WEIR_PORT=tcp://10.96.0.7:80",
                     "WEIR_PORT_80_TCP_ADDR=10.96.0.7"}) ==
        strings{"environment variable WEIR_SERVICE_HOST: no such key, ignored",
                "environment variable WEIR_PORT: no such key, ignored",
                "environment variable WEIR_PORT_80_TCP_ADDR: no such key, ignored"});
  CHECK(parse({}, {"WEIR_PORT=tcp://10.96.0.7:80", "WEIR_SHARDS=2"}).shards == 2);
  // Those of the tooling, and of others.
  CHECK(warnings_of({"PATH=/bin", "WEIR_JOBS=4", "WEIR_SIM_SEEDS=9", "WEIRD=1", "nothing"}) ==
        strings{});
}

TEST_CASE("every_number_is_bounded_and_the_error_names_the_bounds") {
  int seen = 0;
  for (auto& k : detail::keys()) {
    if (k.kind != detail::key_kind::number) continue;
    CAPTURE(k.name);
    unsigned long long least = 0, most = 0;
    REQUIRE(std::sscanf(k.allowed.c_str(), "a number from %llu to %llu", &least, &most) == 2);
    config c;
    const auto takes = [&](unsigned long long n) {
      const std::string given[] = {std::to_string(n)};
      return k.assign(c, given);
    };
    CHECK(takes(least));
    CHECK(takes(most));
    CHECK_FALSE(takes(most + 1));
    if (least > 0) CHECK_FALSE(takes(least - 1));
    CHECK(
        error_of({k.option() + "=" + std::to_string(most + 1)}).ends_with("must be " + k.allowed));
    ++seen;
  }
  CHECK(seen >= 9);
}

TEST_CASE("numbers_that_may_be_0_are_these") {
  // 0 has a meaning of its own in each: none, no limit, all, as many as there are cores.
  const std::set<std::string> expected = {
      "busy_poll_us",  "http.body_timeout_ms",  "http.compress_least",
      "http.drain_ms", "http.head_timeout_ms",  "http.idle_timeout_ms",
      "http.max_body", "http.write_timeout_ms", "resolve.cache",
      "shards",        "stop.linger_ms"};
  std::set<std::string> seen;
  for (auto& k : detail::keys())
    if (k.kind == detail::key_kind::number && error_of({k.option() + "=0"}) == "no error")
      seen.insert(k.name);
  CHECK(seen == expected);
}

TEST_CASE("a_bad_value_is_told_its_place_and_what_is_allowed") {
  CHECK(error_of({"--listen.backlog", "0"}) ==
        "command line: listen.backlog = '0': must be a number from 1 to 65535");
  CHECK(error_of({"--listen.backlog", "65536"}).ends_with("must be a number from 1 to 65535"));
  CHECK(error_of({"--listen.backlog", "many"}).ends_with("must be a number from 1 to 65535"));
  CHECK(error_of({"--listen.backlog", "5x"}).ends_with("must be a number from 1 to 65535"));
  CHECK(error_of({"--listen.backlog", "-5"}).ends_with("must be a number from 1 to 65535"));
  CHECK(error_of({"--listen.backlog", "99999999999999999999999"})
            .ends_with("must be a number from 1 to 65535"));
  CHECK(error_of({}, {"WEIR_BACKEND=epoll"}) ==
        "environment variable WEIR_BACKEND: backend = 'epoll': must be uring, asio, stack, sim or "
        "auto");
  CHECK(error_of_file("[listen]\nsharing = \"all\"\n") ==
        "FILE:2: listen.sharing = 'all': must be exclusive, shared or sharded");
  CHECK(error_of({"--stack.device", "sixteen-letters-"}).find("at most 15") != std::string::npos);
  CHECK(error_of({"--stack.device", "a/b"}) != "no error");
  CHECK(error_of({"--stack.device", "tun%d"}) != "no error");
  CHECK(error_of({"--stack.mtu", "575"}) != "no error");
  CHECK(error_of({"--observe.listen", "localhost:80"}) != "no error");
  for (auto* bad : {"198.18.0.2", "198.18.0.2/33", "0.0.0.0/0", "198.18.0.0.2/24", "name/24",
                    "224.0.0.1/24", "127.0.0.1/8", "198.18.0.255/24", "", ",", "198.18.0.2/24,"}) {
    CAPTURE(bad);
    CHECK(error_of({}, {std::string("WEIR_STACK_ADDRESS=") + bad}) != "no error");
  }
}

TEST_CASE("a_value_of_the_wrong_toml_type_is_told_what_is_allowed") {
  CHECK(error_of_file("shards = 1.5\n") == "FILE:1: shards: must be a number from 0 to 1024");
  CHECK(error_of_file("shards = true\n") == "FILE:1: shards: must be a number from 0 to 1024");
  CHECK(error_of_file("pin = 1\n") == "FILE:1: pin: must be true or false");
  CHECK(error_of_file("backend = [\"uring\"]\n").starts_with("FILE:1: backend: must be uring"));
  CHECK(error_of_file("[stack]\naddress = [1, 2]\n").starts_with("FILE:2: stack.address: must be"));
  CHECK(error_of_file("[stack]\naddress = []\n").starts_with("FILE:2: stack.address: must be"));
  CHECK(error_of_file("listen = 5\n").starts_with("FILE:1: unknown key 'listen'"));
  CHECK(error_of_file("[[listen]]\nbacklog = 5\n").starts_with("FILE:1: unknown key 'listen'"));
}

TEST_CASE("a_file_that_is_not_toml_is_told_where") {
  CHECK(error_of_file("shards = 1\nbacklog =\n").starts_with("FILE:2:"));
  CHECK(error_of_file("[listen\n").starts_with("FILE:1:"));
  CHECK(error_of_file("shards = 1\nshards = 2\n").starts_with("FILE:2:"));
  CHECK(error_of_file(std::string("\0\x01\xff\xfe garbage", 12)).starts_with("FILE:1:"));
  CHECK(error_of_file("x = " + std::string(100'000, '[')).starts_with("FILE:1:"));
  for (auto* text : {"shards = 1\nbacklog =\n", "[listen\n"})
    CHECK(error_of_file(text).find('\n') == std::string::npos);
}

TEST_CASE("a_file_that_cannot_be_read_or_is_too_long_is_an_error") {
  CHECK(error_of({"--config", "/nowhere/server.toml"}) ==
        "/nowhere/server.toml: cannot be read: No such file or directory");
  CHECK(error_of({"--config", "/tmp"}) == "/tmp: cannot be read: Is a directory");
  CHECK(error_of({"--config", "/dev/zero"}) == "/dev/zero: longer than 1048576 bytes");
  const std::string longest = "shards = 2\n#" + std::string((1 << 20) - 12, 'x');
  REQUIRE(longest.size() == 1 << 20);
  CHECK(error_of_file(longest) == "no error");
  CHECK(error_of_file(longest + "x") == "FILE: longer than 1048576 bytes");
}

TEST_CASE("a_file_of_the_greatest_length_is_read_and_one_byte_more_is_not") {
  const std::string setting = "shards = 3\n#";
  const auto file_of = [&](std::size_t size) {
    return setting + std::string(size - setting.size(), 'x');
  };
  temporary_file longest(file_of(1048576));
  CHECK(parse({"--config", longest.path}).shards == 3);
  CHECK(error_of_file(file_of(1048577)) == "FILE: longer than 1048576 bytes");
}

TEST_CASE("an_option_without_its_value_is_an_error") {
  CHECK(error_of({"--shards"}) == "command line: --shards needs a value");
  CHECK(error_of({"--observe.pcap="}) == "command line: --observe.pcap needs a value");
  CHECK(error_of({"--observe.pcap=", "x"}) == "command line: --observe.pcap needs a value");
}

TEST_CASE("the_two_ends_of_a_device_lie_in_one_network") {
  CHECK(error_of({"--stack.address", "10.9.0.2/24"}) ==
        "command line: stack.address 10.9.0.2/24: no stack.host_address lies in its network; "
        "add stack.host_address 10.9.0.1/24");
  CHECK(parse({"--stack.address", "10.9.0.2/24", "--stack.host_address", "10.9.0.1/24"})
            .stack.address.size() == 1);
  CHECK(error_of({"--stack.host_address", "198.18.0.1/24,10.9.0.1/24"})
            .starts_with("command line: stack.host_address 10.9.0.1/24: no stack.address lies in "
                         "its network"));
  CHECK(error_of({}, {"WEIR_STACK_HOST_ADDRESS=198.18.0.2/24"}) ==
        "environment variable WEIR_STACK_HOST_ADDRESS: stack.host_address 198.18.0.2/24: is a "
        "stack.address too; "
        "the two ends need an address each");
  CHECK(error_of({"--stack.address", "198.18.0.3/24,198.18.0.3/24"}).ends_with("is given twice"));
}

TEST_CASE("ipv6_on_the_device_needs_its_smallest_packet") {
  strings v6 = {"--stack.address", "fd00::2/64", "--stack.host_address", "fd00::1/64"};
  CHECK(parse(v6).stack.address.size() == 1);
  v6.push_back("--stack.mtu=1279");
  CHECK(error_of(v6) ==
        "command line: stack.mtu = 1279: must be at least 1280 with an IPv6 stack.address");
}

TEST_CASE("each_inline_shard_needs_its_queue") {
  CHECK(error_of({"--stack.queues", "3"}) ==
        "command line: stack.queues = 3: at most one for each of the shards (1), which read them");
  CHECK(parse({"--stack.queues", "3", "--shards", "3"}).stack.queues == 3);
  CHECK(parse({"--stack.queues", "1", "--shards", "3"}).stack.queues == 1);
}

TEST_CASE("what_is_printed_reads_back_as_the_same") {
  strings arguments;
  for (auto& k : detail::keys())
    if (!k.secret) arguments.push_back(k.option() + "=" + other_value(k));
  arguments.push_back("--stack.queues=7");
  arguments.push_back("--observe.pcap=odd \"name\" \\ of\tfile.pcapng");
  auto c = parse(arguments);
  temporary_file file(c.to_toml());
  CHECK(parse({"--config", file.path}).to_toml() == c.to_toml());
  temporary_file defaults(config{}.to_toml());
  CHECK(parse({"--config", defaults.path}).to_toml() == config{}.to_toml());
}

TEST_CASE("what_is_printed_says_which_of_a_programs_own_options_are_not_set") {
  const auto option = [](std::string name, std::string value) {
    detail::key out{std::move(name), detail::key_kind::plain, "X", "", "", {}, {}};
    out.show = [value = std::move(value)](const config&) { return strings{value}; };
    return out;
  };
  const std::vector<detail::key> own = {option("web.title", ""), option("root", ""),
                                        option("size", "100"), option("drain", "0.5"),
                                        option("web.page", "index")};
  CHECK(detail::to_toml(own, {}) ==
        "# root is not set\nsize = 100\ndrain = \"0.5\"\n"
        "\n[web]\n# title is not set\npage = \"index\"\n");
}

namespace {

/// A program with options of every kind.
struct program {
  config_parser parser{"test", "A test."};
  strings echo, web;
  std::string root = "none", size;
  bool loud = false;

  program() {
    parser.repeated("--echo", "ADDR:PORT", "echo here", reader_into(echo));
    parser.repeated("--web.listen,--web", "ADDR:PORT", "pages here", reader_into(web));
    parser.value("--root", "DIR", "serve these files", root);
    parser.value("--max-size", "N", "bytes", "100", [this](std::string_view text) {
      size = text;
      return size.find_first_not_of("0123456789.") == std::string::npos ? "" : "must be a number";
    });
    parser.flag("--loud", "say more", loud);
  }
  static std::function<std::string(std::string_view)> reader_into(strings& list) {
    return [&list](std::string_view text) -> std::string {
      if (!endpoint::parse(text)) return "must be an address and a port";
      list.emplace_back(text);
      return "";
    };
  }
  std::string error_of(const strings& arguments, const strings& environment = {}) const {
    try {
      (void)parser.parse(arguments, environment);
    } catch (const config_error& error) {
      return error.what();
    }
    return "no error";
  }
};

}  // namespace

TEST_CASE("a_program_brings_options_of_its_own") {
  program p;
  auto c = p.parser.parse({"--echo", "127.0.0.1:7", "--shards=2", "--echo=[::1]:7", "--root", "x",
                           "--web", "127.0.0.1:80", "--web.listen=127.0.0.1:81", "--loud"},
                          {});
  CHECK(c.shards == 2);
  CHECK(p.echo == strings{"127.0.0.1:7", "[::1]:7"});
  CHECK(p.web == strings{"127.0.0.1:80", "127.0.0.1:81"});
  CHECK(p.root == "x");
  CHECK(p.size.empty());
  CHECK(p.loud);
  CHECK(p.error_of({"--echo", "here"}) ==
        "command line: echo = 'here': must be an address and a port");
  CHECK(p.error_of({"--max-size", "big"}) == "command line: max-size = 'big': must be a number");
  CHECK(p.error_of({"--loud=very"}) == "command line: loud = 'very': must be true or false");
  CHECK(p.error_of({"--eco", "here"}) ==
        "command line: unknown option '--eco'; did you mean '--echo'?");
}

TEST_CASE("a_programs_own_options_are_keys_of_the_file") {
  temporary_file file(
      "echo = [\"127.0.0.1:7\", \"127.0.0.1:8\"]\nmax-size = 12\nloud = true\n"
      "[web]\nlisten = \"127.0.0.1:80\"\n[listen]\nbacklog = 5\n");
  program p;
  CHECK(p.parser.parse({"--config", file.path}, {}).listen.backlog == 5);
  CHECK(p.echo == strings{"127.0.0.1:7", "127.0.0.1:8"});
  CHECK(p.web == strings{"127.0.0.1:80"});
  CHECK(p.size == "12");
  CHECK(p.loud);
  temporary_file real("max-size = 0.5\nroot = \"here\"\necho = []\n");
  program other;
  (void)other.parser.parse({"--config", real.path}, {});
  CHECK(other.size == "0.5");
  CHECK(other.root == "here");
  CHECK(other.echo.empty());
  const auto file_error = [](const std::string& text) {
    temporary_file wrong(text);
    const auto what = program().error_of({"--config", wrong.path});
    return what.starts_with(wrong.path) ? what.substr(wrong.path.size()) : what;
  };
  CHECK(file_error("\necho = \"here\"\n") == ":2: echo = 'here': must be an address and a port");
  CHECK(file_error("echo = 5\n") == ":1: echo: must be a list of texts");
  CHECK(file_error("max-size = [1]\n") == ":1: max-size: must be a text or a number");
  CHECK(file_error("loud = 1\n") == ":1: loud: must be true or false");
  CHECK(file_error("ecko = \"here\"\n") == ":1: unknown key 'ecko'; did you mean 'echo'?");
  CHECK(file_error("[web]\nlissten = \"x\"\n") ==
        ":2: unknown key 'web.lissten'; did you mean 'web.listen'?");
}

TEST_CASE("a_programs_own_options_are_variables_of_the_environment") {
  program p;
  (void)p.parser.parse({}, {"WEIR_ECHO=127.0.0.1:7, 127.0.0.1:8", "WEIR_WEB_LISTEN=127.0.0.1:80",
                            "WEIR_MAX_SIZE=12", "WEIR_LOUD=true"});
  CHECK(p.echo == strings{"127.0.0.1:7", "127.0.0.1:8"});
  CHECK(p.web == strings{"127.0.0.1:80"});
  CHECK(p.size == "12");
  CHECK(p.loud);
  CHECK(p.error_of({}, {"WEIR_ECHO=here"}) ==
        "environment variable WEIR_ECHO: echo = 'here': must be an address and a port");
}

TEST_CASE("a_later_place_replaces_a_programs_own_values_too") {
  temporary_file file("echo = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nmax-size = 1\nloud = true\n");
  program p;
  (void)p.parser.parse({"--config", file.path, "--echo", "127.0.0.1:5", "--loud=false"},
                       {"WEIR_ECHO=127.0.0.1:4", "WEIR_MAX_SIZE=2"});
  CHECK(p.echo == strings{"127.0.0.1:5"});
  CHECK(p.size == "2");
  CHECK_FALSE(p.loud);
}

TEST_CASE("a_tool_passes_over_the_keys_of_the_server_whose_file_it_is_given") {
  temporary_file file("echo = [\"127.0.0.1:7\"]\nshards = 2\n[web]\nlisten = \"x\"\n");
  config_parser tool("tool", "A tool.");
  CHECK_THROWS_AS((void)tool.parse({"--config", file.path}, {}), config_error);
  tool.pass_over_unknown_keys_in_files();
  CHECK(tool.parse({"--config", file.path}, {}).shards == 2);
}

TEST_CASE("a_fifo_is_read_without_waiting_for_a_writer") {
  temporary_file file("");
  REQUIRE(::unlink(file.path.c_str()) == 0);
  REQUIRE(::mkfifo(file.path.c_str(), 0600) == 0);
  CHECK(error_of({"--config", file.path}) ==
        file.path + ": cannot be read: a FIFO that nobody writes to");
  // As a shell's <(command) gives it.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const std::string text = "shards = 3\n";
  REQUIRE(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ::close(ends[1]);
  CHECK(parse({"--config", "/dev/fd/" + std::to_string(ends[0])}).shards == 3);
  ::close(ends[0]);
}

TEST_CASE("an_owner_key_is_never_printed") {
  const auto silent = [](const std::string& text) {
    CAPTURE(text);
    CHECK(text.find("8151") == std::string::npos);
    CHECK(text != "no error");
  };
  silent(error_of({"--listen.owner_key", "8151x"}));
  silent(error_of({"--listen.owner_key=-8151"}));
  silent(error_of({"--listen.owner_kee=8151"}));
  silent(error_of({}, {"WEIR_LISTEN_OWNER_KEY=0x8151"}));
  for (auto* value : {"\"8151x\"", "8151815181518151815181518151", "8151x", "-8151", "0x8151g",
                      "[8151]", "8151.5", "\"8151", "{ a = 8151 }", "8151-13-90"})
    silent(error_of_file("[listen]\nowner_key = " + std::string(value) + "\n"));
  silent(error_of_file("listen.owner_key = 8151x\n"));
  const auto printed = parse({"--listen.owner_key=8151"}).to_toml();
  silent(printed);
  CHECK(printed.find("# owner_key is set, and not shown\n") != std::string::npos);
  CHECK(config{}.to_toml().find("owner_key = \"random\"\n") != std::string::npos);
}

TEST_CASE("control_characters_are_escaped_in_errors") {
  CHECK(detail::printable("as it is: \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "as it is: \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(detail::printable(std::string_view("a\n\0\x1b[2J\x7f", 8)) == "a\\x0a\\x00\\x1b[2J\\x7f");
  // C1 by itself and as UTF-8, cut short, too long, a surrogate, beyond Unicode.
  CHECK(detail::printable("\x9b \xc2\x9b \xe2\x82 \xc0\x8a \xed\xa0\x80 \xf4\x90\x80\x80") ==
        "\\x9b \\xc2\\x9b \\xe2\\x82 \\xc0\\x8a \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80");
  CHECK(error_of_file("\"a\\nweir: all is well\" = 1\n") ==
        "FILE:1: unknown key 'a\\x0aweir: all is well'");
  CHECK(error_of({"--backend", "x\x1b[2J"}).find("'x\\x1b[2J'") != std::string::npos);
  CHECK(error_of({}, {"WEIR_BACKEND=a\nb"}).find("'a\\x0ab'") != std::string::npos);
  CHECK(error_of({"--\n"}) == "command line: unknown option '--\\x0a'");
  CHECK(error_of({"--config", "/no\nwhere"}).starts_with("/no\\x0awhere: "));
}

TEST_CASE("no_two_keys_share_a_spelling") {
  std::set<std::string> names, variables;
  for (auto& k : detail::keys()) {
    CHECK(names.insert(k.name).second);
    CHECK(variables.insert(k.environment()).second);
    CHECK_FALSE(k.help.empty());
  }
}

TEST_CASE("what_a_device_carries_is_a_choice_of_each_stack") {
  CHECK(parse({}).stack.link == device_link::as_device);
  CHECK(parse({"--stack.link", "auto"}).stack.link == device_link::as_device);
  CHECK(parse({"--stack.link", "ip"}).stack.link == device_link::ip);
  CHECK(parse({"--stack.link", "ethernet"}).stack.link == device_link::ethernet);
  CHECK(error_of({"--stack.link", "tap"}) ==
        "command line: stack.link = 'tap': must be auto, ip or ethernet");
  temporary_file file(
      "[network.lan]\nlink = \"ethernet\"\naddress = [\"10.7.0.2/24\"]\n"
      "host_address = [\"10.7.0.1/24\"]\n");
  const auto settings = parse({"--config", file.path});
  CHECK(settings.stack.link == device_link::as_device);
  REQUIRE(settings.networks.size() == 1);
  CHECK(settings.networks[0].stack.link == device_link::ethernet);
}

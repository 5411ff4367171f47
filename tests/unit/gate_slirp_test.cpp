// slirp4netns's command line in weir-gate's words.
#include <doctest/doctest.h>

#include "runtime/tools/gate/slirp_words.hpp"

using weir::gate::from_slirp4netns;
using words = std::vector<std::string>;

TEST_CASE("slirp_words_of_podman_attach_to_a_network_by_its_path") {
  const auto got = from_slirp4netns({"--disable-host-loopback", "--mtu=65520", "--enable-sandbox",
                                     "--enable-seccomp", "--enable-ipv6", "-c", "-e", "3", "-r",
                                     "4", "--netns-type=path", "/run/netns/n", "tap0"});
  CHECK(got.wrong.empty());
  CHECK(got.words == words{"attach", "--netns", "/run/netns/n", "--stack.device", "tap0", "--tap",
                           "--stack.mtu", "65520", "--exit-fd", "3", "--ready-fd", "4"});
}

TEST_CASE("slirp_words_of_rootlesskit_attach_to_a_process") {
  const auto got = from_slirp4netns({"--mtu", "1500", "-cr3", "--disable-dns", "4711", "tap1"});
  CHECK(got.words == words{"attach", "--pid", "4711", "--stack.device", "tap1", "--tap",
                           "--host-loopback", "--deny", "10.0.2.3", "--deny", "fd77:6569:7200::3",
                           "--stack.mtu", "1500", "--ready-fd", "3"});
  // A device that is not configured asks.
  CHECK(from_slirp4netns({"7", "t"}).words[5] == "--dhcp");
}

TEST_CASE("slirp_words_name_the_socket_by_which_ports_are_published") {
  for (const auto& given : {words{"-c", "--api-socket=/run/api.sock", "7", "t"},
                            words{"-ca", "/run/api.sock", "7", "t"}})
    CHECK(from_slirp4netns(given).words == words{"attach", "--pid", "7", "--stack.device", "t",
                                                 "--tap", "--host-loopback", "--api-socket",
                                                 "/run/api.sock"});
}

TEST_CASE("slirp_words_that_weir_gate_has_nothing_for_are_refused") {
  struct row {
    words arguments;
    const char* said;
  };
  for (const auto& [arguments, said] :
       {row{{"--cidr=10.9.0.0/24", "7", "t"}, "--cidr: weir-gate has nothing"},
        row{{"--what", "7", "t"}, "--what: no such option"}, row{{"-x"}, "-x: no such option"},
        row{{"-c=1"}, "-=: no such option"}, row{{"--configure=1"}, "--configure: no such option"},
        row{{"-e"}, "--exit-fd: needs a value"}, row{{"7"}, "which network"},
        row{{}, "which network"}, row{{"--netns-type", "name", "7", "t"}, "must be path or pid"}}) {
    const auto got = from_slirp4netns(arguments);
    CAPTURE(got.wrong);
    CHECK(got.wrong.find(said) != std::string::npos);
    CHECK(got.words.empty());
  }
  CHECK(from_slirp4netns({"--help"}).asks_for_help);
  CHECK(from_slirp4netns({"-v"}).asks_for_version);
}

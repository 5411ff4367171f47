// What transports on kernel sockets share: which options are refused, what the kernel is told, how
// errors are named.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "runtime/core/sockets/arguments.hpp"
#include "runtime/transport/kernel/kernel_info.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "runtime/transport/kernel/listener_groups.hpp"

using namespace weir::detail::kernel;
using weir::config;
using weir::endpoint;
using weir::listen_options;

namespace {

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

std::error_code listen_error(const endpoint& where, const listen_options& options,
                             const config& settings = {}) {
  auto fd = open_listener(where, options, settings, mode::non_blocking);
  return fd ? std::error_code{} : fd.error();
}

const endpoint any_port{"127.0.0.1", 0};

}  // namespace

TEST_CASE("addresses_survive_the_way_through_sockaddr") {
  for (auto text : {"127.0.0.1:7", "255.1.2.3:65535", "[::1]:80", "[2001:db8::1:2]:9",
                    "[fe80::1]:80", "[fe80::1%7]:80", "[fe80::aa:1%4294967295]:80"}) {
    auto where = *endpoint::parse(text);
    CHECK(socket_address(where).to_endpoint() == where);
  }
}

TEST_CASE("zones_of_link_local_addresses_are_read_written_and_kept_apart") {
  using weir::ip_address;
  const auto plain = *ip_address::parse("fe80::1");
  CHECK(plain.zone() == 0);
  const auto two = *ip_address::parse("fe80::1%2");
  CHECK(two.zone() == 2);
  CHECK(two != plain);
  CHECK(two == plain.with_zone(2));
  CHECK(two.with_zone(0) == plain);
  CHECK(two.is_link_local());
  CHECK(two.to_string() == "fe80::1%2");
  CHECK(endpoint(two, 80).to_string() == "[fe80::1%2]:80");
  CHECK(ip_address::parse("fe80::1%lo")->zone() == 1);
  CHECK(endpoint::parse("[fe80::1%lo]:80") == endpoint("fe80::1%1", 80));
  for (const char* wrong : {"fe80::1%", "fe80::1%0", "fe80::1%weir-nowhere", "fe80::1%4294967296",
                            "::1%1", "2001:db8::1%1", "127.0.0.1%1", "fe80:0:0:1::1", "%1",
                            "fe80::1%1%1", "fe80::1%a-name-that-no-interface-can-have"})
    CHECK_FALSE(ip_address::parse(wrong));
  CHECK(ip_address::loopback_v6().with_zone(3) == ip_address::loopback_v6());
  CHECK(ip_address::loopback_v4().with_zone(3).zone() == 0);
  CHECK(sizeof(endpoint) == 20);
}

TEST_CASE("what_a_listener_was_given_its_connections_have") {
  auto listener = open_listener({"127.0.0.1", 0},
                                {.stream = {.nodelay = false,
                                            .keep_alive = true,
                                            .keep_alive_idle = std::chrono::seconds(20),
                                            .dscp = 46,
                                            .ttl = 17,
                                            .user_timeout = std::chrono::seconds(9),
                                            .max_segment = 700}},
                                {}, mode::blocking);
  REQUIRE(listener);
  const auto to = local_endpoint_of(listener->get());
  auto client = open_connector(to, {.stream = {.max_segment = 500}}, {}, mode::blocking);
  REQUIRE(client);
  const socket_address address(to);
  REQUIRE(::connect(client->get(), address.data(), address.size) == 0);
  unique_fd accepted(::accept(listener->get(), nullptr, nullptr));
  REQUIRE(accepted);
  CHECK(option(accepted.get(), IPPROTO_TCP, TCP_NODELAY) == 0);
  CHECK(option(accepted.get(), SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(accepted.get(), IPPROTO_TCP, TCP_KEEPIDLE) == 20);
  CHECK(option(accepted.get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == 9000);
  CHECK(option(accepted.get(), IPPROTO_IP, IP_TOS) == 46 << 2);
  CHECK(option(accepted.get(), IPPROTO_IP, IP_TTL) == 17);
  // What a segment carries, timestamps taken off.
  CHECK(option(accepted.get(), IPPROTO_TCP, TCP_MAXSEG) <= 500);
  CHECK(option(client->get(), IPPROTO_TCP, TCP_MAXSEG) <= 500);
}

TEST_CASE("probes_and_headers_are_told_to_the_kernel") {
  for (const char* own : {"127.0.0.1", "::1"}) {
    const bool v4 = endpoint(own, 0).address.is_v4();
    auto fd = open_connector({own, 9},
                             {.stream = {.keep_alive = true,
                                         .keep_alive_idle = std::chrono::milliseconds(1500),
                                         .keep_alive_interval = std::chrono::seconds(3),
                                         .keep_alive_probes = 4,
                                         .dscp = 46,
                                         .ttl = 17},
                              .interface = "lo"},
                             {}, mode::non_blocking);
    REQUIRE(fd);
    CHECK(option(fd->get(), SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(option(fd->get(), IPPROTO_TCP, TCP_KEEPIDLE) == 2);
    CHECK(option(fd->get(), IPPROTO_TCP, TCP_KEEPINTVL) == 3);
    CHECK(option(fd->get(), IPPROTO_TCP, TCP_KEEPCNT) == 4);
    const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    CHECK(option(fd->get(), level, v4 ? IP_TOS : IPV6_TCLASS) == 46 << 2);
    CHECK(option(fd->get(), level, v4 ? IP_TTL : IPV6_UNICAST_HOPS) == 17);
    CHECK(option(fd->get(), SOL_SOCKET, SO_BINDTOIFINDEX) == 1);
  }
  auto nowhere =
      open_connector({"127.0.0.1", 9}, {.interface = "weir-nowhere"}, {}, mode::non_blocking);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error() == std::errc::no_such_device);
}

TEST_CASE("a_listener_of_several_paths_is_one_where_the_kernel_can") {
  constexpr int multipath = 262;
  listen_options how;
  how.mptcp = true;
  auto fd = open_listener(any_port, how, {}, mode::non_blocking);
  if (!fd) {
    CHECK(fd.error() == std::errc::operation_not_supported);
    return;
  }
  CHECK(option(fd->get(), SOL_SOCKET, SO_PROTOCOL) == multipath);
}

TEST_CASE("wildcards_need_permission_in_as_many_words") {
  using weir::detail::check_local;
  CHECK(check_local({"0.0.0.0", 0}, false) == std::errc::permission_denied);
  CHECK(check_local({"::", 0}, false) == std::errc::permission_denied);
  CHECK(!check_local({"0.0.0.0", 0}, true));
  CHECK(!check_local({"127.0.0.1", 0}, false));
  CHECK(check_local({"224.0.0.1", 0}, true) == std::errc::invalid_argument);
}

TEST_CASE("options_that_a_kernel_listener_lacks_are_refused") {
  listen_options o;
  o.syn_backlog = 10;
  CHECK(listen_error(any_port, o) == std::errc::operation_not_supported);
  o = {};
  o.overflow = weir::overflow::reset;
  CHECK(listen_error(any_port, o) == std::errc::operation_not_supported);
  o = {};
  o.owner_key = 1;
  CHECK(listen_error(any_port, o) == std::errc::operation_not_supported);
  for (auto policy : {weir::sharding_policy::round_robin, weir::sharding_policy::least_loaded}) {
    o = {};
    o.policy = policy;
    CHECK(listen_error(any_port, o) == std::errc::operation_not_supported);
  }
  o = {};
  o.policy = weir::sharding_policy::hash;
  o.overflow = weir::overflow::drop;
  CHECK(!listen_error(any_port, o));
}

TEST_CASE("options_that_a_kernel_listener_lacks_are_refused_from_the_configuration_too") {
  config settings;
  settings.listen.syn_backlog =
      99;  // a key of the stack, so that one file can serve every back end
  CHECK(!listen_error(any_port, {}, settings));
  settings = {};
  settings.listen.overflow = weir::overflow::reset;
  CHECK(listen_error(any_port, {}, settings) == std::errc::operation_not_supported);
  settings = {};
  settings.listen.policy = weir::sharding_policy::round_robin;
  CHECK(listen_error(any_port, {}, settings) == std::errc::operation_not_supported);
  settings = {};
  settings.tcp.congestion = "no-such-thing";
  CHECK(listen_error(any_port, {}, settings) == std::errc::operation_not_supported);
}

TEST_CASE("only_sharded_listeners_share_a_port") {
  listen_options sharded;
  sharded.sharing = weir::sharing::sharded;
  auto first = open_listener(any_port, sharded, {}, mode::non_blocking);
  REQUIRE(first.has_value());
  auto where = local_endpoint_of(first->get());
  CHECK(!listen_error(where, sharded));
  CHECK(listen_error(where, {}) == std::errc::address_in_use);
  auto alone = open_listener(any_port, {}, {}, mode::non_blocking);
  REQUIRE(alone.has_value());
  CHECK(listen_error(local_endpoint_of(alone->get()), sharded) == std::errc::address_in_use);
}

TEST_CASE("a_shared_listener_is_an_ordinary_socket_with_one_shard_and_with_several") {
  listen_options shared;
  shared.sharing = weir::sharing::shared;
  CHECK(!listen_error(any_port, shared));
  config several;  // the shards of a family then have descriptors of that one socket
  several.shards = 2;
  CHECK(!listen_error(any_port, shared, several));
}

TEST_CASE("who_shares_a_kernel_listener_is_told_with_the_policy_that_the_kernel_has") {
  const auto told = [](weir::sharing how, std::size_t members) {
    weir::detail::listener_snapshot into;
    describe_sharing(how, members, into);
    return std::string(into.sharing) + "/" + std::string(into.policy) + "/" +
           std::to_string(into.members.value_or(0));
  };
  CHECK(told(weir::sharing::exclusive, 0) == "exclusive//1");
  CHECK(told(weir::sharing::shared, 3) == "shared//3");
  CHECK(told(weir::sharing::sharded, 2) == "sharded/hash/2");
}

TEST_CASE("what_a_kernel_transport_counts_is_shown_under_its_name") {
  weir::detail::shard_snapshot into;
  show({.accepted = 1,
        .connected = 2,
        .detached = 6,
        .attached = 7,
        .accept_exhausted = 3,
        .bytes_received = 4,
        .bytes_sent = 5,
        .file_bytes_sent = 8},
       into);
  std::string all;
  for (const auto& one : into.counts)
    all += std::string(one.group) + "." + std::string(one.name) + "=" + std::to_string(one.value) +
           " ";
  CHECK(all ==
        "transport.accepted=1 transport.connected=2 transport.detached=6 transport.attached=7 "
        "transport.bytes_received=4 transport.bytes_sent=5 transport.file_bytes_sent=8 "
        "transport.accept_exhausted=3 ");
}

TEST_CASE("an_address_that_is_not_ours_is_named") {
  CHECK(listen_error({"198.51.100.77", 0}, {}) == std::errc::address_not_available);
}

TEST_CASE("accepted_sockets_inherit_what_the_configuration_says") {
  config settings;
  settings.tcp.receive_buffer = 20'000;
  settings.tcp.send_buffer = 30'000;
  for (bool nodelay : {true, false}) {
    settings.tcp.nodelay = nodelay;
    auto listener = open_listener(any_port, {}, settings, mode::blocking);
    REQUIRE(listener.has_value());
    auto where = local_endpoint_of(listener->get());
    auto client = open_connector(where, {}, settings, mode::blocking);
    REQUIRE(client.has_value());
    socket_address to(where);
    REQUIRE(::connect(client->get(), to.data(), to.size) == 0);
    unique_fd accepted(::accept(listener->get(), nullptr, nullptr));
    REQUIRE(bool(accepted));
    for (int fd : {client->get(), accepted.get()}) {
      CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == int(nodelay));
      CHECK(option(fd, SOL_SOCKET, SO_RCVBUF) == 40'000);  // the kernel doubles it
      CHECK(option(fd, SOL_SOCKET, SO_SNDBUF) == 60'000);
    }
    CHECK(remote_endpoint_of(accepted.get()) == local_endpoint_of(client->get()));
  }
}

TEST_CASE("the_accept_queue_holds_as_many_as_the_backlog_says") {
  for (const auto& [backlog, limit] : {std::pair(0u, 0u), {1u, 0u}, {2u, 1u}, {3u, 2u}}) {
    CAPTURE(backlog);
    listen_options options;
    options.backlog = backlog;
    auto listener = open_listener(any_port, options, {}, mode::non_blocking);
    REQUIRE(listener.has_value());
    tcp_info info{};
    socklen_t size = sizeof info;
    REQUIRE(::getsockopt(listener->get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
    // Of a listener: the limit, which the kernel lets its queue exceed by one.
    CHECK(info.tcpi_sacked == limit);
  }
}

TEST_CASE("errors_equal_their_std_errc") {
  CHECK(error_from(ECONNRESET) == std::errc::connection_reset);
  CHECK(error_from(ECONNRESET) == std::make_error_code(std::errc::connection_reset));
  CHECK(error_from(EPIPE) == std::errc::broken_pipe);
  CHECK(error_from(EADDRINUSE) == std::errc::address_in_use);
  CHECK(error_from(EMFILE) == std::errc::too_many_files_open);
  CHECK(error_from(ENOPROTOOPT) == std::errc::operation_not_supported);
  CHECK(error_from(EPERM) == std::errc::permission_denied);
  CHECK(error_from(EACCES) == std::errc::permission_denied);
}

TEST_CASE("failures_of_accept_are_told_apart") {
  CHECK(classify_accept_error(EAGAIN) == accept_failure::nothing_there);
  CHECK(classify_accept_error(ECONNABORTED) == accept_failure::retry);
  CHECK(classify_accept_error(EINTR) == accept_failure::retry);
  CHECK(classify_accept_error(EMFILE) == accept_failure::exhausted);
  CHECK(classify_accept_error(ENFILE) == accept_failure::exhausted);
  CHECK(classify_accept_error(ENOMEM) == accept_failure::exhausted);
  CHECK(classify_accept_error(EBADF) == accept_failure::fatal);
}

TEST_CASE("a_shared_socket_whose_listener_does_not_come_about_listens_no_more") {
  listener_groups groups;
  const auto open_at = [](const endpoint& where) {
    return [where] { return open_listener(where, {}, {}, mode::non_blocking); };
  };
  endpoint where;
  {
    listener_groups::hold first;
    auto failing = groups.share(any_port, open_at(any_port), first);
    REQUIRE(failing.has_value());
    where = local_endpoint_of(failing->get());
    // Another shard comes meanwhile, and does not get further either.
    listener_groups::hold second;
    CHECK(groups.share(where, open_at(where), second).has_value());
  }
  CHECK(!listen_error(where, {}));  // else: address_in_use, and clients wait in a dead queue
}

// How a program begins and ends: under the limits of its process, with what it cannot have, and
// what its end leaves behind.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "programs/harness.hpp"

using namespace programs;

namespace {

/// Rings count against the limit on locked memory, root's too: as it is in a container.
void limit_locked_memory(rlim_t kib) {
  const rlimit limit{kib * 1024, kib * 1024};
  ::setrlimit(RLIMIT_MEMLOCK, &limit);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct caps[2] = {};
  ::syscall(SYS_capget, &header, caps);
  for (auto* set : {&caps[0].effective, &caps[0].permitted, &caps[0].inheritable})
    *set &= ~(1u << CAP_IPC_LOCK);
  // Executing a program as root would give the capability back.
  ::prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK);
  ::syscall(SYS_capset, &header, caps);
}

start_options with_locked_memory(rlim_t kib) {
  return {.environment = {}, .before_exec = [kib] { limit_locked_memory(kib); }};
}

/// Not on every kernel; some forbid rings altogether.
bool rings_are_counted() {
  const bool counted =
      run({weir_probe()}, with_locked_memory(16)).out.find("locked memory") != std::string::npos;
  if (!counted) std::printf("SKIPPED: this kernel does not count rings as locked memory\n");
  return counted;
}

std::vector<std::string> echo_on(const std::string& backend, const std::string& shards) {
  return {services(), "--backend", backend, "--shards", shards, "--echo", "127.0.0.1:7007"};
}

void check_that_it_serves(process& server) {
  auto where = place_of(server.wait_line("listening echo"));
  client c(where.address, where.port);
  c.send("hello");
  c.end_of_stream();
  CHECK(c.receive_all() == "hello");
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

}  // namespace

TEST_CASE("auto_serves_whatever_the_limit_on_locked_memory_is") {
  if (!own_network() || !built_in("asio") || !usable("uring") || !rings_are_counted()) return;
  bool on_uring = false;
  for (rlim_t kib = 64; !on_uring && kib < 16 * 1024; kib += 192) {
    CAPTURE(kib);
    process server(echo_on("auto", "2"), with_locked_memory(kib));
    check_that_it_serves(server);
    on_uring = server.out().find("backend=uring") != std::string::npos;
    const auto& said = server.err();
    CAPTURE(said);
    CHECK(said.find("backend auto: ") != std::string::npos);
    if (!on_uring)
      CHECK(said.find(fmt::format("(RLIMIT_MEMLOCK), which all rings of a user share, is {} KiB",
                                  kib)) != std::string::npos);
  }
  CHECK(on_uring);
}

TEST_CASE("a_named_back_end_says_which_limit_it_met") {
  if (!own_network() || !usable("uring") || !rings_are_counted()) return;
  auto refused = run(echo_on("uring", "4"), with_locked_memory(512));
  CAPTURE(refused.err);
  CHECK(refused.code == 2);
  CHECK(refused.err.find("backend = 'uring': ") != std::string::npos);
  CHECK(refused.err.find("RLIMIT_MEMLOCK") != std::string::npos);
}

TEST_CASE("too_few_descriptors_for_all_shards_are_named_before_any_serves") {
  if (!own_network()) return;
  for (auto* name : {"asio", "uring"}) {
    if (!built_in(name) || !usable(name)) continue;
    const start_options few{.environment = {}, .before_exec = [] {
                              const rlimit limit{24, 24};
                              ::setrlimit(RLIMIT_NOFILE, &limit);
                            }};
    auto refused = run(echo_on(name, "16"), few);
    CAPTURE(refused.err);
    CHECK(refused.code == 2);
    CHECK(refused.err.find("RLIMIT_NOFILE) is 24") != std::string::npos);
    CHECK(refused.out.empty());
  }
}

TEST_CASE("the_stack_serves_where_no_ring_fits_into_locked_memory") {
  if (!own_network() || !built_in("asio") || !usable("stack") || !rings_are_counted()) return;
  process server({services(), "--backend", "stack", "--shards", "2", "--echo", "198.18.0.2:7"},
                 with_locked_memory(320));
  check_that_it_serves(server);
  CHECK(server.err().find("RLIMIT_MEMLOCK") != std::string::npos);
}

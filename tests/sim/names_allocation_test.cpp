// A lookup that runs out of memory: it fails alone, and nobody waits for it for ever.
#include <doctest/doctest.h>

#include <new>

#include "support/allocations.hpp"
#include "support/name_server.hpp"
#include "weir/resolve.hpp"
#include "weir/sim.hpp"

using namespace std::chrono_literals;
using namespace names_test;
using weir::resolver;
using weir::shard;
using weir::task;

TEST_CASE("a_lookup_without_memory_fails_alone_and_the_name_can_be_looked_up_again") {
  weir::sim::network net;
  auto& there = net.add_host("10.0.0.1/24");
  auto& here = net.add_host("10.0.0.2/24");
  net.link(here, there, {.delay = 1ms});
  name_server names;
  names.zone["example.org"] = {a("10.0.0.1")};
  net.start(there, [&](shard& s) { return names.serve(s, {"10.0.0.1", 53}); });
  bool failed = false;
  std::size_t found = 0;
  net.start(here, [&](shard& s) -> task<> {
    resolver r(s, {.servers = {{"10.0.0.1", 53}}, .search = {}, .hosts = {}});
    const auto look_up = [&]() -> task<> {
      try {
        auto all = co_await r.addresses("example.org", weir::ip_family::v4).timeout(1min);
        found += all.size();
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    };
    weir::test::refuse_allocation(4096);  // what the first one reads its answer into
    co_await weir::when_all(look_up(), look_up());
    co_await look_up();
    there.shard().request_stop();
  });
  net.run();
  CHECK(failed);
  CHECK(found == 2);
}

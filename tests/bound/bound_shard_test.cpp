// A runtime with one back end: its shards take that back end's pieces and no others, and serve.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "unit/core_world.hpp"
#include "weir/weir.hpp"

namespace {

/// What was sent to an echo server of this shard, and came back.
weir::task<std::string> echoed(weir::shard& shard, std::string text) {
  auto listener = shard.listen({"127.0.0.1", 0});
  auto client = co_await shard.connect(listener.local_endpoint());
  auto server = co_await listener.accept();
  co_await client.write_all(std::as_bytes(std::span(text)));
  client.shutdown_send();
  std::string back;
  while (auto chunk = co_await server->receive()) co_await server->write_all(chunk.bytes());
  server->close();
  std::array<char, 64> buffer;
  for (;;) {
    auto n = co_await client.read_some(std::as_writable_bytes(std::span(buffer)));
    if (n == 0) co_return back;
    back.append(buffer.data(), n);
  }
}

}  // namespace

TEST_CASE("one_back_end_is_built_in_and_known_by_name") {
  CHECK(weir::built_backends().size() == 1);
  CHECK_FALSE(weir::probe_backend("stack", {}).usable);
}

TEST_CASE("a_shard_refuses_a_driver_and_a_transport_that_its_calls_are_not_bound_to") {
  const weir::config settings;
  const auto make = [&] {
    weir::shard(0, settings, std::make_unique<core_test::jumping_driver>(),
                std::make_unique<core_test::no_transport>());
  };
  CHECK_THROWS_WITH_AS(make(), doctest::Contains("no driver 'jumping', no transport 'none'"),
                       std::invalid_argument);
}

TEST_CASE("bound_calls_carry_an_echo_through_lent_buffers") {
  weir::config settings;
  settings.backend = weir::built_backends().front();
  if (settings.backend == "sim") {
    std::printf("SKIPPED: a simulated shard has a network around it: tests/sim echoes there\n");
    return;
  }
  if (auto here = weir::probe_backend(settings.backend, settings); !here.usable) {
    std::printf("SKIPPED: %s\n", here.reason.c_str());
    return;
  }
  auto shard = weir::make_shard(0, settings);
  std::string back;
  bool ended = false;
  std::exception_ptr failure;
  auto body = [](weir::shard& on, std::string& result) -> weir::task<> {
    result = co_await echoed(on, "through the table it is not");
  };
  shard->start(body(*shard, back), [&](std::exception_ptr f) {
    failure = std::move(f);
    ended = true;
  });
  shard->run_until(
      [&] { return ended && shard->roots() == 0 && shard->transport().closing() == 0; });
  if (failure) std::rethrow_exception(failure);
  CHECK(back == "through the table it is not");
}

// The stack transport on a device that a test plays: frames as they are on the wire, a device that
// is full, one that fails, frames that are garbage.
#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "stack/device/vnet_header.hpp"
#include "weir/net.hpp"

using namespace std::chrono_literals;
using weir::instant;
using weir::shard;
using weir::task;

namespace {

using bytes = std::vector<std::byte>;

/// A driver with a clock and a device that the test plays.
struct played_driver final : weir::detail::driver {
  struct port final : weir::detail::packet_port {
    explicit port(played_driver& d) : owner(&d) {}
    bool send(std::span<const std::span<const std::byte>> parts) override {
      if (owner->full) return false;
      bytes frame;
      for (auto part : parts) frame.insert(frame.end(), part.begin(), part.end());
      owner->sent.push_back(std::move(frame));
      return true;
    }
    const weir::detail::packet_port_counters& counters() const override { return counts; }
    played_driver* owner;
    weir::detail::packet_port_counters counts;
  };

  std::string_view name() const override { return "played"; }
  instant now() override { return clock; }
  void turn(instant) override {}
  void wake() noexcept override {}
  weir::result<std::unique_ptr<weir::detail::packet_port>> open_packet_port(
      int, std::size_t, weir::detail::packet_receiver& r) override {
    if (refuses) return std::errc::permission_denied;
    receiver = &r;
    return std::unique_ptr<weir::detail::packet_port>(std::make_unique<port>(*this));
  }

  instant clock;
  bool full = false, refuses = false;
  std::vector<bytes> sent;
  weir::detail::packet_receiver* receiver = nullptr;
};

struct played_world {
  played_world() {
    settings.stack.address = {*weir::ip_prefix::parse("10.0.0.1/24")};
    auto driver = std::make_unique<played_driver>();
    device = driver.get();
    auto transport = std::make_unique<weir::detail::stack_transport>(
        *driver, weir::detail::stack_settings_from(settings));
    sockets = transport.get();
    here = std::make_unique<shard>(0, settings, std::move(driver), std::move(transport));
  }
  void run(weir::duration time = 0s) {
    device->clock += time;
    while (here->poll()) {
    }
  }
  weir::config settings;
  played_driver* device = nullptr;
  weir::detail::stack_transport* sockets = nullptr;
  std::unique_ptr<shard> here;
};

}  // namespace

TEST_CASE("a_frame_is_a_virtio_header_and_an_ip_packet") {
  played_world world;
  world.here->start(
      [](shard& s) -> task<> {
        auto got = co_await s.connect({"10.0.0.2", 80}).timeout(500ms).nothrow();
        CHECK(got.error() == std::errc::timed_out);
      }(*world.here),
      [](std::exception_ptr) {});
  world.run();
  REQUIRE(world.device->sent.size() == 1);
  const auto& frame = world.device->sent[0];
  REQUIRE(frame.size() > weir::stack::vnet_header_size + 40);
  CHECK(frame[0] == std::byte{0});
  CHECK(frame[10] == std::byte{0x45});
  world.run(1s);
  CHECK(world.here->roots() == 0);
  CHECK(world.sockets->sockets() == 0);
}

TEST_CASE("a_full_device_is_survived_by_retransmission") {
  played_world world;
  world.device->full = true;
  world.here->start(
      [](shard& s) -> task<> {
        auto got = co_await s.connect({"10.0.0.2", 80}).timeout(5s).nothrow();
        CHECK(got.error() == std::errc::timed_out);
      }(*world.here),
      [](std::exception_ptr) {});
  world.run();
  CHECK(world.device->sent.empty());
  CHECK(world.sockets->host().counters()[weir::stack::counter::device_full] > 0);
  world.device->full = false;
  world.run(1500ms);
  CHECK(world.device->sent.size() == 1);
  world.run(10s);
  CHECK(world.here->roots() == 0);
}

TEST_CASE("a_device_that_fails_ends_every_wait_with_its_error") {
  played_world world;
  int ended = 0;
  auto on_end = [&](std::exception_ptr) { ++ended; };
  world.here->start(
      [](shard& s) -> task<> {
        auto got = co_await s.connect({"10.0.0.2", 80}).nothrow();
        CHECK(got.error() == std::errc::io_error);
      }(*world.here),
      on_end);
  world.here->start(
      [](shard& s) -> task<> {
        auto listener = s.listen({"10.0.0.1", 80});
        auto got = co_await listener.accept().nothrow();
        CHECK(got.error() == std::errc::io_error);
        auto again = co_await listener.accept().nothrow();
        CHECK(again.error() == std::errc::io_error);
      }(*world.here),
      on_end);
  world.run();
  world.device->receiver->device_failed(std::make_error_code(std::errc::io_error));
  world.run();
  CHECK(ended == 2);
  auto late = world.here->try_listen({"10.0.0.1", 81});
  REQUIRE(!late);
  CHECK(late.error() == std::errc::io_error);
}

TEST_CASE("frames_of_any_length_are_harmless") {
  played_world world;
  bytes garbage(3000, std::byte{0x45});
  for (std::size_t size = 0; size < garbage.size(); size += size < 80 ? 1 : 97) {
    const std::span<const std::byte> frame = std::span(garbage).first(size);
    world.device->receiver->receive(std::span(&frame, 1));
  }
  world.run();
  CHECK(world.device->sent.empty());
}

TEST_CASE("a_device_that_cannot_be_opened_is_an_error") {
  played_driver driver;
  driver.refuses = true;
  weir::config settings;
  CHECK_THROWS_AS(
      weir::detail::stack_transport(driver, weir::detail::stack_settings_from(settings)),
      weir::io_error);
}

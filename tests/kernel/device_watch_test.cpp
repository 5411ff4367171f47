// A TUN device that is deleted is told of, whether or not anybody reads it.
#include <doctest/doctest.h>

#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <chrono>
#include <string>
#include <system_error>
#include <thread>

#include "kernel/namespace_test.hpp"
#include "kernel/stack_server.hpp"
#include "runtime/backend/factories.hpp"
#include "runtime/transport/stack/device_watch.hpp"
#include "stack/device/tun_device.hpp"

using namespace kernel_test;

namespace {

struct told final : weir::detail::packet_receiver {
  void receive(std::span<const std::span<const std::byte>>) override {}
  void device_failed(std::error_code error) override {
    ++times;
    why = error;
  }
  int times = 0;
  std::error_code why;
};

std::unique_ptr<weir::detail::driver> driver_called(std::string_view name) {
  return name == "uring" ? weir::detail::make_uring_driver({}) : weir::detail::make_asio_driver({});
}

void turn_for(
    weir::detail::driver& on, std::chrono::milliseconds time,
    const std::function<bool()>& done = [] { return false; }) {
  const auto until = on.now() + time;
  while (!done() && on.now() < until) on.turn(on.now() + std::chrono::milliseconds(5));
}

bool run_ip(const std::string& words) {
  return std::system(("PATH=$PATH:/sbin:/usr/sbin ip " + words).c_str()) == 0;
}

std::string watch_one(std::string_view name) {
  std::string why;
  weir::stack::tun_options one, another;
  one.name = "wwatch0";
  another.name = "wwatch1";
  auto device = weir::stack::tun_device::open(one, why);
  auto other = weir::stack::tun_device::open(another, why);
  if (!device || !other) return "no device: " + why;
  const auto on = driver_called(name);
  told heard;
  weir::detail::device_watch watch(*on, device->fd(), heard);
  // Another's end, and whatever else links have to say, is none of ours.
  if (!run_ip("link delete wwatch1") || !run_ip("link set wwatch0 mtu 1400")) return "no ip(8)";
  turn_for(*on, std::chrono::milliseconds(50));
  if (heard.times != 0) return "told of another device";
  if (!run_ip("link delete wwatch0")) return "not deleted";
  turn_for(*on, std::chrono::seconds(20), [&] { return heard.times != 0; });
  turn_for(*on, std::chrono::milliseconds(20));
  if (heard.times != 1) return "told " + std::to_string(heard.times) + " times";
  return heard.why == std::errc::no_such_device ? "" : "told of " + heard.why.message();
}

}  // namespace

TEST_CASE("a_device_that_is_deleted_is_told_of_though_nobody_reads_it") {
  for (const char* name : {"uring", "asio"}) {
    if (!driver_usable(name)) continue;
    CAPTURE(name);
    run_in_private_network([&] { return watch_one(name); });
  }
}

// The Asio driver by itself: deadlines, wake-ups from other threads, spinning, packet ports.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/driver/asio/watched_descriptor.hpp"

using namespace std::chrono_literals;
using weir::instant;
using weir::detail::asio_driver;

namespace {

struct collector : weir::detail::packet_receiver {
  void receive(std::span<const std::span<const std::byte>> some) override {
    together.push_back(some.size());
    for (auto frame : some)
      frames.emplace_back(reinterpret_cast<const char*>(frame.data()), frame.size());
  }
  void device_failed(std::error_code e) override {
    ++failures;
    error = e;
  }
  std::vector<std::string> frames;
  std::vector<std::size_t> together;  // how many each call brought
  int failures = 0;
  std::error_code error;
};

/// A datagram pair keeps frame boundaries, as a TUN device does.
struct device_pair {
  device_pair() { REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) == 0); }
  ~device_pair() {
    ::close(ends[0]);
    if (ends[1] >= 0) ::close(ends[1]);
  }
  void close_far() {
    ::close(ends[1]);
    ends[1] = -1;
  }
  int ends[2];
};

/// Descriptors that are readable from the start, each of which is to be heard of once.
struct readable_descriptors {
  struct watched final : weir::detail::watched_descriptor {
    watched(asio_driver& driver, std::vector<int>& o) : watched_descriptor(driver), order(o) {}
    void readable() override {
      order.push_back(number);
      if (ends != nullptr) ends->close();
    }
    void writable() override { order.push_back(-number); }
    std::vector<int>& order;
    int number = 0;
    watched* ends = nullptr;
  };

  readable_descriptors(asio_driver& driver, int count) {
    for (int i = 0; i < count; ++i) {
      auto* w = all.emplace_back(new watched(driver, order));
      w->number = i;
      REQUIRE(!w->assign(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)));
      w->wait_readable();
    }
  }
  ~readable_descriptors() {
    for (auto* w : all) {
      w->close();
      w->drop();
    }
  }
  std::vector<watched*> all;
  std::vector<int> order;
};

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

TEST_CASE("turn_waits_until_its_deadline_and_not_less") {
  asio_driver driver(0ns);
  auto deadline = driver.now() + 5ms;
  driver.turn(deadline);
  CHECK(driver.now() >= deadline);
}

TEST_CASE("turn_with_a_past_deadline_does_not_wait") {
  asio_driver driver(0ns);
  // Would hang, were the deadline taken for none.
  driver.turn(driver.now() - 1s);
  driver.turn(instant{});
}

TEST_CASE("spinning_turn_ends_at_its_deadline_too") {
  asio_driver driver(50us);
  auto deadline = driver.now() + 2ms;
  driver.turn(deadline);
  CHECK(driver.now() >= deadline);
  deadline = driver.now() + 20us;  // shorter than the spin
  driver.turn(deadline);
  CHECK(driver.now() >= deadline);
}

TEST_CASE("wake_before_the_turn_ends_it") {
  asio_driver driver(0ns);
  driver.wake();
  driver.wake();
  driver.turn(instant::never());
}

TEST_CASE("wake_is_consumed_by_one_turn") {
  asio_driver driver(0ns);
  driver.wake();
  driver.turn(instant::never());
  auto deadline = driver.now() + 2ms;
  driver.turn(deadline);
  CHECK(driver.now() >= deadline);
}

TEST_CASE("wake_from_another_thread_ends_every_wait") {
  for (auto spin : {0us, 20us}) {
    asio_driver driver(spin);
    constexpr int rounds = 2000;
    std::atomic<int> asked{0}, answered{0};
    std::thread waker([&] {
      for (int i = 0; i < rounds; ++i) {
        asked.store(i + 1);
        driver.wake();
        while (answered.load() < i + 1) std::this_thread::yield();
      }
    });
    // A lost wake-up would leave this loop waiting for ever.
    while (answered.load() < rounds) {
      while (asked.load() == answered.load()) driver.turn(instant::never());
      answered.store(asked.load());
    }
    waker.join();
  }
}

TEST_CASE("many_threads_may_wake_at_once") {
  asio_driver driver(0ns);
  std::atomic<int> done{0};
  std::vector<std::thread> wakers;
  for (int t = 0; t < 4; ++t)
    wakers.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) driver.wake();
      done.fetch_add(1);
      driver.wake();
    });
  while (done.load() < 4) driver.turn(instant::never());
  for (auto& waker : wakers) waker.join();
}

TEST_CASE("driver_goes_with_a_wake_pending") {
  asio_driver driver(0ns);
  driver.wake();
}

TEST_CASE("a_turn_of_a_busy_shard_runs_all_that_is_ready_in_order") {
  asio_driver driver(0ns);
  readable_descriptors ready(driver, 40);
  driver.turn(instant{});
  REQUIRE(ready.order.size() == 40);
  CHECK(std::ranges::is_sorted(ready.order));
}

TEST_CASE("a_turn_runs_a_bounded_number_of_handlers_and_the_next_one_the_rest") {
  asio_driver driver(0ns);
  readable_descriptors ready(driver, 600);
  driver.turn(instant{});
  CHECK(ready.order.size() == 512);
  driver.turn(instant{});
  CHECK(ready.order.size() == 600);
}

TEST_CASE("what_is_still_readable_is_told_again_to_who_asks_again") {
  asio_driver driver(0ns);
  readable_descriptors ready(driver, 1);
  for (std::size_t told = 1; told <= 3; ++told) {
    driver.turn(instant::never());
    CHECK(ready.order.size() == told);
    ready.all[0]->wait_readable();
  }
}

TEST_CASE("who_waits_for_more_hears_of_the_next_change_only") {
  asio_driver driver(0ns);
  readable_descriptors ready(driver, 1);
  driver.turn(instant::never());
  ready.all[0]->wait_for_more();
  driver.turn(instant{});
  CHECK(ready.order.size() == 1);
  REQUIRE(::eventfd_write(ready.all[0]->fd(), 1) == 0);
  driver.turn(instant::never());
  CHECK(ready.order.size() == 2);
  // A change that nobody waited for is not lost.
  REQUIRE(::eventfd_write(ready.all[0]->fd(), 1) == 0);
  driver.turn(instant{});
  CHECK(ready.order.size() == 2);
  ready.all[0]->wait_for_more();
  driver.turn(instant::never());
  CHECK(ready.order.size() == 3);
}

TEST_CASE("waits_for_room_are_told_apart_from_waits_for_bytes") {
  asio_driver driver(0ns);
  readable_descriptors ready(driver, 2);
  driver.turn(instant::never());
  ready.order.clear();
  ready.all[1]->wait_writable();
  driver.turn(instant::never());
  CHECK(ready.order == std::vector<int>{-1});
}

TEST_CASE("one_that_is_told_may_end_another_that_is_ready_too") {
  asio_driver driver(0ns);
  readable_descriptors ready(driver, 3);
  ready.all[0]->ends = ready.all[1];
  driver.turn(instant::never());
  CHECK(ready.order == std::vector<int>{0, 2});
}

TEST_CASE("a_file_is_always_ready_from_a_later_turn") {
  asio_driver driver(0ns);
  std::vector<int> order;
  auto* file = new readable_descriptors::watched(driver, order);
  file->number = 7;
  REQUIRE(!file->assign(::memfd_create("weir-test", MFD_CLOEXEC)));
  for (int told = 0; told < 2; ++told) {
    order.clear();
    file->wait_readable();
    file->wait_for_room();
    CHECK(order.empty());
    while (order.size() < 2) driver.turn(instant::never());
    CHECK(order == std::vector<int>{7, -7});
  }
  file->wait_readable();  // goes with the driver
  file->close();
  file->drop();
}

TEST_CASE("when_many_are_ready_at_once_the_next_turn_looks_by_one_call") {
  asio_driver driver(0ns);
  readable_descriptors ready(driver, 8);
  driver.turn(instant::never());
  REQUIRE(ready.order.size() == 8);
  for (auto* w : ready.all) {
    w->wait_for_more();
    REQUIRE(::eventfd_write(w->fd(), 1) == 0);
  }
  const auto before = driver.system_calls();
  driver.turn(instant::never());
  CHECK(ready.order.size() == 16);
  CHECK(driver.system_calls() - before == 1);
}

TEST_CASE("packet_port_hands_frames_over_together_in_order") {
  asio_driver driver(0ns);
  device_pair device;
  collector got;
  auto port = driver.open_packet_port(device.ends[0], 2048, got);
  REQUIRE(port.has_value());
  for (int i = 0; i < 10; ++i) {
    auto frame = "frame " + std::to_string(i);
    REQUIRE(::send(device.ends[1], frame.data(), frame.size(), 0) > 0);
  }
  while (got.frames.size() < 10) driver.turn(instant::never());
  CHECK(got.together == std::vector<std::size_t>{10});
  CHECK(got.frames.front() == "frame 0");
  CHECK(got.frames.back() == "frame 9");
  CHECK((*port)->counters().frames_in == 10);
  CHECK((*port)->counters().bytes_in == 70);
}

TEST_CASE("packet_port_reads_a_bounded_number_of_frames_per_turn_and_the_rest_later") {
  asio_driver driver(0ns);
  device_pair device;
  collector got;
  auto port = driver.open_packet_port(device.ends[0], 64, got);
  REQUIRE(port.has_value());
  std::size_t sent = 0, last = 0;
  while (sent < 1000) {
    while (sent < 1000 && ::send(device.ends[1], "x", 1, 0) == 1) ++sent;
    driver.turn(instant::never());
    CHECK(got.frames.size() - last <= 128);
    last = got.frames.size();
  }
  while (got.frames.size() < sent) driver.turn(instant::never());
  CHECK(got.frames.size() == 1000);
}

TEST_CASE("packet_port_stops_reading_sends_still_and_reads_again") {
  asio_driver driver(0ns);
  device_pair device;
  collector got;
  auto made = driver.open_packet_port(device.ends[0], 2048, got);
  REQUIRE(made.has_value());
  auto& port = **made;
  const auto put = [&](std::string_view text) {
    REQUIRE(::send(device.ends[1], text.data(), text.size(), 0) > 0);
  };
  put("before");
  while (got.frames.empty()) driver.turn(instant::never());
  CHECK(port.stop_reading());
  put("another's");
  for (int i = 0; i < 3; ++i) driver.turn(driver.now());
  char text[64];
  CHECK(::recv(device.ends[0], text, sizeof text, MSG_DONTWAIT) == 9);
  const std::string still = "still";
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(still))};
  CHECK(port.send(parts));
  CHECK(::recv(device.ends[1], text, sizeof text, MSG_DONTWAIT) == 5);
  put("again");
  port.resume_reading();
  while (got.frames.size() < 2) driver.turn(instant::never());
  CHECK(got.frames.back() == "again");
}

TEST_CASE("packet_port_gathers_what_it_sends") {
  asio_driver driver(0ns);
  device_pair device;
  collector got;
  auto port = driver.open_packet_port(device.ends[0], 2048, got);
  REQUIRE(port.has_value());
  std::string head = "head ", body = "body";
  std::array<std::span<const std::byte>, 2> parts{bytes(head), bytes(body)};
  CHECK((*port)->send(parts));
  char buffer[64];
  auto n = ::recv(device.ends[1], buffer, sizeof buffer, 0);
  REQUIRE(n == 9);
  CHECK(std::memcmp(buffer, "head body", 9) == 0);
  CHECK((*port)->counters().frames_out == 1);
  CHECK((*port)->counters().bytes_out == 9);
}

TEST_CASE("packet_port_says_when_the_device_has_no_room") {
  asio_driver driver(0ns);
  device_pair device;
  collector got;
  auto port = driver.open_packet_port(device.ends[0], 2048, got);
  REQUIRE(port.has_value());
  std::string frame(1000, 'x');
  std::array<std::span<const std::byte>, 1> parts{bytes(frame)};
  bool refused = false;
  for (int i = 0; i < 100'000 && !refused; ++i) refused = !(*port)->send(parts);
  CHECK(refused);
  CHECK((*port)->counters().send_failed == 1);
  char buffer[2048];
  while (::recv(device.ends[1], buffer, sizeof buffer, 0) > 0) {
  }
  CHECK((*port)->send(parts));
}

TEST_CASE("packet_port_reports_a_device_that_is_gone_once") {
  asio_driver driver(0ns);
  device_pair device;
  collector got;
  auto port = driver.open_packet_port(device.ends[0], 2048, got);
  REQUIRE(port.has_value());
  device.close_far();
  while (got.failures == 0) driver.turn(instant::never());
  driver.turn(driver.now() + 1ms);
  CHECK(got.failures == 1);
  CHECK(bool(got.error));
}

TEST_CASE("packet_port_goes_while_it_waits_and_leaves_the_descriptor_open") {
  asio_driver driver(0ns);
  device_pair device;
  collector got;
  auto port = driver.open_packet_port(device.ends[0], 2048, got);
  REQUIRE(port.has_value());
  {
    auto gone = std::move(*port);
  }
  REQUIRE(::send(device.ends[1], "late", 4, 0) == 4);
  driver.turn(driver.now() + 1ms);
  CHECK(got.frames.empty());
  CHECK(::fcntl(device.ends[0], F_GETFD) >= 0);
  auto again = driver.open_packet_port(device.ends[0], 2048, got);
  REQUIRE(again.has_value());
  while (got.frames.empty()) driver.turn(instant::never());
  CHECK(got.frames.front() == "late");
}

// The io_uring driver from close by: waiting, waking, full queues, the pool of buffers, the packet
// port. The port is tested on a pair of datagram sockets, which needs no device.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/refused_calls.hpp"
#include "uring_world.hpp"

using namespace std::chrono_literals;
using uring_test::allowed;
using weir::instant;
using weir::detail::buffer_pool;
using weir::detail::packet_receiver;
using weir::detail::ring_client;
using weir::detail::ring_rules;
using weir::detail::uring_driver;

namespace {

struct counting_client : ring_client {
  counting_client() : ring_client(&counting_client::count) {}
  static void count(ring_client& c, unsigned tag, std::int32_t result, std::uint32_t) noexcept {
    auto& self = static_cast<counting_client&>(c);
    self.seen += 1;
    self.tags += tag;
    self.last = result;
  }
  unsigned seen = 0, tags = 0;
  std::int32_t last = 0;
};

void queue_no_op(uring_driver& driver, const ring_client& client, unsigned tag) {
  auto& entry = driver.sqe();
  entry.opcode = IORING_OP_NOP;
  entry.user_data = client.user_data(tag);
}

/// The two ends of a datagram pair; the first plays the device.
struct wire {
  wire() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  }
  ~wire() {
    hang_up();
    if (ends[0] >= 0) ::close(ends[0]);
  }
  void hang_up() {
    if (ends[1] >= 0) ::close(std::exchange(ends[1], -1));
  }
  void put(const std::string& frame) {
    REQUIRE(::send(ends[1], frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size()));
  }
  std::string get() {
    std::string frame(70'000, '\0');
    auto n = ::recv(ends[1], frame.data(), frame.size(), MSG_DONTWAIT);
    frame.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return frame;
  }
  int ends[2] = {-1, -1};
};

struct collector : packet_receiver {
  void receive(std::span<const std::span<const std::byte>> some) override {
    together.push_back(some.size());
    for (auto frame : some)
      frames.emplace_back(reinterpret_cast<const char*>(frame.data()), frame.size());
  }
  void device_failed(std::error_code error) override {
    ++failures;
    failure = error;
  }
  std::vector<std::string> frames;
  std::vector<std::size_t> together;  // how many each call brought
  int failures = 0;
  std::error_code failure;
};

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

bool send(weir::detail::packet_port& port, const std::string& a, const std::string& b = {}) {
  std::array parts{bytes(a), bytes(b)};
  return port.send(parts);
}

std::vector<uring_driver::options> old_and_new() {
  uring_driver::options recent, oldest;
  oldest.rules = weir::detail::ring_rules::oldest();
  return {recent, oldest};
}

}  // namespace

TEST_CASE("probe_says_yes_or_why_not") {
  auto found = weir::detail::probe_uring(uring_test::uring_config());
  CHECK(!found.reason.empty());
}

TEST_CASE("setup_errors_name_the_cause_and_the_remedy") {
  for (int error : {ENOSYS, EPERM, ENOMEM, EMFILE, EINVAL, EIO}) {
    auto text = weir::detail::explain_setup_error(error);
    CHECK(text.find(std::strerror(error)) != std::string::npos);
    CHECK((text.find("asio") != std::string::npos || text.find("ulimit") != std::string::npos));
  }
  CHECK(weir::detail::explain_setup_error(ENOSYS).find("seccomp") != std::string::npos);
}

TEST_CASE("turn_waits_until_its_deadline_and_not_less") {
  if (!allowed()) return;
  uring_driver driver({});
  auto deadline = driver.now() + 3ms;
  while (driver.now() < deadline) driver.turn(deadline);
  CHECK(driver.counters().sleeps >= 1);
  auto sleeps = driver.counters().sleeps;
  driver.turn(instant{});  // a deadline that is past: no wait
  CHECK(driver.counters().sleeps == sleeps);
}

TEST_CASE("turn_with_nothing_to_submit_and_nothing_to_wait_for_makes_no_system_call") {
  if (!allowed()) return;
  uring_driver driver({});
  driver.turn(instant{});
  auto calls = driver.system_calls();
  driver.turn(instant{});
  CHECK(driver.system_calls() == calls);
}

TEST_CASE("wake_before_the_wait_ends_it") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    uring_driver driver(options);
    for (std::uint64_t i = 1; i <= 3; ++i) {
      driver.wake();
      driver.wake();  // one message is enough
      while (driver.counters().wakes < i) driver.turn(instant::never());
    }
    CHECK(driver.counters().wakes == 3);
  }
}

TEST_CASE("a_driver_that_was_woken_and_has_not_seen_it_goes") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    // A wake() may come while the driver goes: what read it is over before it can be cancelled.
    uring_driver driver(options);
    driver.turn(instant{});
    driver.wake();
  }
}

TEST_CASE("wake_from_other_threads_ends_a_wait") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    uring_driver driver(options);
    constexpr int rounds = 500, threads = 3;
    std::atomic<int> posted{0};
    std::vector<std::thread> others;
    for (int t = 0; t < threads; ++t)
      others.emplace_back([&] {
        for (int i = 0; i < rounds; ++i) {
          posted.fetch_add(1);
          driver.wake();
        }
      });
    // Every post is followed by a wake-up that is seen after it: never() is never waited for in
    // vain.
    while (posted.load() < rounds * threads) driver.turn(instant::never());
    for (auto& other : others) other.join();
    while (driver.counters().wakes == 0) driver.turn(instant::never());  // it may be waiting still
  }
}

TEST_CASE("spinning_finds_a_wake_without_sleeping") {
  if (!allowed()) return;
  uring_driver::options options;
  options.busy_poll_us = 600'000'000;
  uring_driver driver(options);
  std::thread other([&] { driver.wake(); });
  while (driver.counters().wakes == 0) driver.turn(instant::never());
  other.join();
  CHECK(driver.counters().sleeps == 0);
}

TEST_CASE("spinning_gives_up_at_the_deadline_without_a_sleep") {
  if (!allowed()) return;
  uring_driver::options options;
  options.busy_poll_us = 600'000'000;
  uring_driver driver(options);
  auto deadline = driver.now() + 2ms;
  driver.turn(deadline);
  CHECK(driver.now() >= deadline);
  CHECK(driver.counters().sleeps == 0);
}

TEST_CASE("a_full_submission_queue_is_flushed") {
  if (!allowed()) return;
  uring_driver::options options;
  options.sq_entries = 8;
  uring_driver driver(options);
  counting_client client;
  for (unsigned i = 0; i < 100; ++i) queue_no_op(driver, client, i % 16);
  while (client.seen < 100) driver.turn(instant::never());
  CHECK(driver.counters().submission_full >= 10);
  CHECK(client.tags == 6 * 120 + 6);
}

TEST_CASE("completions_that_overflow_the_queue_are_all_delivered") {
  if (!allowed()) return;
  uring_driver::options options;
  options.sq_entries = 8;
  options.cq_entries = 8;
  uring_driver driver(options);
  counting_client client;
  for (unsigned i = 0; i < 500; ++i) queue_no_op(driver, client, 1);
  while (client.seen < 500) driver.turn(instant::never());
  CHECK(client.seen == 500);
  CHECK(driver.counters().overflows >= 1);
}

/// Requests that complete at once, numbered in the order in which they were queued; the first two
/// queue more than the submission queue has room for when they are handed out.
struct numbered_requests {
  struct request : ring_client {
    request() : ring_client(&request::done) {}
    static void done(ring_client& c, unsigned, std::int32_t, std::uint32_t) noexcept {
      auto& self = static_cast<request&>(c);
      auto& all = *self.all;
      all.order.push_back(self.number);
      if (self.number <= 2) all.queue(5);
    }
    numbered_requests* all = nullptr;
    int number = 0;
  };

  explicit numbered_requests(uring_driver& d) : driver(d) {}
  void queue(int n) {
    for (int i = 0; i < n; ++i) {
      auto& next = requests[static_cast<std::size_t>(queued)];
      next.all = this;
      next.number = ++queued;
      queue_no_op(driver, next, 0);
    }
  }

  uring_driver& driver;
  std::array<request, 16> requests;
  std::vector<int> order;
  int queued = 0;
};

TEST_CASE("completions_keep_their_order_when_a_submission_is_refused_while_kept_ones_are_out") {
  if (!allowed()) return;
  bool filtered = false;
  std::uint64_t refused = 0;
  std::vector<int> order, sorted;
  std::thread([&] {
    uring_driver::options options;
    options.sq_entries = 4;
    options.cq_entries = 64;
    uring_driver driver(options);
    driver.turn(instant{});
    // As older kernels do while completions wait: only a call that collects them is obeyed.
    filtered = support::refuse_call(__NR_io_uring_enter, 3, BPF_JSET, IORING_ENTER_GETEVENTS, false,
                                    EBUSY);
    if (!filtered) return;
    numbered_requests requests(driver);
    requests.queue(4);
    while (requests.order.size() < 14) driver.turn(instant::never());
    refused = driver.counters().submission_refused;
    order = sorted = requests.order;
  }).join();
  if (!filtered) {
    std::printf("SKIPPED: this kernel has no seccomp filters\n");
    return;
  }
  CHECK(refused >= 2);
  std::ranges::sort(sorted);
  std::string in_words;
  for (int number : order) in_words += std::to_string(number) + " ";
  INFO(in_words);
  CHECK(order == sorted);
}

TEST_CASE("cancelling_what_is_not_there_reports_when_asked") {
  if (!allowed()) return;
  uring_driver driver({});
  counting_client client;
  driver.cancel(client.user_data(1));
  driver.cancel(client.user_data(1), client.user_data(2));
  while (client.seen < 1) driver.turn(instant::never());
  CHECK(client.tags == 2);
  CHECK(client.last == -ENOENT);
}

namespace {

/// What the driver says and does in a process of its own that asks for something of io_uring.
struct outcome {
  bool aborted = false;
  std::string said;
};
outcome asked_for(const weir::config::uring_section& limits,
                  const std::function<void(uring_driver&)>& ask) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);  // doctest's own would print
    uring_driver::options options;
    options.rules = ring_rules(limits);
    uring_driver driver(options);
    ask(driver);
    driver.turn(instant{});
    ::_exit(0);
  }
  ::close(ends[1]);
  outcome result;
  char piece[256];
  for (ssize_t n; (n = ::read(ends[0], piece, sizeof piece)) > 0;)
    result.said.append(piece, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  result.aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  return result;
}

}  // namespace

TEST_CASE("what_a_profile_hides_ends_the_program_when_it_is_used_all_the_same") {
  if (!allowed()) return;
  const auto entry = [](std::uint8_t opcode, std::uint8_t flags, std::uint16_t priority) {
    return [=](uring_driver& driver) {
      auto& e = driver.sqe();
      e.opcode = opcode;
      e.fd = -1;
      e.flags = flags;
      e.ioprio = priority;
    };
  };
  struct {
    const char* profile;
    const char* hide;
    std::function<void(uring_driver&)> ask;
    const char* said;
  } const cases[] = {
      {"6.6", "", entry(49, 0, 0), "uring.profile 6.6: operation 49 is used all the same"},
      {"5.19", "", entry(IORING_OP_RECV, 0, IORING_RECV_MULTISHOT), "5.19: priority bit 2 is"},
      {"5.19", "", entry(IORING_OP_ACCEPT, 0, IORING_ACCEPT_MULTISHOT), ""},
      {"", "multishot_accept", entry(IORING_OP_ACCEPT, 0, IORING_ACCEPT_MULTISHOT),
       "uring.hide multishot_accept: priority bit 1 is"},
      {"", "cqe_skip", entry(IORING_OP_NOP, IOSQE_CQE_SKIP_SUCCESS, 0), "entry flag 64 is"},
      {"6.6", "", entry(IORING_OP_NOP, IOSQE_CQE_SKIP_SUCCESS, 0), ""},
      {"6.6", "", entry(IORING_OP_NOP, 0, 1), "priority bit 1 is"},
      {"6.6", "", entry(200, 0, 0), "operation 200 is"},
      {"", "buffer_rings",
       [](uring_driver& driver) {
         io_uring_buf_reg none{};
         driver.register_with_ring(IORING_REGISTER_PBUF_RING, &none, 1);
       },
       "uring.hide buffer_rings: registration 22 is"},
      {"6.1", "",
       [](uring_driver& driver) {
         driver.register_with_ring(weir::detail::uring::register_send_msg_ring, nullptr, 1);
       },
       "uring.profile 6.1: registration 31 is"},
  };
  for (const auto& each : cases) {
    weir::config::uring_section limits;
    limits.profile = each.profile;
    if (*each.hide != 0) limits.hide = {each.hide};
    const auto result = asked_for(limits, each.ask);
    CAPTURE(each.said);
    CAPTURE(result.said);
    const bool refused = *each.said != 0;
    CHECK(result.aborted == refused);
    CHECK(result.said.find(each.said) != std::string::npos);
  }
}

TEST_CASE("every_feature_can_be_hidden_and_the_driver_goes_on_without_it") {
  if (!allowed()) return;
  for (const auto& feature : weir::detail::uring_feature_table) {
    CAPTURE(feature.name);
    weir::config::uring_section limits;
    limits.hide = {std::string(feature.name)};
    uring_driver::options options;
    options.rules = ring_rules(limits);
    uring_driver driver(options);
    CHECK_FALSE(driver.features().*feature.member);
    counting_client client;
    for (unsigned i = 0; i < 10; ++i) queue_no_op(driver, client, 1);
    std::thread other([&] { driver.wake(); });
    while (client.seen < 10 || driver.counters().wakes == 0) driver.turn(instant::never());
    other.join();
    driver.cancel(client.user_data(1), client.user_data(2));
    while (client.seen < 11) driver.turn(driver.now());  // never waits
  }
}

TEST_CASE("buffer_pool_hands_out_the_last_returned_first_and_is_bounded") {
  if (!allowed()) return;
  uring_driver driver({});
  buffer_pool pool(driver, {.count = 8, .in_ring = 4, .size = 512});
  if (driver.features().buffer_rings) CHECK(pool.offered() == 4);
  std::vector<unsigned> held;
  while (auto id = pool.take()) held.push_back(*id);
  CHECK(held.size() == 8 - pool.offered());
  pool.give_back(held[2]);
  pool.give_back(held[0]);
  CHECK(*pool.take() == held[0]);
  CHECK(*pool.take() == held[2]);
  CHECK(!pool.take());
}

TEST_CASE("buffer_pool_offers_fewer_buffers_where_few_are_used_and_all_when_they_are_needed") {
  if (!allowed()) return;
  uring_driver driver({});
  if (!driver.features().buffer_rings) return;
  buffer_pool pool(driver, {.count = 64, .in_ring = 32, .size = 512, .least_in_ring = 4});
  CHECK(pool.offered() == 32);
  const auto one_turn = [&](unsigned used) {
    // As if the kernel had taken the oldest ones, and they had come back in the same turn.
    for (unsigned id = 0; id < used; ++id) pool.taken(id);
    pool.refill();
  };
  for (unsigned i = 0; i < 28; ++i) one_turn(1);
  CHECK(pool.offered() == 32);
  for (unsigned i = 28; i < 64; ++i) one_turn(1);
  CHECK(pool.depth() < 32);
  one_turn(pool.depth());
  CHECK(pool.depth() == 32);
}

TEST_CASE("packet_port_hands_over_frames_in_order") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    uring_driver driver(options);
    wire w;
    collector got;
    auto port = driver.open_packet_port(w.ends[0], 2000, got);
    REQUIRE(port);
    // More than the port has buffers, in portions that the socket holds.
    std::size_t sent = 0;
    while (sent < 1000) {
      for (int i = 0; i < 100; ++i) w.put("frame " + std::to_string(sent++));
      while (got.frames.size() < sent) driver.turn(instant::never());
    }
    bool in_order = true;
    for (std::size_t i = 0; i < sent; ++i)
      in_order &= got.frames[i] == "frame " + std::to_string(i);
    CHECK(in_order);
    CHECK((*port)->counters().frames_in == sent);
    CHECK(got.failures == 0);
  }
}

TEST_CASE("packet_port_stops_reading_loses_nothing_sends_still_and_reads_again") {
  if (!allowed()) return;
  struct stopping final : collector {
    void reading_stopped() override { ++stops; }
    int stops = 0;
  };
  for (auto& options : old_and_new()) {
    uring_driver driver(options);
    wire w;
    stopping got;
    auto made = driver.open_packet_port(w.ends[0], 2000, got);
    REQUIRE(made);
    auto& port = **made;
    w.put("before");
    while (got.frames.empty()) driver.turn(instant::never());
    w.put("either's");
    if (!port.stop_reading())
      while (got.stops == 0) driver.turn(instant::never());
    const auto read_here = got.frames.size();
    w.put("another's");
    for (int i = 0; i < 3; ++i) driver.turn(driver.now());
    CHECK(got.frames.size() == read_here);
    std::vector<std::string> read_there;
    char text[64];
    for (ssize_t n; (n = ::recv(w.ends[0], text, sizeof text, MSG_DONTWAIT)) > 0;)
      read_there.emplace_back(text, static_cast<std::size_t>(n));
    CHECK(read_there.back() == "another's");
    CHECK(read_here + read_there.size() == 3);
    CHECK(send(port, "still"));
    driver.turn(driver.now());
    CHECK(w.get() == "still");
    port.resume_reading();
    w.put("again");
    while (got.frames.size() == read_here) driver.turn(instant::never());
    (void)port.stop_reading();  // and at once otherwise
    port.resume_reading();
    w.put("and again");
    while (got.frames.size() < read_here + 2) driver.turn(instant::never());
    CHECK(got.frames.back() == "and again");
    CHECK(got.failures == 0);
  }
}

TEST_CASE("packet_port_writes_a_frame_of_as_many_parts_as_the_stack_gathers") {
  if (!allowed()) return;
  uring_driver driver({});
  wire w;
  collector got;
  auto port = driver.open_packet_port(w.ends[0], 65'550, got);
  REQUIRE(port);
  // Two headers and 64 parts of payload, and too long to be copied into a slot.
  std::vector<std::string> texts;
  std::string all;
  for (int i = 0; i < 66; ++i) all += texts.emplace_back(300, static_cast<char>('0' + i % 60));
  std::vector<std::span<const std::byte>> parts;
  for (const auto& text : texts) parts.push_back(bytes(text));
  CHECK((*port)->send(parts));
  CHECK(w.get() == all);
  CHECK((*port)->counters().send_failed == 0);
}

TEST_CASE("packet_port_hands_over_together_what_is_there_at_once") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    for (std::size_t frame_limit : {2000, 65'550}) {
      uring_driver driver(options);
      wire w;
      collector got;
      for (int i = 0; i < 40; ++i) w.put(std::to_string(i));
      auto port = driver.open_packet_port(w.ends[0], frame_limit, got);
      REQUIRE(port);
      while (got.frames.size() < 40) driver.turn(instant::never());
      for (std::size_t i = 0; i < 40; ++i) CHECK(got.frames[i] == std::to_string(i));
      CHECK((*port)->counters().frames_in == 40);
      CHECK(std::ranges::max(got.together) > 1);
      CHECK(std::ranges::max(got.together) <= packet_receiver::max_frames);
    }
  }
}

TEST_CASE("packet_port_recovers_when_its_buffers_run_out_which_long_frames_have_fewer_of") {
  if (!allowed()) return;
  uring_driver driver({});
  if (!driver.features().multishot_read) {
    std::printf("SKIPPED: this kernel has no multishot read\n");
    return;
  }
  wire w;
  collector got;
  auto port = driver.open_packet_port(w.ends[0], 65'550, got);
  REQUIRE(port);
  std::size_t sent = 0;
  const auto put = [&](const std::string& frame, std::size_t count) {
    const auto first = sent;
    for (; sent < first + count; ++sent) w.put(frame + std::to_string(sent));
    while (got.frames.size() < sent) driver.turn(instant::never());
    for (auto i = first; i < sent; ++i) CHECK(got.frames[i] == frame + std::to_string(i));
  };
  driver.turn(instant{});
  put("small", 100);
  CHECK((*port)->counters().no_buffer == 0);
  // What was offered for small ones is used up first.
  for (int i = 0; i < 40; ++i) put(std::string(5000, 'l'), 8);
  const auto before = (*port)->counters();
  put("small", 100);
  CHECK((*port)->counters().no_buffer > before.no_buffer);
  CHECK((*port)->counters().cut_short > before.cut_short);
}

TEST_CASE("packet_port_sends_small_and_long_frames_in_order") {
  if (!allowed()) return;
  uring_driver driver({});
  wire w;
  collector got;
  auto port = driver.open_packet_port(w.ends[0], 65'550, got);
  REQUIRE(port);
  std::string longer(30'000, 'l');
  CHECK(send(**port, "head", "tail"));
  CHECK(send(**port, "second"));
  CHECK(send(**port, "", longer));
  CHECK(send(**port, "last"));
  while ((*port)->counters().frames_out < 4) driver.turn(instant::never());
  CHECK(w.get() == "headtail");
  CHECK(w.get() == "second");
  CHECK(w.get() == longer);
  CHECK(w.get() == "last");
  CHECK((*port)->counters().bytes_out == 8 + 6 + longer.size() + 4);
  CHECK(!send(**port, ""));
}

TEST_CASE("packet_port_sends_more_in_one_turn_than_it_has_slots") {
  if (!allowed()) return;
  uring_driver driver({});
  wire w;
  int room = 4 << 20;
  ::setsockopt(w.ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  ::setsockopt(w.ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  collector got;
  auto port = driver.open_packet_port(w.ends[0], 2000, got);
  REQUIRE(port);
  int accepted = 0;
  for (; accepted < 260; ++accepted)
    if (!send(**port, std::to_string(accepted))) break;
  CHECK(accepted > 256);
  while ((*port)->counters().frames_out < static_cast<std::uint64_t>(accepted))
    driver.turn(instant::never());
  bool in_order = true;
  for (int i = 0; i < accepted; ++i) in_order &= w.get() == std::to_string(i);
  CHECK(in_order);
}

TEST_CASE("packet_port_reports_a_dead_device_once") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    uring_driver driver(options);
    wire w;
    collector got;
    auto port = driver.open_packet_port(w.ends[0], 2000, got);
    REQUIRE(port);
    w.put("last words");
    w.hang_up();
    while (got.failures == 0) driver.turn(driver.now() + 10ms);
    for (int i = 0; i < 3; ++i) driver.turn(driver.now());
    CHECK(got.failures == 1);
    CHECK(got.frames == std::vector<std::string>{"last words"});
    CHECK(!send(**port, "x"));
    CHECK((*port)->counters().send_failed == 1);
  }
}

TEST_CASE("packet_port_goes_while_a_read_is_pending") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    uring_driver driver(options);
    wire w;
    collector got;
    {
      auto port = driver.open_packet_port(w.ends[0], 2000, got);
      REQUIRE(port);
      driver.turn(instant{});
      send(**port, "bye");
    }
    CHECK(w.get() == "bye");
    w.put("too late");
    driver.turn(instant{});
    CHECK(got.frames.empty());
  }
}

// The ring keeps one file; the file is the device's only as long as its port lives.
TEST_CASE("packet_ports_share_a_ring_and_a_closed_device_is_not_kept_open") {
  if (!allowed()) return;
  for (auto& options : old_and_new()) {
    uring_driver driver(options);
    for (int round = 0; round < 2; ++round) {
      wire first, second;
      collector from_first, from_second;
      {
        auto one = driver.open_packet_port(first.ends[0], 2000, from_first);
        auto two = driver.open_packet_port(second.ends[0], 2000, from_second);
        REQUIRE(one);
        REQUIRE(two);
        CHECK(!driver.keep_file(second.ends[0]));
        first.put("to one");
        second.put("to two");
        while (from_first.frames.empty() || from_second.frames.empty())
          driver.turn(instant::never());
        CHECK(from_first.frames == std::vector<std::string>{"to one"});
        CHECK(from_second.frames == std::vector<std::string>{"to two"});
        send(**one, "from one");
        send(**two, "from two");
        driver.turn(driver.now());
        CHECK(first.get() == "from one");
        CHECK(second.get() == "from two");
      }
      ::close(std::exchange(first.ends[0], -1));
      ::close(std::exchange(second.ends[0], -1));
      for (auto* w : {&first, &second})
        CHECK(::send(w->ends[1], "?", 1, MSG_NOSIGNAL) < 0);  // the other end is gone
    }
  }
}

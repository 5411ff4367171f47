// What a service manager gives and is told: in processes of their own, since it comes through the
// environment and as descriptor 3 and up.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "unit/back_ends.hpp"
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

using namespace std::chrono_literals;
using weir::service_manager;
using weir::unique_fd;

namespace {

/// What `body` says, of 0 to 100, in a process of its own.
int in_a_process(const std::function<int()>& body) {
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

void give(int count, const char* names, pid_t to) {
  for (int i = 0; i < count; ++i) {
    const int pipe = ::open("/dev/null", O_RDONLY);
    if (pipe != 3 + i) {
      ::dup2(pipe, 3 + i);
      ::close(pipe);
    }
  }
  ::setenv("LISTEN_PID", std::to_string(to).c_str(), 1);
  ::setenv("LISTEN_FDS", std::to_string(count).c_str(), 1);
  if (names != nullptr) ::setenv("LISTEN_FDNAMES", names, 1);
}

/// A datagram socket with an abstract name, as a manager has one.
struct listening_manager {
  listening_manager() : fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un own{};
    own.sun_family = AF_UNIX;
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&own), sizeof own.sun_family) == 0);
    socklen_t size = sizeof own;
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
    name.assign(own.sun_path, size - offsetof(sockaddr_un, sun_path));
    name[0] = '@';
  }
  std::string next() {
    char text[256];
    const auto n = ::recv(fd.get(), text, sizeof text, MSG_DONTWAIT);
    return n < 0 ? "nothing" : std::string(text, static_cast<std::size_t>(n));
  }
  unique_fd fd;
  std::string name;
};

}  // namespace

TEST_CASE("descriptors_of_the_manager_come_by_name_once_and_close_on_exec") {
  const int said = in_a_process([] {
    give(3, "web:admin:web", ::getpid());
    auto manager = service_manager::of_environment();
    if (manager.descriptors().size() != 3) return 1;
    if (std::getenv("LISTEN_FDS") != nullptr || std::getenv("LISTEN_PID") != nullptr) return 2;
    if ((::fcntl(3, F_GETFD) & FD_CLOEXEC) == 0) return 3;
    if (manager.take("admin").get() < 0 || manager.take("admin")) return 4;
    auto first = manager.take("web");
    auto second = manager.take("web");
    if (first.get() != 3 || second.get() != 5 || manager.take("web")) return 5;
    return service_manager::of_environment().descriptors().empty() ? 0 : 6;
  });
  CHECK(said == 0);
}

TEST_CASE("descriptors_without_names_are_unknown_and_those_of_others_are_left") {
  CHECK(in_a_process([] {
          give(2, nullptr, ::getpid());
          auto manager = service_manager::of_environment();
          return manager.descriptors().size() == 2 && manager.descriptors()[1].name == "unknown"
                     ? 0
                     : 1;
        }) == 0);
  CHECK(in_a_process([] {
          give(1, "web", ::getppid());
          auto manager = service_manager::of_environment();
          return manager.descriptors().empty() && ::fcntl(3, F_GETFD) >= 0 ? 0 : 1;
        }) == 0);
  CHECK(in_a_process([] {  // who it is for is not said: not for whoever asks
          give(1, "web", ::getpid());
          ::unsetenv("LISTEN_PID");
          auto manager = service_manager::of_environment();
          return manager.descriptors().empty() && ::fcntl(3, F_GETFD) >= 0 ? 0 : 1;
        }) == 0);
  for (const char* count : {"", "-1", "x", "1025", "99999999999999999999"}) {
    CAPTURE(count);
    CHECK(in_a_process([&] {
            give(1, "web", ::getpid());
            ::setenv("LISTEN_FDS", count, 1);
            return service_manager::of_environment().descriptors().empty() ? 0 : 1;
          }) == 0);
  }
}

TEST_CASE("the_manager_is_told_in_one_datagram") {
  listening_manager there;
  CHECK(in_a_process([&] {
          ::setenv("NOTIFY_SOCKET", there.name.c_str(), 1);
          auto manager = service_manager::of_environment();
          if (std::getenv("NOTIFY_SOCKET") != nullptr) return 1;
          return manager.notify("READY=1\nSTATUS=serving") ? 2 : 0;
        }) == 0);
  CHECK(there.next() == "READY=1\nSTATUS=serving");
  CHECK_FALSE(service_manager().notify("READY=1"));  // nobody listens: nothing
  CHECK(in_a_process([] {
          ::setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
          const auto error = service_manager::of_environment().notify("READY=1");
          return error == std::errc::no_such_file_or_directory ? 0 : 1;
        }) == 0);
}

TEST_CASE("a_watchdog_is_the_process_s_that_it_names_or_whose_ever_it_is") {
  const auto with = [](const std::string& pid) {
    return in_a_process([&] {
      ::setenv("WATCHDOG_USEC", "1000", 1);
      if (pid.empty())
        ::unsetenv("WATCHDOG_PID");
      else
        ::setenv("WATCHDOG_PID", pid == "ours" ? std::to_string(::getpid()).c_str() : pid.c_str(),
                 1);
      return service_manager::of_environment().watchdog() == 1ms ? 1 : 0;
    });
  };
  CHECK(with("") == 1);
  CHECK(with("ours") == 1);
  CHECK(with(std::to_string(::getpid())) == 0);
  CHECK(with("x") == 0);
}

#if WEIR_WITH_SIM
TEST_CASE("a_watchdog_hears_of_the_shard_twice_in_its_time") {
  listening_manager there;
  ::setenv("NOTIFY_SOCKET", there.name.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "10000000", 1);
  auto manager = service_manager::of_environment();
  CHECK(manager.watchdog() == 10s);
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [&](weir::shard&) { return weir::keep_watchdog(manager); });
  net.run_for(11s);
  host.shard().request_cancel();
  CHECK_THROWS_AS(net.run(), weir::io_error);
  for (int i = 0; i < 3; ++i) CHECK(there.next() == "WATCHDOG=1");  // at 0, 5 and 10 s
  CHECK(there.next() == "nothing");
  service_manager none;
  CHECK(none.watchdog() == weir::no_limit);
}
#endif

namespace {

weir::task<> talk_nonsense(weir::shard& s, weir::unix_endpoint where) {
  auto listener = s.listen(where);
  auto peer = co_await listener.accept();
  co_await peer->write_all("what?\n\n");
}

/// Until a successor serves; the error where the wait ends otherwise.
weir::task<> wait_for_successor(weir::handover& here, bool& replaced) {
  co_await here.done();
  replaced = true;
}

}  // namespace

TEST_CASE("a_handover_is_bounded_and_refuses_names_twice") {
  back_ends::on_kernel_back_ends([](weir::shard& s) -> weir::task<> {
    weir::handover here(s, weir::unix_endpoint());
    auto listener = s.listen({"127.0.0.1", 0});
    for (std::size_t i = 0; i < weir::handover::most_listeners; ++i)
      here.add("name" + std::to_string(i), listener);
    CHECK_THROWS_AS(here.add("one-more", listener), weir::io_error);
    weir::handover other(s, weir::unix_endpoint());
    other.add("a", listener);
    CHECK_THROWS_AS(other.add("a", listener), weir::io_error);
    CHECK_THROWS_AS(other.add("", listener), weir::io_error);
    CHECK_THROWS_AS(other.add("a b", listener), weir::io_error);
    co_return;
  });
}

#if WEIR_WITH_SIM
TEST_CASE("a_handover_takes_no_listener_that_no_successor_could_have") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [&](weir::shard& s) -> weir::task<> {
    weir::handover here(s, weir::unix_endpoint("@name"));
    auto listener = s.listen({"10.0.0.1", 80});
    CHECK_FALSE(listener.successor_listens());
    CHECK(listener.leave_to_others());  // nothing changes
    std::error_code refused;
    try {
      here.add("web", listener);
    } catch (const weir::io_error& error) {
      refused = error.code();
    }
    CHECK(refused == std::errc::operation_not_supported);
    co_return;
  });
  net.run();
}
#endif

TEST_CASE("a_successor_that_ends_before_it_serves_is_forgotten") {
  back_ends::on_kernel_back_ends([](weir::shard& s) -> weir::task<> {
    const weir::unix_endpoint where("@weir-forgotten-" + std::to_string(::getpid()));
    auto nobody = co_await weir::take_over(where);
    CHECK_FALSE(nobody.has_value());
    auto listener = s.listen({"127.0.0.1", 0});
    bool replaced = false;
    weir::scope tasks(s);
    weir::handover here(s, where);
    here.add("web", listener);
    tasks.spawn(wait_for_successor(here, replaced));
    {
      auto first = co_await weir::take_over(where);
      REQUIRE(first.has_value());
      CHECK(first->take("web"));
      CHECK_FALSE(first->take("web"));
    }
    CHECK_FALSE(replaced);
    {
      auto second = co_await weir::take_over(where);
      REQUIRE(second.has_value());
      co_await second->serving();
    }
    co_await tasks.join();
    CHECK(replaced);
    auto again = s.listen(where);  // its name is free
  });
}

TEST_CASE("what_is_no_handover_is_refused") {
  back_ends::on_kernel_back_ends([](weir::shard& s) -> weir::task<> {
    const weir::unix_endpoint where("@weir-nonsense-" + std::to_string(::getpid()));
    weir::scope tasks(s);
    tasks.spawn(talk_nonsense(s, where));
    co_await weir::yield();
    std::error_code refused;
    try {
      (void)co_await weir::take_over(where);
    } catch (const weir::io_error& error) {
      refused = error.code();
    }
    CHECK(refused == std::errc::protocol_error);
    co_await tasks.join();
  });
}

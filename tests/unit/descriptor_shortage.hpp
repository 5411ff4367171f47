// A process that has no descriptor left, and acceptors that wait for one: what both transports of
// kernel sockets must do.
#pragma once

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "weir/weir.hpp"

namespace unit_test {

/// While it lives, the process may have no more descriptors than it has.
class no_more_descriptors {
 public:
  no_more_descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::dup(0);
    ::close(next);
    const rlimit tight{static_cast<rlim_t>(next), before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  }
  ~no_more_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  no_more_descriptors(const no_more_descriptors&) = delete;
  no_more_descriptors& operator=(const no_more_descriptors&) = delete;

 private:
  rlimit before_{};
};

enum class closed { stream, listener, datagrams };

inline weir::task<> accept_one(weir::tcp_listener& listener, weir::tcp_stream& into) {
  auto peer = co_await listener.accept();
  into = std::move(*peer);
}

template <class World>
weir::task<> close_while_an_acceptor_waits(World& w, weir::shard& s, closed what) {
  auto listener = s.listen({"127.0.0.1", 0});
  auto other = s.listen({"127.0.0.1", 0});
  auto datagrams = s.bind_udp({"127.0.0.1", 0});
  auto idle = co_await weir::connect(other.local_endpoint());
  auto waiting = co_await weir::connect(listener.local_endpoint());
  no_more_descriptors tight;
  weir::tcp_stream peer;
  weir::scope acceptors(s);
  acceptors.spawn(accept_one(listener, peer));
  auto& transport = w.transport();
  // Until it waits, and not just tries again.
  while (transport.counters().accept_exhausted == 0 || transport.next_deadline() <= s.now())
    co_await weir::sleep_for(std::chrono::microseconds(50));
  if (what == closed::stream)
    idle.close();
  else if (what == closed::listener)
    other.close();
  else
    datagrams.close();
  CHECK(transport.next_deadline() <= s.now());
  co_await acceptors.join();
  CHECK(peer);
}

template <class World>
void what_is_closed_wakes_an_acceptor_at_once() {
  for (const auto what : {closed::stream, closed::listener, closed::datagrams}) {
    CAPTURE(static_cast<int>(what));
    World w;
    w.run([&](weir::shard& s) { return close_while_an_acceptor_waits(w, s, what); });
  }
}

}  // namespace unit_test

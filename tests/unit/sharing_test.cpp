// Listeners that several shards of one program have on one address, on kernel sockets: shards on
// threads of their own, clients that are plain blocking sockets. The stack's rules are tested in
// one thread under a virtual clock (packet/shards_test.cpp).
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "weir/weir.hpp"

using namespace std::chrono_literals;

namespace {

using family = std::shared_ptr<weir::shard_family>;

/// Runs a task on a shard of another thread and waits for its end.
void run_on(weir::shard& where, std::function<weir::task<>(weir::shard&)> what) {
  std::promise<void> ended;
  where.post([&] {
    where.start(what(where), [&](std::exception_ptr failure) {
      failure ? ended.set_exception(failure) : ended.set_value();
    });
  });
  ended.get_future().get();
}

/// A call on a shard's own thread.
template <class F>
auto call_on(weir::shard& where, F&& f) {
  std::promise<decltype(f())> done;
  where.post([&] { done.set_value(f()); });
  return done.get_future().get();
}

/// Why one cannot listen, as the shard says it: caught on its own thread.
struct refusal {
  std::error_code code;
  std::string text;
};
refusal refusal_of(weir::shard& where, const weir::endpoint& at,
                   const weir::listen_options& options = {}) {
  return call_on(where, [&]() -> refusal {
    try {
      auto listener = where.listen(at, options);
      return {};
    } catch (const weir::io_error& error) {
      return {error.code(), error.what()};
    }
  });
}

struct two_shards {
  explicit two_shards(const weir::config& settings)
      : shared(std::make_shared<weir::shard_family>()),
        a(settings, 0, shared),
        b(settings, 1, shared) {}
  ~two_shards() {
    close(la, a);
    close(lb, b);
  }
  void close(weir::tcp_listener& listener, weir::shard_thread& where) {
    call_on(where.shard(), [&] {
      listener.close();
      return 0;
    });
  }
  void listen() {
    la = call_on(a.shard(), [&] { return a.shard().listen({"127.0.0.1", 0}); });
    at = call_on(a.shard(), [&] { return la.local_endpoint(); });
    lb = call_on(b.shard(), [&] { return b.shard().listen(at); });
  }

  family shared;
  weir::shard_thread a, b;
  weir::tcp_listener la, lb;
  weir::endpoint at;
};

weir::config settings_for(const std::string& backend, weir::sharing how) {
  weir::config settings;
  settings.backend = backend;
  settings.shards = 2;
  settings.listen.sharing = how;
  return settings;
}

bool usable(const std::string& backend) {
  auto probed = weir::probe_backend(backend, {});
  if (!probed.usable) std::printf("SKIPPED: %s: %s\n", backend.c_str(), probed.reason.c_str());
  return probed.usable;
}

/// Connects; the handshake is the kernel's, whoever accepts.
std::vector<int> connect_many(const weir::endpoint& to, int n) {
  std::vector<int> out;
  for (int i = 0; i < n; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(fd >= 0);
    timeval patience{10, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    out.push_back(fd);
  }
  return out;
}

/// How many were answered with a byte.
int answered(const std::vector<int>& clients) {
  int n = 0;
  for (int fd : clients) {
    char byte = 0;
    if (::recv(fd, &byte, 1, 0) == 1) ++n;
    ::close(fd);
  }
  return n;
}

/// Accepts and answers until `left` is used up.
weir::task<> serve(weir::tcp_listener& listener, std::atomic<int>& left, int& mine) {
  while (left.fetch_sub(1) > 0) {
    auto peer = co_await listener.accept().timeout(10s);
    if (!peer) co_return;
    ++mine;
    co_await peer->write_all("x");
  }
}

void on_kernel_backends(const std::function<void(const std::string&)>& body) {
  for (const std::string backend : {"uring", "asio"}) {
    CAPTURE(backend);
    if (usable(backend)) body(backend);
  }
}

}  // namespace

// covers: b19
TEST_CASE("a sharded kernel listener that closes leaves its accept queue to the other shard") {
  on_kernel_backends([](const std::string& backend) {
    two_shards w(settings_for(backend, weir::sharing::sharded));
    w.listen();
    auto clients = connect_many(w.at, 40);  // spread over both sockets by the kernel
    w.close(w.la, w.a);
    std::atomic<int> left = 40;
    int mine = 0;
    run_on(w.b.shard(), [&](weir::shard&) { return serve(w.lb, left, mine); });
    CHECK(mine == 40);
    CHECK(answered(clients) == 40);
  });
}

TEST_CASE("what a closing listener had accepted in advance is served by the other shard") {
  on_kernel_backends([](const std::string& backend) {
    two_shards w(settings_for(backend, weir::sharing::sharded));
    w.listen();
    // One is taken by a coroutine, which makes io_uring take more than was asked for.
    std::atomic<int> one = 1;
    int by_a = 0, by_b = 0;
    auto first = std::async(std::launch::async, [&] {
      run_on(w.a.shard(), [&](weir::shard&) { return serve(w.la, one, by_a); });
    });
    std::vector<int> clients;
    while (first.wait_for(0s) != std::future_status::ready)
      for (int fd : connect_many(w.at, 1)) clients.push_back(fd);
    for (int fd : connect_many(w.at, 30)) clients.push_back(fd);
    w.close(w.la, w.a);
    std::atomic<int> left = static_cast<int>(clients.size()) - 1;
    run_on(w.b.shard(), [&](weir::shard&) { return serve(w.lb, left, by_b); });
    CHECK(by_a == 1);
    CHECK(answered(clients) == static_cast<int>(clients.size()));
  });
}

TEST_CASE("a shared kernel listener is one queue for all shards, and outlives the first of them") {
  on_kernel_backends([](const std::string& backend) {
    two_shards w(settings_for(backend, weir::sharing::shared));
    w.listen();
    std::atomic<int> left = 60;
    int by_a = 0, by_b = 0;
    auto on_a = std::async(std::launch::async, [&] {
      run_on(w.a.shard(), [&](weir::shard&) { return serve(w.la, left, by_a); });
    });
    auto on_b = std::async(std::launch::async, [&] {
      run_on(w.b.shard(), [&](weir::shard&) { return serve(w.lb, left, by_b); });
    });
    auto clients = connect_many(w.at, 60);
    on_a.get();
    on_b.get();
    CHECK(answered(clients) == 60);
    CHECK(by_a + by_b == 60);

    clients = connect_many(w.at, 10);
    w.close(w.la, w.a);
    for (int fd : connect_many(w.at, 10)) clients.push_back(fd);
    left = 20;
    by_b = 0;
    run_on(w.b.shard(), [&](weir::shard&) { return serve(w.lb, left, by_b); });
    CHECK(by_b == 20);
    CHECK(answered(clients) == 20);
    // The last one closes it.
    w.close(w.lb, w.b);
    const auto again = call_on(w.b.shard(), [&] {
      return static_cast<bool>(w.b.shard().try_listen(w.at, {.sharing = weir::sharing::exclusive}));
    });
    CHECK(again);
  });
}

TEST_CASE("an exclusive kernel listener is one shard's, and the error says which key to set") {
  on_kernel_backends([](const std::string& backend) {
    two_shards w(settings_for(backend, weir::sharing::exclusive));
    w.la = call_on(w.a.shard(), [&] { return w.a.shard().listen({"127.0.0.1", 0}); });
    w.at = call_on(w.a.shard(), [&] { return w.la.local_endpoint(); });
    const auto said = refusal_of(w.b.shard(), w.at);
    CHECK(said.code == std::errc::address_in_use);
    CHECK(said.text.find("listen.sharing") != std::string::npos);
    // One who asks to share cannot join one who does not.
    const auto joined = call_on(w.b.shard(), [&] {
      return w.b.shard().try_listen(w.at, {.sharing = weir::sharing::sharded}).error();
    });
    CHECK(joined == std::errc::address_in_use);
  });
}

TEST_CASE("a deferred accept waits for data on kernel sockets as well") {
  on_kernel_backends([](const std::string& backend) {
    two_shards w(settings_for(backend, weir::sharing::exclusive));
    w.la = call_on(w.a.shard(),
                   [&] { return w.a.shard().listen({"127.0.0.1", 0}, {.defer_accept = 30s}); });
    w.at = call_on(w.a.shard(), [&] { return w.la.local_endpoint(); });
    auto silent = connect_many(w.at, 1);
    auto talks = connect_many(w.at, 1);
    REQUIRE(::send(talks[0], "?", 1, 0) == 1);
    std::atomic<int> left = 1;
    int mine = 0;
    run_on(w.a.shard(), [&](weir::shard&) { return serve(w.la, left, mine); });
    CHECK(answered(talks) == 1);  // the second one came first
    ::close(silent[0]);
  });
}

TEST_CASE("kernel sockets know no policy but hash and no owner key, and say so") {
  on_kernel_backends([](const std::string& backend) {
    two_shards w(settings_for(backend, weir::sharing::sharded));
    for (const auto policy :
         {weir::sharding_policy::round_robin, weir::sharding_policy::least_loaded}) {
      const auto said = refusal_of(w.a.shard(), {"127.0.0.1", 0}, {.policy = policy});
      CHECK(said.code == std::errc::operation_not_supported);
      CHECK(said.text.find("listen.policy") != std::string::npos);
    }
    const auto keyed = call_on(w.a.shard(), [&] {
      return w.a.shard().try_listen({"127.0.0.1", 0}, {.owner_key = 5}).error();
    });
    CHECK(keyed == std::errc::operation_not_supported);
    auto settings = settings_for(backend, weir::sharing::sharded);
    settings.listen.owner_key = 5;
    two_shards configured(settings);
    const auto said = refusal_of(configured.a.shard(), {"127.0.0.1", 0});
    CHECK(said.code == std::errc::operation_not_supported);
    CHECK(said.text.find("listen.owner_key") != std::string::npos);
  });
}

TEST_CASE("a deferred accept on kernel sockets may come from the configuration") {
  on_kernel_backends([](const std::string& backend) {
    auto settings = settings_for(backend, weir::sharing::exclusive);
    settings.listen.defer_accept_ms = 30'000;
    two_shards w(settings);
    w.la = call_on(w.a.shard(), [&] { return w.a.shard().listen({"127.0.0.1", 0}); });
    w.at = call_on(w.a.shard(), [&] { return w.la.local_endpoint(); });
    auto silent = connect_many(w.at, 1);
    auto talks = connect_many(w.at, 1);
    REQUIRE(::send(talks[0], "?", 1, 0) == 1);
    std::atomic<int> left = 1;
    int mine = 0;
    run_on(w.a.shard(), [&](weir::shard&) { return serve(w.la, left, mine); });
    CHECK(answered(talks) == 1);  // the second one came first
    ::close(silent[0]);
  });
}

TEST_CASE("an accept that gave up on one shard takes no connection from the other") {
  on_kernel_backends([](const std::string& backend) {
    two_shards w(settings_for(backend, weir::sharing::shared));
    w.listen();
    for (int round = 0; round < 20; ++round) {
      std::error_code ended;
      run_on(w.a.shard(), [&](weir::shard&) -> weir::task<> {
        auto peer = co_await w.la.accept().timeout(1ms).nothrow();
        ended = peer.error();
      });
      CHECK(ended == std::errc::timed_out);
      auto clients = connect_many(w.at, 1);
      std::atomic<int> left = 1;
      int mine = 0;
      run_on(w.b.shard(), [&](weir::shard&) { return serve(w.lb, left, mine); });
      CHECK(mine == 1);
      CHECK(answered(clients) == 1);
    }
  });
}

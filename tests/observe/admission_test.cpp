// Who is served when the admin endpoint has as many clients as it takes: in this process, with a
// target that answers only when the test lets it.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <latch>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/observe/admin_session.hpp"
#include "runtime/run/admin_socket.hpp"
#include "weir/runtime.hpp"

using namespace weir::detail;

namespace {

weir::config on_kernel_sockets() {
  weir::config out;
  out.backend = WEIR_WITH_ASIO ? "asio" : "uring";
  return out;
}

class raw_client {
 public:
  raw_client(std::uint16_t port, std::string_view request) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    // Who is refused may be refused before all is written.
    (void)::send(fd_, request.data(), request.size(), MSG_NOSIGNAL);
  }
  raw_client(const raw_client&) = delete;
  ~raw_client() { ::close(fd_); }
  /// What the endpoint sends until it ends the connection.
  std::string all() {
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = ::read(fd_, buffer, sizeof buffer)) > 0;)
      out.append(buffer, static_cast<std::size_t>(n));
    return out;
  }

 private:
  int fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

}  // namespace

TEST_CASE("a_client_is_told_503_while_all_others_are_being_answered") {
  std::latch go_on(1);  // outlives the thread that waits for it
  weir::shard_thread target(on_kernel_sockets());
  target.shard().post([&] { go_on.wait(); });  // every answer takes collector::patience
  auto settings = on_kernel_sockets();
  settings.observe.listen = "127.0.0.1:0";
  auto socket = open_admin_socket(settings);
  const auto port = socket->where.port;
  {
    admin_endpoint endpoint(std::move(*socket), {&target.shard()});
    // So many requests each that the clients are busy for far longer than the test takes.
    std::string many;
    for (int i = 0; i < 1000; ++i) many += "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    std::vector<std::unique_ptr<raw_client>> busy;
    for (std::size_t i = 0; i < admin_site::most_clients; ++i)
      busy.push_back(std::make_unique<raw_client>(port, many));
    // One whose requests have not been read yet still gives way, and its place is taken again; in
    // the end everybody is busy.
    std::string answer;
    for (int tries = 0; tries < 100; ++tries) {
      answer =
          raw_client(port, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").all();
      if (answer.starts_with("HTTP/1.1 503 ")) break;
      busy.push_back(std::make_unique<raw_client>(port, many));
    }
    CHECK(answer.starts_with("HTTP/1.1 503 "));
    CHECK(answer.find("\r\nConnection: close\r\n") != std::string::npos);
  }
  go_on.count_down();
}

TEST_CASE("metrics_are_written_once_for_each_answer_of_the_shards") {
  weir::shard_thread home(on_kernel_sockets());
  std::latch done(1);
  home.shard().post([&] {
    admin_site site(home.shard(), {&home.shard()});
    const auto of = std::make_shared<const process_snapshot>();
    site.facts.requests = 1;
    const auto first = site.metrics_of(of);
    CHECK(first->find("\nweir_observe_requests_total 1\n") != std::string::npos);
    site.facts.requests = 2;
    CHECK(site.metrics_of(of) == first);
    const auto next = site.metrics_of(std::make_shared<const process_snapshot>());
    CHECK(next->find("\nweir_observe_requests_total 2\n") != std::string::npos);
    done.count_down();
  });
  done.wait();
}

TEST_CASE("a_client_too_many_takes_the_place_of_who_has_waited_longest_and_came_first") {
  weir::shard_thread home(on_kernel_sockets());
  std::latch done(1);
  home.shard().post([&] {
    admin_site site(home.shard(), {&home.shard()});
    const auto at = [](int seconds) { return weir::instant() + std::chrono::seconds(seconds); };
    admin_waiter late{at(9), {}}, first{at(3), {}}, second{at(3), {}}, next{at(4), {}};
    CHECK(site.make_room());  // there is some
    site.clients = admin_site::most_clients;
    CHECK_FALSE(site.make_room());  // and nobody waits
    site.waiting = {&late, &first, &second, &next};
    for (auto* leaves : {&first, &second, &next, &late}) {
      site.clients = admin_site::most_clients;
      CHECK(site.make_room());
      CHECK(site.clients == admin_site::most_clients - 1);
      CHECK(leaves->leave.is_set());
      std::size_t asked = 0;
      for (const auto* one : {&late, &first, &second, &next}) asked += one->leave.is_set();
      CHECK(asked + site.waiting.size() == 4);
      CHECK(site.facts.displaced_clients == asked);
    }
    done.count_down();
  });
  done.wait();
}

// Nagle and delayed ACK meet: a server that answers in two small writes. With Nagle on, the second
// waits for the acknowledgment of the first, and the client's kernel delays that by 40 ms.
#include <string>

#include <fmt/format.h>

#include "labs/lab.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t port = 80;
constexpr int requests = 40;
constexpr double limit_s = 20;
constexpr double delayed_ack_s = 0.040;  // Linux's, at the least

/// Head and body, each in a write of its own, as careless servers do.
weir::task<> answer(weir::tcp_stream peer) {
  std::array<std::byte, 16> request;
  for (;;) {
    auto n = co_await peer.read_some(request);
    if (n == 0) co_return;
    co_await peer.write_all("head");
    co_await peer.write_all("body");
  }
}

weir::task<> serve(weir::tcp_listener& listener, weir::scope& sessions, bool nodelay) {
  while (auto peer = co_await listener.accept()) {
    weir::stream_options options;
    options.nodelay = nodelay;
    peer->set_options(options);
    sessions.spawn(answer(std::move(*peer)));
  }
}

/// Seconds per request, over one connection.
double time_requests(const weir::endpoint& to) {
  lab::client c;
  if (!c.connect(to, limit_s)) return -1;
  const double begin = lab::seconds_now();
  for (int i = 0; i < requests; ++i)
    if (!c.send("request") || c.receive(8) != "headbody") return -1;
  return (lab::seconds_now() - begin) / requests;
}

weir::task<> scene(weir::shard& shard, lab::stage& stage) {
  const auto patient = lab::server_address(shard.settings(), port);
  const auto prompt = lab::server_address(shard.settings(), port + 1);
  auto with_nagle = shard.listen(patient);
  auto without = shard.listen(prompt);
  weir::scope sessions(shard), accepting(shard);
  accepting.spawn(serve(with_nagle, sessions, false));
  accepting.spawn(serve(without, sessions, true));
  double slow = 0, fast = 0;
  co_await stage.watch([&] {
    slow = time_requests(patient);
    fast = time_requests(prompt);
  });
  fmt::print("\nper request: {:.2f} ms with Nagle (tcp.nodelay=false), {:.2f} ms without.\n\n",
             slow * 1e3, fast * 1e3);
  stage.claim(slow > 0 && fast > 0, "both served every request");
  stage.claim(slow > delayed_ack_s / 2,
              "with Nagle a request took as long as the client's kernel delays an ACK");
  stage.claim(slow > fast, "without it the second write left at once");
  stage.conclude(
      "Conclude: 40 ms per request, on an idle machine and whatever the network, is this meeting.\n"
      "Turn: tcp.nodelay=true (weir's default). Better still, write once: a gathered write_all() "
      "sends\n"
      "head and body as one segment, with either setting.");
  accepting.cancel();
  co_await accepting.join();
  co_await sessions.drain(1s);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::run(
      argc, argv,
      {"lab_nagle", "answers in two small writes, with Nagle's algorithm and without.", {}}, scene);
}

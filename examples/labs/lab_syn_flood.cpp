// A SYN flood: forged SYNs fill the SYN queue, from then on the answer to a SYN is a cookie that
// needs no memory, and clients that really are there connect as before.
#include <atomic>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "labs/forged.hpp"
#include "labs/lab.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t port = 80;
constexpr std::uint32_t syns = 40'000;
constexpr double syns_per_s = 20'000;
constexpr double client_limit_s = 10;

weir::task<> answer(weir::tcp_stream peer) { co_await peer.write_all("hello"); }

weir::task<> serve(weir::tcp_listener& listener, weir::scope& sessions) {
  while (auto peer = co_await listener.accept()) sessions.spawn(answer(std::move(*peer)));
}

struct outcome {
  int served = 0, asked = 0;
  double slowest_s = 0;
};

void flood(const std::string& device, const weir::endpoint& to) {
  weir::bench::packet_clients net(device);
  const double begin = lab::seconds_now();
  for (std::uint32_t i = 0; i < syns; ++i) {
    while (i > (lab::seconds_now() - begin) * syns_per_s) lab::sleep_s(0.001);
    lab::send_forged_syn(net, to, i);
  }
  net.flush();
}

outcome real_clients(const weir::endpoint& to, const std::atomic<bool>& flooding) {
  outcome out;
  while (flooding) {
    const double begin = lab::seconds_now();
    lab::client c;
    ++out.asked;
    if (c.connect(to, client_limit_s) && c.receive(5) == "hello") ++out.served;
    out.slowest_s = std::max(out.slowest_s, lab::seconds_now() - begin);
    lab::sleep_s(0.02);
  }
  return out;
}

weir::task<> scene(weir::shard& shard, lab::stage& stage) {
  const auto where = lab::server_address(shard.settings(), port);
  auto listener = shard.listen(where);
  weir::scope sessions(shard), accepting(shard);
  accepting.spawn(serve(listener, sessions));
  outcome clients;
  co_await stage.watch([&] {
    std::atomic<bool> flooding = true;
    std::jthread flooder([&] {
      lab::sleep_s(0.5);
      flood(shard.settings().stack.device, where);
      lab::sleep_s(0.5);
      flooding = false;
    });
    clients = real_clients(where, flooding);
  });
  const auto end = stage.look();
  const auto limit = shard.settings().listen.syn_backlog;
  fmt::print(
      "\n{} forged SYNs; meanwhile {} of {} real clients were served, the slowest in {:.3f} s.\n\n",
      syns, clients.served, clients.asked, clients.slowest_s);
  stage.claim(clients.served == clients.asked && clients.asked > 0, "every real client was served");
  stage.claim(stage.peak().listener.syn_queue.value_or(0) <= limit,
              fmt::format("never more than {} half-open connections were kept", limit));
  stage.claim(end.listener.cookies_sent.value_or(0) > 0, "beyond that, SYN cookies were sent");
  stage.conclude(
      "Conclude: a full SYN queue with cookies and few accepted connections is a flood; a full one "
      "with\n"
      "many accepted is a rush of clients. Either way nothing is refused: a cookie keeps MSS, and "
      "with\n"
      "timestamps the window scale and SACK too. A cookie's SYN-ACK is not retransmitted.\n"
      "Turn: listen.syn_backlog, if a rush of real clients should keep every option without "
      "cookies.");
  accepting.cancel();
  co_await accepting.join();
  co_await sessions.drain(1s);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::run(argc, argv,
                  {"lab_syn_flood",
                   "20,000 forged SYNs a second for two seconds, against a SYN queue of 256.",
                   {{"listen.syn_backlog", "256"}}},
                  scene);
}

// Clients that never acknowledge: a few hundred SYNs whose senders stay silent. Each keeps a place
// in the SYN queue and gets its SYN-ACK again, later and later, until it expires.
#include <string>

#include <fmt/format.h>

#include "labs/forged.hpp"
#include "labs/lab.hpp"

namespace {

constexpr std::uint16_t port = 80;
constexpr std::uint32_t silent = 200;
constexpr double watched_s = 4;

weir::task<> scene(weir::shard& shard, lab::stage& stage) {
  const auto where = lab::server_address(shard.settings(), port);
  auto listener = shard.listen(where);
  std::uint32_t answers = 0;
  co_await stage.watch([&] {
    weir::bench::packet_clients net(shard.settings().stack.device);
    for (std::uint32_t i = 0; i < silent; ++i) lab::send_forged_syn(net, where, i);
    net.flush();
    const double begin = lab::seconds_now();
    while (lab::seconds_now() - begin < watched_s)
      for (const auto& s : net.receive(20))
        if (s.has(weir::stack::wire::syn)) ++answers;
  });
  const auto end = stage.look();
  fmt::print("\n{} SYNs, and never an ACK; {} SYN-ACKs came back within {} s.\n\n", silent, answers,
             watched_s);
  stage.claim(stage.peak().listener.syn_queue == silent,
              fmt::format("all {} were half-open at once", silent));
  stage.claim(answers > silent, "the SYN-ACK was sent again, as it might have been lost");
  stage.claim(end.listener.accepted.value_or(0) == 0 && end.connections == 0,
              "none became a connection, and the application never heard of one");
  stage.conclude(
      "Conclude: a SYN queue that stays high while nothing is accepted is made of clients that do "
      "not\n"
      "answer: forged addresses, or a path that loses one direction. Each costs 120 bytes, not a "
      "connection.\n"
      "Retransmissions double their distance (1, 2, 4 s), and the entry then goes by itself.\n"
      "Turn: listen.syn_backlog bounds them; beyond it cookies take over (see lab_syn_flood).");
}

}  // namespace

int main(int argc, char** argv) {
  return lab::run(argc, argv,
                  {"lab_never_ack", "200 clients that send a SYN and never an ACK.", {}}, scene);
}

// A UDP echo server on all IPv6 addresses of a machine, whole: it takes what waits in one call, and
// each answer leaves from the address, and through the interface, that was asked. Port 7 needs
// root.
#include <array>
#include <vector>
#include <weir/weir.hpp>

weir::task<> serve(weir::shard& shard) {
  constexpr std::size_t at_once = 16, room = 9000;
  auto socket = shard.bind_udp({"::", 7}, {.allow_wildcard = true});
  std::vector<std::byte> memory(at_once * room);
  std::array<weir::incoming_datagram, at_once> asked;
  std::array<weir::outgoing_datagram, at_once> answers;
  for (std::size_t i = 0; i < at_once; ++i)
    asked[i].buffer = std::span(memory).subspan(i * room, room);
  while (auto n = co_await socket.receive_batch(asked)) {  // 0 once shutdown is requested
    for (std::size_t i = 0; i < n; ++i)
      answers[i] = {.bytes = asked[i].bytes(), .to = asked[i].from, .from = asked[i].to};
    for (std::size_t done = 0; done < n;) {
      auto sent = co_await socket.send_batch(std::span(answers).first(n).subspan(done)).nothrow();
      // Whoever cannot be answered is passed over.
      done += sent.n + (sent.ec ? 1 : 0);
    }
  }
}
int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }

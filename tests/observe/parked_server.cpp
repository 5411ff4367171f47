// A server whose sessions wait at a line that the test of weir_gdb.py knows, each with a number of
// its own among its locals. Anybody may look into its memory.
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include <fmt/format.h>
#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace parked {

weir::task<std::size_t> wait_for_more(weir::tcp_stream& peer, std::span<std::byte> into) {
  auto n = co_await peer.read_some(into);  // the inner line
  co_return n;
}

weir::task<> session(weir::tcp_stream peer, std::uint64_t number) {
  [[maybe_unused]] std::uint64_t remembered = number + 7'000'000'000;
  std::array<std::byte, 16> buffer;
  for (;;) {
    auto n = co_await wait_for_more(peer, buffer);  // the outer line
    if (n == 0) break;
    ++remembered;
  }
}

weir::task<> serve(weir::shard& shard, const std::vector<examples::offer>& offers,
                   examples::announcement& announce) {
  auto listener = examples::listen_for(shard, offers.at(0));
  announce.shard_listens(shard, {{offers[0].service, listener.local_endpoint()}});
  weir::scope sessions(shard, {.name = "sessions"});
  std::uint64_t count = 0;
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(session(std::move(*peer), count));
    if (++count % 1000 == 0) {
      fmt::print("sessions {}\n", count);
      std::fflush(stdout);
    }
  }
  co_await sessions.drain(weir::duration(0));
}

}  // namespace parked

int main(int argc, char** argv) {
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  fmt::print("pid {}\n", ::getpid());
  std::vector<examples::offer> offers;
  weir::config_parser parser("parked_server", "Holds what comes.");
  parser.repeated("--park", "ADDR:PORT", "where",
                  [&](std::string_view text) { return examples::add_offer(offers, "park", text); });
  auto settings = parser.parse_or_exit(argc, argv);
  examples::announcement announce("parked_server");
  return weir::run(settings,
                   [&](weir::shard& shard) { return parked::serve(shard, offers, announce); });
}

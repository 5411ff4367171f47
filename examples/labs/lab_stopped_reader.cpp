// A reader that stops: its window closes, the sender's queue fills up to its limit and not further,
// the sender probes, and what was written is there when the reader comes back.
#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "labs/lab.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::uint16_t port = 80;
constexpr std::size_t total = 8u << 20;
constexpr int reader_buffer = 16'384;
constexpr double pause_s = 2;

weir::task<> send_everything(weir::tcp_listener& listener) {
  auto peer = co_await listener.accept();
  const std::vector<std::byte> bytes(total, std::byte{'w'});
  co_await peer->write_all(bytes);
}

weir::task<> scene(weir::shard& shard, lab::stage& stage) {
  const auto where = lab::server_address(shard.settings(), port);
  auto listener = shard.listen(where);
  weir::scope sessions(shard);
  sessions.spawn(send_everything(listener));
  std::size_t received = 0;
  co_await stage.watch([&] {
    lab::client reader;
    reader.receive_buffer(reader_buffer);
    if (!reader.connect(where, 10)) return;
    lab::sleep_s(pause_s);  // it does not read
    while (received < total) {
      const auto more = reader.receive(std::min<std::size_t>(65536, total - received)).size();
      if (more == 0) return;
      received += more;
    }
  });
  const auto limit = shard.settings().tcp.send_buffer;
  fmt::print("\n{} bytes were written; the reader slept for {} s before it read.\n\n", total,
             pause_s);
  stage.claim(received == total, "every byte arrived in the end");
  stage.claim(stage.peak().unsent < total, "the server held a part of them, never all");
  if (limit != 0)
    stage.claim(stage.peak().unsent <= limit,
                fmt::format("no more than the send buffer's {} bytes", limit));
  stage.claim(stage.peak().zero_window_probes > 0,
              "the closed window was probed, so that its opening cannot be missed");
  stage.conclude(
      "Conclude: bytes that stay unsent while the peer's window is 0 are a slow reader, not a slow "
      "network.\n"
      "write_all() waits, and with it the session: back-pressure is in the types.\n"
      "Turn: tcp.send_buffer bounds what one such reader costs; .timeout() on the write ends its "
      "session, tcp.user_timeout_ms its connection.");
  listener.close();
  co_await sessions.drain(1s);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::run(argc, argv,
                  {"lab_stopped_reader",
                   "a client that does not read for two seconds, and a send buffer of 64 KiB.",
                   {{"tcp.send_buffer", "65536"}}},
                  scene);
}

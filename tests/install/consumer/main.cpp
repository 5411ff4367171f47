// A program outside weir's tree: it includes the installed headers, links the installed archives,
// and serves itself one connection on kernel sockets.
#include <array>
#include <cstdio>
#include <string_view>

#include <weir/weir.hpp>

namespace {

weir::task<> echo_once(weir::tcp_listener& listener) {
  auto peer = co_await listener.accept();
  std::array<std::byte, 16> buffer;
  auto n = co_await peer->read_some(buffer);
  co_await peer->write_all(std::span(buffer).first(n));
}

weir::task<> serve(weir::shard& shard) {
  auto listener = shard.listen({"127.0.0.1", 0});
  weir::scope sessions(shard);
  sessions.spawn(echo_once(listener));
  auto client = co_await shard.connect(listener.local_endpoint());
  co_await client.write_all("installed");
  std::array<char, 9> answer;
  co_await client.read_exactly(std::as_writable_bytes(std::span(answer)));
  std::printf("consumer: %.*s on %s\n", static_cast<int>(answer.size()), answer.data(),
              std::string(shard.backend()).c_str());
  co_await sessions.drain(std::chrono::seconds(5));
}

}  // namespace

int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }

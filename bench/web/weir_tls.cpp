// weir's TLS echo, on whichever back end the configuration names: what the raw loops stand beside.
#include "weir_tls.hpp"

#include <cstdio>

#include <weir/tls.hpp>
#include <weir/weir.hpp>

namespace weir::bench {
namespace {

using namespace std::chrono_literals;

task<> session(tcp_stream plain, tls::server_context& ours) {
  auto peer = co_await tls::accept(std::move(plain), ours);
  for (;;) {
    auto came = co_await peer.receive();
    if (!came) break;
    co_await peer.write_all(came.bytes());
  }
}

task<> serve(shard& shard) {
  tls::server_context ours(shard.settings().tls);
  auto listener = shard.listen({"127.0.0.1", 0}, {.backlog = 4096});
  std::printf("listening echo %s backend=weir\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  scope sessions(shard, {.max = 100'000});
  sessions.on_failure([](const std::exception_ptr&) {});  // a client's end without goodbye
  while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer), ours));
  co_await sessions.drain(1s);
}

}  // namespace

int serve_weir_tls(int argc, char** argv) {
  return weir::run(weir::config::from_args(argc, argv), serve);
}

}  // namespace weir::bench

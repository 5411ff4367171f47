// asio_loop: weir in a program that lives on an Asio io_context. On back end asio the shard's
// sockets are in that very io_context; on the others it watches weir's descriptor and deadline.
#include <array>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <cstdio>
#include <optional>
#include <weir/asio.hpp>
#include <weir/weir.hpp>

using namespace std::chrono_literals;

namespace {

weir::task<> session(weir::tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await peer.read_some(buffer).nothrow();
    if (got.n == 0) co_return;
    auto sent = co_await peer.write_all(std::span(buffer).first(got.n)).nothrow();
    if (sent.ec) co_return;
  }
}

weir::task<> serve(weir::shard& shard, weir::endpoint where) {
  auto listener = shard.listen(where);
  std::printf("listening echo %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  weir::scope sessions(shard, {.max = 10'000});
  while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer)));
  co_await sessions.drain(5s);
}

/// Turns of a shard that has a descriptor.
class watched_shard {
 public:
  watched_shard(asio::io_context& context, weir::embedded_shard& here)
      : here_(here), descriptor_(context, ::dup(here.descriptor())), timer_(context) {
    turn();
  }

 private:
  void turn() {
    here_.turn();
    if (here_.ended()) return descriptor_.close();  // and the io_context has nothing to do
    if (!std::exchange(watching_, true))
      descriptor_.async_wait(descriptor_.wait_read, [this](std::error_code gone) {
        watching_ = false;
        if (!gone) turn();
      });
    const auto due = std::chrono::nanoseconds(here_.next_deadline().ns());
    timer_.expires_at(std::chrono::steady_clock::time_point(due));
    if (!here_.next_deadline().is_never())
      timer_.async_wait([this](std::error_code cancelled) {
        if (!cancelled) turn();
      });
  }

  weir::embedded_shard& here_;
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer timer_;
  bool watching_ = false;
};

}  // namespace

int main(int argc, char** argv) try {
  std::string listen = "127.0.0.1:7011";
  weir::config_parser options("asio_loop", "an echo server in an Asio io_context");
  options.value("--echo", "ADDR:PORT", "where to listen", listen);
  const auto settings = options.parse_or_exit(argc, argv);
  const auto where = weir::endpoint::parse(listen);
  if (!where) return std::fputs("asio_loop: --echo: must be ADDR:PORT\n", stderr), 2;

  asio::io_context context(1);
  asio::signal_set signals(context, SIGINT, SIGTERM);
  const bool inside = settings.backend == "asio" || settings.backend == "auto";
  auto here = inside ? std::make_unique<weir::embedded_shard>(weir::on(context), settings)
                     : std::make_unique<weir::embedded_shard>(settings);
  signals.async_wait([&](std::error_code, int) { here->shard().request_stop(); });
  here->serve([&](weir::shard& shard) -> weir::task<> {
    co_await serve(shard, *where);
    signals.cancel();  // or the io_context would go on waiting for one
  });
  std::optional<watched_shard> watched;
  if (!inside) watched.emplace(context, *here);
  context.run();
  return here->failed() ? 1 : 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "asio_loop: %s\n", error.what());
  return 2;
}

// epoll_loop: a program whose event loop was there first. Its epoll watches what it always has
// (here the signals), and one descriptor more: weir's, behind which is an echo server.
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
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

void watch(int loop, int descriptor) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
  ::epoll_ctl(loop, EPOLL_CTL_ADD, descriptor, &event);
}

/// The program's own affair: once is a stop, twice an end.
void on_signal(int signals, weir::shard& shard) {
  signalfd_siginfo info;
  while (::read(signals, &info, sizeof info) == sizeof info)
    shard.stop_requested() ? shard.request_cancel() : shard.request_stop();
}

int loop_until_ended(weir::embedded_shard& here) {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &ending, nullptr);
  const weir::unique_fd signals(::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  const weir::unique_fd loop(::epoll_create1(EPOLL_CLOEXEC));
  watch(loop.get(), signals.get());
  watch(loop.get(), here.descriptor());
  while (!here.ended()) {
    std::array<epoll_event, 8> events;
    const int n = ::epoll_wait(loop.get(), events.data(), events.size(), here.poll_timeout());
    if (n < 0 && errno != EINTR) return 1;
    for (int i = 0; i < n; ++i)
      if (events[static_cast<std::size_t>(i)].data.fd == signals.get())
        on_signal(signals.get(), here.shard());
    here.turn();
  }
  return here.failed() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string listen = "127.0.0.1:7011";
  weir::config_parser options("epoll_loop", "an echo server in a loop that is not weir's");
  options.value("--echo", "ADDR:PORT", "where to listen", listen);
  const auto settings = options.parse_or_exit(argc, argv);
  const auto where = weir::endpoint::parse(listen);
  if (!where) return std::fputs("epoll_loop: --echo: must be ADDR:PORT\n", stderr), 2;

  weir::embedded_shard here(settings);
  here.serve([&](weir::shard& shard) { return serve(shard, *where); });
  return loop_until_ended(here);
} catch (const std::exception& error) {
  std::fprintf(stderr, "epoll_loop: %s\n", error.what());
  return 2;
}

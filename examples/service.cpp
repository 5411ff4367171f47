// A service as a service manager runs it: its sockets may be handed to it ("tcp" and "unix" by
// name), it says when it is ready, reloading and stopping, keeps a watchdog fed, and reads its
// greeting again on SIGHUP. Each line that comes is sent back behind the greeting. Started again
// with the same --handover name, it takes the sockets over from the one that runs, which then ends;
// on weir's own stack with the same --stack.handover, too, by which the device is handed over.
#include <cstdio>
#include <string>

#include <signal.h>
#include <time.h>

#include <weir/weir.hpp>

using namespace std::chrono_literals;

namespace {

constexpr auto pause_at_the_end = 5s;  // a client that says nothing for so long may go

struct settings {
  std::string tcp = "127.0.0.1:7011";
  std::string unix_name = "@weir-service";
  std::string greeting_file;
  std::string handover;
};

struct service {
  weir::service_manager& manager;
  const settings& wanted;
  std::string greeting = "hello";
};

/// The old greeting stays where there is no new one.
weir::task<> read_greeting(service& here) {
  if (here.wanted.greeting_file.empty()) co_return;
  std::array<std::byte, 256> buffer;
  try {
    auto file = co_await weir::open_file(here.wanted.greeting_file);
    auto n = co_await file.read_at(buffer, 0);
    const std::string text(weir::as_text(std::span(buffer).first(n)));
    here.greeting = text.substr(0, text.find('\n'));
  } catch (const weir::io_error& error) {
    std::fprintf(stderr, "service: %s: %s\n", here.wanted.greeting_file.c_str(), error.what());
  }
}

std::string reloading() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto us = std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(us);
}

weir::task<> reload_on_hangup(weir::shard& shard, service& here) {
  weir::signal_watch hangups(shard, {SIGHUP});
  for (;;) {
    const auto came = co_await hangups.next().until_stop().nothrow();
    if (!came) co_return;
    (void)here.manager.notify(reloading());
    co_await read_greeting(here);
    (void)here.manager.notify("READY=1");
    std::printf("greeting %s\n", here.greeting.c_str());
    std::fflush(stdout);
  }
}

weir::task<> session(weir::any_stream peer, const service& here) {
  std::array<std::byte, 1024> storage;
  weir::buffered_reader lines(peer, storage);
  for (;;) {
    auto line = co_await lines.read_until("\n").timeout(60s).until_stop().nothrow();
    // A stop may come before the question of who has just connected, or in the middle of a
    // conversation: its next line may be under way.
    if (!line && line.error() == std::errc::operation_canceled)
      line = co_await lines.read_until("\n").timeout(pause_at_the_end).nothrow();
    if (!line) co_return;
    std::string answer = here.greeting + " ";
    answer += weir::as_text(*line);
    co_await peer.write_all(answer).timeout(60s);
  }
}

template <class Listener>
weir::task<> accept_loop(Listener& listener, weir::scope& sessions, const service& here) {
  while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer), here));
}

/// Until another one of us takes over.
weir::task<> give_way(weir::shard& shard, const service& here, weir::tcp_listener& tcp,
                      weir::unix_listener& local) {
  if (here.wanted.handover.empty()) co_return;
  weir::handover next(shard, weir::unix_endpoint(here.wanted.handover));
  next.add("tcp", tcp);
  next.add("unix", local);
  std::printf("can be replaced\n");
  std::fflush(stdout);
  co_await next.done();
  shard.request_stop();
}

weir::task<> serve(weir::shard& shard, service here) {
  if (shard.index() != 0) co_return;  // the sockets are one of each
  std::optional<weir::inheritance> before;
  if (!here.wanted.handover.empty())
    before = co_await weir::take_over(weir::unix_endpoint(here.wanted.handover));
  auto tcp_fd = before ? before->take("tcp") : here.manager.take("tcp");
  auto unix_fd = before ? before->take("unix") : here.manager.take("unix");
  auto tcp = tcp_fd ? weir::adopt_listener(shard, std::move(tcp_fd))
                    : shard.listen(weir::endpoint::parse(here.wanted.tcp).value());
  auto local = unix_fd ? weir::adopt_unix_listener(shard, std::move(unix_fd))
                       : shard.listen(weir::unix_endpoint(here.wanted.unix_name));
  co_await read_greeting(here);

  weir::scope sessions(shard, {.max = 10'000});
  weir::scope others(shard);
  others.spawn(reload_on_hangup(shard, here));
  others.spawn(accept_loop(tcp, sessions, here));
  others.spawn(accept_loop(local, sessions, here));
  weir::scope watchdog(shard);
  watchdog.spawn(weir::keep_watchdog(here.manager));
  std::printf("ready %s %s\n", tcp.local_endpoint().to_string().c_str(),
              local.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  (void)here.manager.notify("READY=1");
  if (before) co_await before->serving();  // the one that ran before accepts no more
  others.spawn(give_way(shard, here, tcp, local));
  co_await weir::stop_requested();
  (void)here.manager.notify("STOPPING=1");
  co_await others.join();
  co_await sessions.drain(10s);
  watchdog.cancel();
  co_await watchdog.join();
}

}  // namespace

int main(int argc, char** argv) {
  auto manager = weir::service_manager::of_environment();
  settings wanted;
  weir::config_parser options("service", "sends each line back behind a greeting");
  options.value("--tcp-listen", "ADDR:PORT", "where to listen, unless a socket is given",
                wanted.tcp);
  options.value("--unix-listen", "NAME", "a path, or @NAME, unless a socket is given",
                wanted.unix_name);
  options.value("--greeting", "FILE", "its first line, read again on SIGHUP", wanted.greeting_file);
  options.value("--handover", "NAME", "a path, or @NAME, by which it is replaced", wanted.handover);
  const auto parsed = options.parse_or_exit(argc, argv);
  if (!weir::endpoint::parse(wanted.tcp))
    return std::fputs("service: --tcp-listen: must be ADDR:PORT\n", stderr), 2;
  return weir::run(parsed,
                   [&](weir::shard& shard) { return serve(shard, service{manager, wanted}); });
}

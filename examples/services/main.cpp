// services: any number of echo, discard and chargen servers in one program, on whichever back end
// the configuration names. It is what the demo, the benchmarks and the tests talk to.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <weir/weir.hpp>

#include "common/listening.hpp"
#include "common/options.hpp"
#include "services/services.hpp"

namespace {

using examples::offer;

struct settings {
  std::vector<offer> offers;
  std::vector<offer> udp_offers;
  services::limits limit;
  std::uint64_t max_sessions = 100'000;
  weir::duration drain = std::chrono::seconds(5);
};

weir::task<> session_of(const std::string& service, weir::any_stream peer, services::limits limit) {
  if (service == "echo") return services::echo(std::move(peer), limit);
  if (service == "discard") return services::discard(std::move(peer), limit);
  return services::chargen(std::move(peer), limit);
}

template <class Listener>
weir::task<> accept_loop(Listener& listener, const std::string& service, services::limits limit,
                         weir::scope& sessions) {
  while (auto peer = co_await listener.accept())
    sessions.spawn(session_of(service, std::move(*peer), limit));
  listener.close();
}

weir::task<> serve(weir::shard& shard, const settings& wanted, examples::announcement& announce) {
  std::vector<weir::tcp_listener> listeners;
  std::vector<weir::unix_listener> local_listeners;
  std::vector<weir::udp_socket> sockets;
  std::vector<offer> tcp_offers, local_offers;
  std::vector<offer> offers;  // with the ports that they have got
  for (auto& one : wanted.offers) {
    if (one.on_unix()) {
      local_listeners.push_back(examples::listen_on_unix(shard, one));
      local_offers.push_back(one);
      offers.push_back(one);
      continue;
    }
    listeners.push_back(examples::listen_for(shard, one));
    tcp_offers.push_back({one.service, listeners.back().local_endpoint()});
    offers.push_back(tcp_offers.back());
  }
  for (auto& one : wanted.udp_offers) {
    sockets.push_back(examples::bind_for(shard, one));
    offers.push_back({one.service, sockets.back().local_endpoint()});
  }
  announce.shard_listens(shard, offers);

  weir::scope sessions(shard, {.max = wanted.max_sessions});
  weir::scope acceptors(shard);
  for (std::size_t i = 0; i < listeners.size(); ++i)
    acceptors.spawn(accept_loop(listeners[i], tcp_offers[i].service, wanted.limit, sessions));
  for (std::size_t i = 0; i < local_listeners.size(); ++i)
    acceptors.spawn(
        accept_loop(local_listeners[i], local_offers[i].service, wanted.limit, sessions));
  for (auto& socket : sockets) acceptors.spawn(services::udp_echo(socket));
  co_await acceptors.join();
  auto ended = co_await sessions.drain(wanted.drain);
  if (!ended.in_time) fmt::print(stderr, "services: {} sessions were cut off\n", ended.cancelled);
  if (sessions.refused() != 0)
    fmt::print(stderr, "services: {} sessions were refused (see --max-sessions)\n",
               sessions.refused());
}

}  // namespace

int main(int argc, char** argv) {
  settings wanted;
  weir::config_parser parser("services",
                             "Echo (RFC 862), discard (RFC 863) and character generator (RFC 864) "
                             "over TCP; echo over UDP.");
  for (auto [service, what] :
       {std::pair("echo", "send back what comes"), std::pair("discard", "read and say nothing"),
        std::pair("chargen", "send characters without end")})
    parser.repeated(fmt::format("--{}", service), "ADDR:PORT",
                    fmt::format("{}; unix:/PATH too; any number of times", what),
                    [&wanted, name = std::string(service)](std::string_view text) {
                      return examples::add_stream_offer(wanted.offers, name, text);
                    });
  parser.repeated("--udp-echo", "ADDR:PORT", "send back each datagram; any number of times",
                  [&wanted](std::string_view text) {
                    return examples::add_offer(wanted.udp_offers, "udp-echo", text);
                  });
  examples::number_option(parser, "--max-sessions", "N",
                          "sessions per shard; one more is closed at once", 1, 10'000'000,
                          wanted.max_sessions);
  examples::seconds_option(parser, "--idle-timeout", "end a session without progress",
                           wanted.limit.idle);
  examples::seconds_option(parser, "--drain", "wait for sessions after SIGTERM", wanted.drain);
  auto settings = parser.parse_or_exit(argc, argv);
  if (wanted.offers.empty() && wanted.udp_offers.empty()) {
    fmt::print(stderr,
               "services: nothing to serve: give --echo, --discard, --chargen or --udp-echo\n\n{}",
               parser.help());
    return 2;
  }
  examples::announcement announce("services");
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, wanted, announce); });
}

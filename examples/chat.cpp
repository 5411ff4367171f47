// chat: a page and a WebSocket, behind TLS too; what one says all hear, on whichever shard they
// are. Whoever reads too slowly is let go: each member has a queue of his own with a bound, and a
// full one is nobody else's trouble.
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <weir/broadcast.hpp>
#include <weir/http.hpp>
#include <weir/tls.hpp>
#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

namespace http = weir::http;

constexpr std::size_t most_waiting = 256;  // messages for one member

constexpr const char* page = R"(<!doctype html>
<title>chat</title>
<ul id=said></ul><form id=form><input id=text autofocus size=60 maxlength=1000></form>
<script>
const peer = new WebSocket((location.protocol == "https:" ? "wss://" : "ws://") + location.host + "/chat");
const add = text => said.appendChild(document.createElement("li")).textContent = text;
peer.onmessage = event => add(event.data);
peer.onopen = () => {  // chat#hello says hello
  add("the page came by " + performance.getEntriesByType("navigation")[0].nextHopProtocol);
  if (location.hash) peer.send(decodeURIComponent(location.hash.slice(1)));
};
peer.onclose = event => add("closed: " + event.code + " " + event.reason);
form.onsubmit = event => { event.preventDefault(); peer.send(text.value); text.value = ""; };
</script>
)";

using room = weir::broadcast<std::shared_ptr<const std::string>>;  // of all shards

weir::task<> listen_to(http::websocket& peer, room& all) {
  for (;;) {
    auto said = co_await peer.receive();
    if (!said) break;
    if (said->is_text) co_await all.send(std::make_shared<const std::string>(said->data));
  }
}
weir::task<> tell(http::websocket& peer, weir::subscription<room::value_type>& heard) {
  for (;;) {
    auto next = co_await heard.receive();
    co_await peer.send(*next);
  }
}
weir::task<> fall_behind(weir::subscription<room::value_type>& heard) { co_await heard.loss(); }

weir::task<> session(http::websocket& peer, room& all) {
  auto& here = co_await weir::this_shard();
  weir::subscription<room::value_type> heard(all, here, most_waiting);
  (void)co_await weir::when_any(listen_to(peer, all), tell(peer, heard), fall_behind(heard));
  if (heard.missed() != 0) co_await peer.close(1008, "too slow");
}

weir::task<http::response> front(http::request&) { co_return http::html(page); }

weir::task<> serve(weir::shard& shard, const std::vector<examples::offer>& wanted,
                   examples::announcement& announce, room& all) {
  http::router site;
  site.get("/", front).get("/chat", [&](http::request& asked) -> weir::task<http::response> {
    co_return http::websocket_upgrade(asked,
                                      [&all](http::websocket& peer) { return session(peer, all); });
  });
  std::vector<weir::tcp_listener> plain, secured;
  auto offers = wanted;
  for (auto& one : offers) {
    auto& those = one.service == "https" ? secured : plain;
    those.push_back(examples::listen_for(shard, one));
    one.where = those.back().local_endpoint();
  }
#if CHAT_TLS
  std::optional<weir::tls::server_context> ours;
  if (!secured.empty()) ours.emplace(shard.settings().tls);
#endif
  announce.shard_listens(shard, offers);
  http::server server(shard, site);
#if CHAT_TLS
  if (ours) {
    co_await weir::when_all(server.run(plain), server.run(secured, *ours));
    co_return;
  }
#endif
  co_await server.run(plain);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<examples::offer> offers;
  weir::config_parser parser("chat", "What one says all hear, through WebSocket.");
  parser.repeated("--http.listen,--http", "ADDR:PORT", "serve here; any number of times",
                  [&](std::string_view text) { return examples::add_offer(offers, "http", text); });
#if CHAT_TLS
  parser.repeated(
      "--https.listen,--https", "ADDR:PORT",
      "the same behind TLS: see --tls.certificate and --tls.key",
      [&](std::string_view text) { return examples::add_offer(offers, "https", text); });
#endif
  const auto settings = parser.parse_or_exit(argc, argv);
  if (offers.empty()) {
    fmt::print(stderr, "chat: nothing to serve: give --http ADDR:PORT\n\n{}", parser.help());
    return 2;
  }
  examples::announcement announce("chat");
  room all;
  return weir::run(settings, [&](weir::shard& s) { return serve(s, offers, announce, all); });
}

// chat: a page and a WebSocket; what one says all hear. Whoever reads too slowly is let go: each
// member has a queue of its own with a bound, and a full one is nobody else's trouble.
#include <deque>
#include <memory>
#include <set>
#include <string>

#include <fmt/format.h>
#include <weir/http.hpp>
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
peer.onclose = event => add("closed: " + event.code + " " + event.reason);
form.onsubmit = event => { event.preventDefault(); peer.send(text.value); text.value = ""; };
</script>
)";

struct member {
  explicit member(http::websocket& p) : peer(p) {}
  http::websocket& peer;
  weir::channel<std::shared_ptr<const std::string>> queue{most_waiting};
  weir::event too_slow;
};

/// The members on one shard.
class room {
 public:
  void say(const std::string& text) {
    const auto shared = std::make_shared<const std::string>(text);
    for (auto* one : members_) {
      auto copy = shared;
      if (!one->queue.try_send(copy)) one->too_slow.set();
    }
  }
  void enter(member& one) { members_.insert(&one); }
  void leave(member& one) { members_.erase(&one); }

 private:
  std::set<member*> members_;
};

weir::task<> listen_to(room& here, member& me) {
  for (;;) {
    auto said = co_await me.peer.receive();
    if (!said) break;
    if (said->is_text) here.say(said->data);
  }
}
weir::task<> tell(member& me) {
  for (;;) {
    auto next = co_await me.queue.receive();
    if (!next) break;
    co_await me.peer.send(**next);
  }
}
weir::task<> wait_for(weir::event& e) { co_await e.wait(); }

weir::task<> session(room& here, http::websocket& peer) {
  member me(peer);
  here.enter(me);
  std::exception_ptr failure;
  try {
    (void)co_await weir::when_any(listen_to(here, me), tell(me), wait_for(me.too_slow));
  } catch (const weir::io_error&) {
    failure = std::current_exception();
  }
  here.leave(me);
  if (failure) std::rethrow_exception(failure);
  if (me.too_slow.is_set()) co_await peer.close(1008, "too slow");
}

weir::task<http::response> front(http::request&) { co_return http::html(page); }

weir::task<> serve(weir::shard& shard, const std::vector<examples::offer>& wanted,
                   examples::announcement& announce) {
  room here;
  http::router site;
  site.get("/", front).get("/chat", [&](http::request& asked) -> weir::task<http::response> {
    co_return http::websocket_upgrade(
        asked, [&here](http::websocket& peer) { return session(here, peer); });
  });
  std::vector<weir::tcp_listener> listeners;
  auto offers = wanted;
  for (auto& one : offers) {
    listeners.push_back(examples::listen_for(shard, one));
    one.where = listeners.back().local_endpoint();
  }
  announce.shard_listens(shard, offers);
  http::server server(shard, site);
  co_await server.run(listeners);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<examples::offer> offers;
  weir::config_parser parser("chat", "What one says all hear, through WebSocket.");
  parser.repeated("--http.listen,--http", "ADDR:PORT", "serve here; any number of times",
                  [&](std::string_view text) { return examples::add_offer(offers, "http", text); });
  const auto settings = parser.parse_or_exit(argc, argv);
  if (offers.empty()) {
    fmt::print(stderr, "chat: nothing to serve: give --http ADDR:PORT\n\n{}", parser.help());
    return 2;
  }
  examples::announcement announce("chat");
  return weir::run(settings, [&](weir::shard& s) { return serve(s, offers, announce); });
}

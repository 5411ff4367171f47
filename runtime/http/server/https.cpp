// The server behind TLS: a handshake, and then connections like others (weir/http/server.hpp).
#include <utility>

#include "http/server/server_state.hpp"
#include "http/server/session.hpp"
#include "weir/tls.hpp"

namespace weir::http {

task<> server::session(any_stream peer, tls::server_context& with) {
  auto made = co_await tls::accept(std::move(peer), with).until_stop().nothrow();
  if (!made) {
    ++state_->counters.failed_handshakes;
    co_return;
  }
  any_stream secured = std::move(*made);
  http::session conversation(secured, *state_);
  co_await conversation.run();
  std::error_code ignored;
  if (secured) secured.shutdown_send(ignored);  // or the client would miss its goodbye
}

task<> server::run(std::span<tcp_listener> listeners, tls::server_context& with) {
  co_await state_->run(listeners,
                       [this, &with](any_stream peer) { return session(std::move(peer), with); });
}

}  // namespace weir::http

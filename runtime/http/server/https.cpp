// The server behind TLS: a handshake, and then connections like others (weir/http/server.hpp).
#include <utility>

#include "runtime/http/server/server_state.hpp"
#include "weir/tls.hpp"

namespace weir::http {

task<> server::session(any_stream peer, tls::server_context& with) {
  constexpr tls::accept_options how{.alpn = speaks_h2 ? "h2,http/1.1" : "http/1.1"};
  auto made = co_await tls::accept(std::move(peer), with, how).until_stop().nothrow();
  if (!made) {
    ++state_->counters.failed_handshakes;
    co_return;
  }
  const bool h2 = made->alpn() == "h2";
  any_stream secured = std::move(*made);
  co_await state_->converse(secured, h2);
  std::error_code ignored;
  if (secured) secured.shutdown_send(ignored);  // or the client would miss its goodbye
}

task<> server::run(std::span<tcp_listener> listeners, tls::server_context& with) {
  co_await state_->run(listeners,
                       [this, &with](any_stream peer) { return session(std::move(peer), with); });
}

}  // namespace weir::http

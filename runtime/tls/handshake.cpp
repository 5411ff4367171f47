// The operations on secured streams, and what a stream tells of its session.
#include <memory>
#include <utility>

#include "runtime/tls/session.hpp"
#include "weir/tls.hpp"

namespace weir::detail {

tls_handshake::tls_handshake(const char* operation_name)
    : operation(&hook<&tls_handshake::request_cancel>), name(operation_name) {}

tls_handshake::~tls_handshake() {
  if (session == nullptr) return;
  any_stream failed(session->socket());
  if (!begun_ || asked_to_end() || displaced) failed.abort();
}

void tls_handshake::begin() {
  begun_ = true;
  if (refused) return complete(std::make_error_code(std::errc::invalid_argument));
  session->handshake(*this);
}

void tls_handshake::request_cancel(operation& op) noexcept {
  auto& self = static_cast<tls_handshake&>(op);
  self.session->forget_handshake();
  self.complete(canceled_error());
}

result<tls::tls_stream> tls_handshake::outcome() {
  const auto error = final_error();
  if (!error) return tls::tls_stream(*std::exchange(session, nullptr));
  auto& shared = session->state();
  if (timed_out() && words.empty()) words = "the peer did not finish the handshake in time";
  ++shared.counters.failed;
  shared.last_failure = words.empty() ? error.message() : words;
  return error;
}

tls::tls_stream tls_handshake_awaiter::await_resume() {
  auto made = outcome();
  if (!made) throw tls::tls_error(made.error(), handshake_->name, std::move(handshake_->words));
  return std::move(*made);
}

request<tls_handshake_awaiter> secure(any_stream plain, tls_state& state,
                                      const tls::connect_options& how, const char* name) {
  auto handshake = std::make_unique<tls_handshake>(name);
  auto& session = tls_session::make(std::move(plain), state);
  handshake->session = &session;
  handshake->set_timeout(state.options.handshake_time);
  handshake->refused =
      !(state.server ? session.offer(how.alpn, *handshake) : session.prepare(how, *handshake));
  return request<tls_handshake_awaiter>({std::move(handshake)});
}

void tls_close_awaiter::begin() noexcept { session_->close_notify(*this); }

void tls_close_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<tls_close_awaiter&>(op);
  self.session_->forget_closer();
  self.complete(canceled_error());
}

}  // namespace weir::detail

namespace weir::tls {

tls_stream::tls_stream(detail::tls_session& session) : any_stream(session.socket()) {}

detail::tls_session& tls_stream::session() const {
  return static_cast<detail::tls_session&>(*socket().at);
}

detail::request<detail::tls_close_awaiter> tls_stream::close_notify() {
  return detail::request<detail::tls_close_awaiter>({&session()});
}

std::string_view tls_stream::alpn() const {
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(&session().ssl(), &chosen, &size);
  return {reinterpret_cast<const char*>(chosen), size};
}

std::string_view tls_stream::protocol() const { return SSL_get_version(&session().ssl()); }

bool tls_stream::resumed() const { return SSL_session_reused(&session().ssl()) == 1; }

std::optional<certificate> tls_stream::peer_certificate() const {
  auto* found = SSL_get0_peer_certificate(&session().ssl());
  if (found == nullptr) return std::nullopt;
  return detail::describe(*found);
}

const std::string& tls_stream::details() const { return session().words(); }

}  // namespace weir::tls

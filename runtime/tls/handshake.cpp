// The operations on secured streams, and what a stream tells of its session.
#include <chrono>
#include <new>

#include "tls/session.hpp"
#include "weir/tls.hpp"

namespace weir::detail {

tls_handshake_awaiter::tls_handshake_awaiter(arguments&& of, duration limit)
    : tls_handshake(&hook<&tls_handshake_awaiter::request_cancel>), of_(std::move(of)) {
  set_timeout(limit == no_limit ? of_.state->options.handshake_time : limit);
}

tls_handshake_awaiter::~tls_handshake_awaiter() {
  if (session == nullptr) {  // cancelled before it began
    if (of_.inner) of_.inner.abort();
    return;
  }
  any_stream failed(session->socket());
  if (asked_to_end() || displaced) failed.abort();
}

void tls_handshake_awaiter::begin() noexcept {
  try {
    session = &tls_session::make(std::move(of_.inner), *of_.state);
    const auto error = of_.state->server ? session->offer(of_.options.alpn, words)
                                         : session->prepare(of_.options, words);
    if (error) return complete(error);
    session->handshake(*this);
  } catch (const std::bad_alloc&) {
    complete(std::make_error_code(std::errc::not_enough_memory));
  }
}

void tls_handshake_awaiter::request_cancel(operation& op) noexcept {
  auto& self = static_cast<tls_handshake_awaiter&>(op);
  self.session->forget_handshake();
  self.complete(canceled_error());
}

result<tls::tls_stream> tls_handshake_awaiter::outcome() {
  const auto error = final_error();
  if (!error) return tls::tls_stream(*std::exchange(session, nullptr));
  auto& shared = *of_.state;
  if (timed_out() && words.empty()) words = "the peer did not finish the handshake in time";
  ++shared.counters.failed;
  shared.last_failure = words.empty() ? error.message() : words;
  return error;
}

tls::tls_stream tls_handshake_awaiter::await_resume() {
  auto made = outcome();
  if (!made) throw tls::tls_error(made.error(), of_.name, std::move(words));
  return std::move(*made);
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

// What the cases of HTTP share: a server that serves the other side until that has said that it is
// done, and a case as two, with the judged back end as the server and as the client.
#pragma once

#include <functional>

#include "conformance/harness.hpp"
#include "weir/http.hpp"

namespace conformance {

/// Serves one connection after another until the client has said that it is done.
inline task<> serve_until_done(side& me, std::function<task<>(weir::any_stream)> session) {
  auto listener = me.listen();
  weir::scope sessions(me.here);
  sessions.on_failure([](const std::exception_ptr&) {});
  const auto accept = [&]() -> task<> {
    while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer)));
  };
  const auto done = [&]() -> task<> { co_await me.wait(1); };
  (void)co_await weir::when_any(accept(), done());
  co_await sessions.drain(5s);
}

inline weir::http::client_settings speaking(weir::http::http2_use when) {
  weir::http::client_settings out;
  out.http2 = when;
  return out;
}

template <class Case>
struct serving {
  static task<> subject(side& me) { return Case::serve(me); }
  static task<> peer(side& me) { return Case::ask(me); }
};
template <class Case>
struct asking {
  static task<> subject(side& me) { return Case::ask(me); }
  static task<> peer(side& me) { return Case::serve(me); }
};

}  // namespace conformance

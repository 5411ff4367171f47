// The server: listeners, connections, counters (weir/http/server.hpp).
#include "weir/http/server.hpp"

#include <time.h>

#include <array>
#include <cstdio>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/http/server/server_state.hpp"
#include "runtime/http/server/session.hpp"
#include "weir/detail/shown_counts.hpp"

namespace weir::http {
namespace {

/// What a client sent, for one line of a log: no line ends, no quotes, nothing that a terminal
/// obeys.
void append_escaped(std::string& out, std::string_view text) {
  for (const unsigned char c : text) {
    if (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || c >= 0x80)
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
    else
      out += static_cast<char>(c);
  }
}

void log_failure(const std::exception_ptr& failure, const request* asked) {
  std::string line = asked != nullptr ? "http: a handler failed: " : "http: a connection failed: ";
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    append_escaped(line, error.what());
  } catch (...) {
    line += "an exception of no known type";
  }
  if (asked != nullptr) {
    line += ": ";
    append_escaped(line, asked->method_name());
    line += ' ';
    append_escaped(line, asked->path());
  }
  fmt::print(stderr, "weir: {}\n", line);
}

void tell_counters(const void* of, weir::detail::shown_counts::numbers& out) {
  const auto& c = *static_cast<const server_counters*>(of);
  out.push_back({"http", "connections", "connections that the HTTP server took", c.connections});
  out.push_back({"http", "refused_connections", "connections beyond http.max_connections",
                 c.refused_connections});
  out.push_back({"http", "failed_handshakes", "TLS handshakes that failed", c.failed_handshakes});
  out.push_back({"http", "requests", "requests handed to the handler", c.requests});
  out.push_back({"http", "refused_requests", "requests that were malformed, too large or too slow",
                 c.refused_requests});
  out.push_back({"http", "refusals", "requests that their handler refused", c.refusals});
  out.push_back({"http", "refused_bodies", "bodies of requests that were malformed or too large",
                 c.refused_bodies});
  out.push_back({"http", "slow_bodies", "bodies of requests that took too long", c.slow_bodies});
  out.push_back({"http", "slow_readers",
                 "answers whose client did not read in http.write_timeout_ms", c.slow_readers});
  out.push_back(
      {"http", "refused_streams", "requests of HTTP/2 beyond those at once", c.refused_streams});
  out.push_back({"http", "floods", "HTTP/2 connections ended for frames without end", c.floods});
  out.push_back({"http", "failed_upgrades", "connections taken over that ended with an error",
                 c.failed_upgrades});
  out.push_back({"http", "failures", "handlers that threw; answered with 500", c.failures});
  out.push_back({"http", "compressed", "answers that were compressed", c.compressed});
  out.push_back({"http", "uncompressed", "answers that were not, beyond http.compress_at_once",
                 c.uncompressed});
}

using serving = std::function<task<>(any_stream)>;

task<> accept_loop(tcp_listener& listener, const serving& session, scope& sessions,
                   server_counters& counts) {
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    if (sessions.spawn(session(std::move(*peer))))
      ++counts.connections;
    else
      ++counts.refused_connections;
  }
  listener.close();
}

}  // namespace

server::state::state(shard& on, handler by, const server_settings& how)
    : owner(on), answer(std::move(by)), settings(how), simulated(on.backend() == "sim") {
  on.local<weir::detail::shown_counts>().add(counted, &tell_counters);
}

std::int64_t server::state::wall_clock() const {
  if (simulated) return owner.now().ns() / 1'000'000'000;
  return static_cast<std::int64_t>(::time(nullptr));
}

std::string common_log_line(const access_entry& entry, std::int64_t seconds_since_1970) {
  static constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto seconds = static_cast<time_t>(seconds_since_1970);
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::string out = fmt::format("{} - - [{:02}/{}/{:04}:{:02}:{:02}:{:02} +0000] \"",
                                entry.remote.address.to_string(), parts.tm_mday,
                                months[static_cast<std::size_t>(parts.tm_mon)],
                                parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  if (entry.asked != nullptr) {
    append_escaped(out, entry.asked->method_name());
    out += ' ';
    append_escaped(out, entry.asked->target());
    fmt::format_to(std::back_inserter(out), " HTTP/{}.{}", entry.asked->major_version(),
                   entry.asked->minor_version());
  } else {
    out += '-';
  }
  fmt::format_to(std::back_inserter(out), "\" {} {}", entry.status, entry.bytes);
  return out;
}

server_settings settings_from(const config::http_section& section) {
  const auto time = [](std::uint32_t ms) -> duration {
    return ms == 0 ? no_limit : std::chrono::milliseconds(ms);
  };
  server_settings out;
  out.max_head = section.max_head;
  out.max_fields = section.max_fields;
  out.max_body = section.max_body;
  out.max_connections = section.max_connections;
  out.head_timeout = time(section.head_timeout_ms);
  out.body_timeout = time(section.body_timeout_ms);
  out.idle_timeout = time(section.idle_timeout_ms);
  out.write_timeout = time(section.write_timeout_ms);
  out.drain = time(section.drain_ms);
  out.compress = section.compress;
  out.compress_least = section.compress_least;
  out.compress_at_once = section.compress_at_once;
  return out;
}

server::server(shard& owner, handler answer)
    : server(owner, std::move(answer), settings_from(owner.settings().http)) {}

server::server(shard& owner, handler answer, const server_settings& settings)
    : state_(std::make_unique<state>(owner, std::move(answer), settings)) {
  state_->on_failure = [](const std::exception_ptr& failure, const request& asked) {
    log_failure(failure, &asked);
  };
}

server::~server() = default;

task<> server::session(any_stream peer) { co_await state_->converse(peer, false); }

task<> server::state::converse(any_stream& peer, bool h2) {
  std::string early;
  if (!h2) {
    http::session conversation(peer, *this);
    h2 = co_await conversation.run(early);
  }
#if WEIR_HTTP_WITH_H2
  if (h2) co_await run_h2(peer, *this, std::move(early));
#endif
}

response server::state::instead(const request& asked, outcome& how) {
  int status = 500;
  try {
    throw;
  } catch (const status_error& refusal) {
    ++counters.refusals;
    how = outcome::refused;
    status = refusal.status();
  } catch (const std::exception& failure) {
    const auto* io = dynamic_cast<const io_error*>(&failure);
    if (io != nullptr && io->code() == std::errc::operation_canceled) throw;
    how = outcome::failed;
    ++counters.failures;
    if (on_failure) on_failure(std::current_exception(), asked);
  }
  return plain_status(status);
}

/// RFC 9110 15.2 and 7.8: an interim status answers nothing, and nobody is switched to another
/// protocol who did not ask for it.
const char* server::state::fault_of(const request& asked, response& with) {
  if (!std::holds_alternative<response::takeover>(with.body()))
    return with.status() >= 200 ? nullptr : "an answer with an interim status";
  if (asked.major_version() != 1) return nullptr;  // refused by its own status
  bool named = false, meant = false;
  for (const auto& f : asked.fields()) {
    named = named || equals_ignoring_case(f.name, "upgrade");
    meant =
        meant || (equals_ignoring_case(f.name, "connection") && list_contains(f.value, "upgrade"));
  }
  const bool asks = named && meant && asked.minor_version() >= 1;
  return asks ? nullptr : "a connection is taken over whose client did not ask for it";
}

response server::state::faulty(const request& asked, const char* fault, outcome& how) {
  try {
    throw std::logic_error(fault);
  } catch (...) {
    return instead(asked, how);
  }
}

status_error server::state::refused_body(int status) {
  ++(status == 408 ? counters.slow_bodies : counters.refused_bodies);
  return status_error(status);
}

void server::state::session_failed(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const io_error& error) {
    if (error.code() == std::errc::timed_out) ++counters.slow_readers;
    return;
  } catch (...) {
  }
  ++counters.failures;
  log_failure(failure, nullptr);
}

task<> server::state::run(std::span<tcp_listener> listeners, serving session) {
  scope sessions(owner, {.max = settings.max_connections});
  sessions.on_failure([this](const std::exception_ptr& failure) { session_failed(failure); });
  scope acceptors(owner);
  for (auto& listener : listeners)
    acceptors.spawn(accept_loop(listener, session, sessions, counters));
  co_await acceptors.join();
  co_await sessions.drain(settings.drain);
}

task<> server::run(std::span<tcp_listener> listeners) {
  co_await state_->run(listeners, [this](any_stream peer) { return session(std::move(peer)); });
}

void server::on_access(std::function<void(const access_entry&)> note) {
  state_->on_access = std::move(note);
}
void server::on_failure(std::function<void(std::exception_ptr, const request&)> note) {
  state_->on_failure = std::move(note);
}
const server_counters& server::counters() const { return state_->counters; }

}  // namespace weir::http

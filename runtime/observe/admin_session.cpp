// See admin_session.hpp.
#include "runtime/observe/admin_session.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <span>
#include <string>

#include "runtime/observe/recorder_json.hpp"
#include "runtime/observe/sockets_json.hpp"
#include "weir/shard.hpp"
#include "weir/when.hpp"

namespace weir::detail {
namespace {

using namespace std::chrono_literals;
using outcome = http::wire::request_parser::outcome;
using what = admin_request::what;

constexpr std::size_t most_lingering = 64 * 1024;  // bytes a client may send after its last answer
constexpr duration linger_time = 1s;

// Nothing is kept or guessed at, and the page may load nothing and talk to nobody but its server.
#define WEIR_COMMON_FIELDS                                         \
  "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" \
  "Cross-Origin-Resource-Policy: same-origin\r\nReferrer-Policy: no-referrer\r\n"
constexpr std::string_view common_fields = WEIR_COMMON_FIELDS
    "Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\n";

/// The program's own pages may show what strangers sent: no script of theirs runs here.
constexpr std::string_view own_page_fields = WEIR_COMMON_FIELDS
    "Content-Security-Policy: sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";
#undef WEIR_COMMON_FIELDS

class conversation {
 public:
  /// `counted`: among the site's clients.
  conversation(tcp_stream& peer, admin_site& here, bool counted)
      : peer_(peer),
        here_(here),
        parser_(admin_site::limits),
        writer_(here.date),
        counted_(counted) {}
  conversation(const conversation&) = delete;
  conversation& operator=(const conversation&) = delete;
  ~conversation() {
    if (counted_) --here_.clients;
  }

  task<> run();
  task<> refuse(int status);

 private:
  duration time_to_wait() const;
  task<transfer> next_bytes(duration limit, instant waits_since);
  task<transfer> read(duration limit) {
    co_return co_await peer_.read_some(buffer_).timeout(limit).nothrow();
  }
  task<bool> answer_all(std::span<const std::byte> bytes);
  task<> answer(bool keep_alive);
  task<> show(const admin_request& wanted, http::wire::response& out);
  task<> show_own(const admin_request& wanted, http::wire::response& out);
  task<> send(const http::wire::response& out);
  task<int> health_of(bool readiness);
  task<> flush();
  task<> linger();
  static std::int64_t wall_clock() { return static_cast<std::int64_t>(::time(nullptr)); }

  tcp_stream& peer_;
  admin_site& here_;
  http::wire::request_parser parser_;
  http::wire::response_writer writer_;
  std::string body_;  // of the answer that is being written
  instant request_began_;
  bool counted_;
  bool answered_ = false;  // a request, at least
  std::array<std::byte, 2048> buffer_;
};

duration conversation::time_to_wait() const {
  if (parser_.idle()) return admin_site::idle_time;
  return std::max(request_began_ + admin_site::request_time - peer_.owner().now(), duration(0));
}

task<> wait_for(event& e) { (void)co_await e.wait().nothrow(); }

/// What comes next, or operation_canceled where the client has to leave for another.
task<transfer> conversation::next_bytes(duration limit, instant waits_since) {
  if (!counted_) co_return co_await read(limit);
  admin_waiter mine{waits_since, {}};
  here_.waiting.push_back(&mine);
  auto first = co_await when_any(read(limit), wait_for(mine.leave));
  std::erase(here_.waiting, &mine);
  if (mine.leave.is_set()) counted_ = false;  // make_room() has seen to it
  if (mine.leave.is_set() || first.index() != 0) co_return transfer{canceled_error(), 0};
  co_return std::get<0>(first);
}

task<> conversation::run() {
  for (;;) {
    const bool between = parser_.idle();
    const auto since = between ? peer_.owner().now() : request_began_;
    auto got = co_await next_bytes(time_to_wait(), since);
    if (got.ec == std::errc::timed_out && !between) co_return co_await refuse(408);
    if (got.ec && got.ec != std::errc::connection_reset && answered_) co_return co_await linger();
    if (got.ec || got.n == 0) co_return;
    if (between) request_began_ = peer_.owner().now();
    const bool go_on = co_await answer_all(std::span(buffer_).first(got.n));
    if (!go_on) co_return;
  }
}

/// Answers every request that is complete. False: it is over.
task<bool> conversation::answer_all(std::span<const std::byte> bytes) {
  for (;;) {
    const auto fed = parser_.feed(bytes);
    if (fed == outcome::refused) {
      co_await refuse(parser_.refusal());
      co_return false;
    }
    if (fed == outcome::more) break;
    if (fed == outcome::head && parser_.head().expects_continue) {
      co_await refuse(405);  // nothing here wants a body
      co_return false;
    }
    if (fed != outcome::complete) continue;
    request_began_ = peer_.owner().now();
    const bool keep_alive = parser_.head().keep_alive && !peer_.owner().stop_requested();
    co_await answer(keep_alive);
    answered_ = true;
    if (!keep_alive) {
      co_await linger();
      co_return false;
    }
  }
  co_return true;
}

task<> conversation::answer(bool keep_alive) {
  const auto& asked = parser_.head();
  http::wire::response out;
  out.keep_alive = keep_alive;
  out.minor_version = asked.minor_version;
  out.send_body = asked.method != http::method::head;
  out.fields = common_fields;
  const auto wanted = read_target(asked.parts.path, asked.parts.query);
  int refusal = 0;
  if (!is_own_host(asked.host, here_.loopback))
    refusal = 421;
  else if (is_cross_site(asked.fields, asked.host))
    refusal = 403;
  else if (asked.method != http::method::get && asked.method != http::method::head)
    refusal = 405;
  else if (wanted.wanted == what::nothing)
    refusal = 404;
  else if (wanted.wanted == what::bad)
    refusal = 400;
  if (refusal != 0) {
    ++here_.facts.refused_requests;
    writer_.add_status(refusal, out, wall_clock());
    co_await flush();
    co_return;
  }
  ++here_.facts.requests;
  co_await show(wanted, out);
}

task<> conversation::show(const admin_request& wanted, http::wire::response& out) {
  switch (wanted.wanted) {
    case what::page:
      out.content_type = "text/html; charset=utf-8";
      out.body = here_.page;
      co_return co_await send(out);
    case what::health:
    case what::readiness: {
      const int status = co_await health_of(wanted.wanted == what::readiness);
      writer_.add_status(status, out, wall_clock());
      co_return co_await flush();
    }
    case what::own: co_return co_await show_own(wanted, out);
    case what::tasks: {
      auto tasks = co_await here_.tasks.collect(wanted.tasks);
      body_ = to_tasks_json(tasks, here_.facts, wanted.tasks.listed);
      out.content_type = "application/json";
      break;
    }
    case what::recorder:
      body_ = to_trace_json(here_.shards, here_.facts, wanted.events);
      out.content_type = "application/json";
      break;
    case what::sockets: {
      auto shown = co_await here_.snapshots.collect(wanted.connections);
      here_.look_at_process();
      body_ = to_sockets_json(*shown, here_.facts, wanted.connections);
      out.content_type = "application/json";
      break;
    }
    default: {
      auto shown = co_await here_.snapshots.collect(0);
      const auto text = here_.metrics_of(std::move(shown));
      out.content_type = "text/plain; version=0.0.4; charset=utf-8";
      out.body = *text;
      co_return co_await send(out);
    }
  }
  out.body = body_;
  co_await send(out);
}

task<> conversation::show_own(const admin_request& wanted, http::wire::response& out) {
  auto made = co_await here_.pages.ask(wanted.own, wanted.query);
  out.fields = own_page_fields;
  constexpr int first = 200, last = 599;
  const bool sound = made.status >= first && made.status <= last &&
                     (made.body.empty() || is_content_type(made.type));
  if (!sound || made.body.empty()) {
    writer_.add_status(sound ? made.status : 500, out, wall_clock());
    co_return co_await flush();
  }
  body_ = std::move(made.body);
  out.status = made.status;
  out.content_type = made.type;
  out.body = body_;
  co_await send(out);
}

task<> conversation::send(const http::wire::response& out) {
  writer_.add(out, wall_clock());
  co_await flush();
}

/// Healthy: every shard answers. Ready: and none was asked to stop.
task<int> conversation::health_of(bool readiness) {
  constexpr int well = 200, unwell = 503;
  auto shown = co_await here_.snapshots.collect(0);
  bool good = shown->silent.empty();
  for (const auto& shard : shown->shards) good &= !readiness || !shard.stopping;
  co_return good ? well : unwell;
}

task<> conversation::flush() {
  if (writer_.empty()) co_return;
  co_await peer_.write_all(writer_.parts()).timeout(admin_site::write_time);
  writer_.clear();
}

/// RFC 9112 9.6: after the last answer our end is closed first and what still comes is read, or a
/// reset would take the answer from the client.
task<> conversation::linger() {
  std::error_code ignored;
  peer_.shutdown_send(ignored);
  const auto begun = peer_.owner().now();
  for (std::size_t drained = 0; drained < most_lingering;) {
    const auto left = std::max(begun + linger_time - peer_.owner().now(), duration(0));
    auto got = co_await next_bytes(left, begun);
    if (got.ec || got.n == 0) break;
    drained += got.n;
  }
}

task<> conversation::refuse(int status) {
  ++here_.facts.refused_requests;
  http::wire::response out;
  out.keep_alive = false;
  writer_.add_status(status, out, wall_clock());
  co_await flush();
  co_await linger();
}

/// "connections=1000", within the bound.
bool read_number(std::string_view text, std::string_view key, std::size_t most, std::size_t& into) {
  if (!text.starts_with(key)) return false;
  text.remove_prefix(key.size());
  const auto* const begin = text.data();
  const auto* const end = begin + text.size();
  auto [at, error] = std::from_chars(begin, end, into);
  return error == std::errc() && at == end && into <= most;
}

bool read_tasks_query(std::string_view query, task_bounds& into) {
  constexpr std::size_t longest_ms = 1'000'000'000;
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto one = query.substr(0, end);
    std::size_t stuck_ms = 0;
    if (read_number(one, "stuck_ms=", longest_ms, stuck_ms))
      into.at_least = std::chrono::milliseconds(stuck_ms);
    else if (!read_number(one, "listed=", admin_site::most_tasks, into.listed))
      return false;
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
  }
  return true;
}

bool is_localhost(std::string_view name) {
  constexpr std::string_view own = "localhost";
  return std::equal(name.begin(), name.end(), own.begin(), own.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

}  // namespace

admin_request read_target(std::string_view path, std::string_view query) {
  admin_request out;
  if (path == "/") out.wanted = what::page;
  if (path == "/metrics") out.wanted = what::metrics;
  if (path == "/sockets") out.wanted = what::sockets;
  if (path == "/tasks") out.wanted = what::tasks;
  if (path == "/recorder") out.wanted = what::recorder;
  if (path == "/healthz") out.wanted = what::health;
  if (path == "/readyz") out.wanted = what::readiness;
  constexpr std::string_view own = "/own/";
  if (path.starts_with(own) && path.size() > own.size()) {
    out.wanted = what::own;
    out.own = path.substr(own.size());
    out.query = query.empty() ? query : query.substr(1);
    return out;
  }
  if (query.empty()) return out;
  if (out.wanted == what::sockets &&
      !read_number(query.substr(1), "connections=", admin_site::most_connections, out.connections))
    out.wanted = what::bad;
  if (out.wanted == what::recorder &&
      !read_number(query.substr(1), "events=", admin_site::most_events, out.events))
    out.wanted = what::bad;
  if (out.wanted == what::tasks && !read_tasks_query(query.substr(1), out.tasks))
    out.wanted = what::bad;
  return out;
}

bool is_own_host(std::string_view host, bool loopback_only) {
  if (host.empty()) return true;  // HTTP/1.0, which no browser speaks
  std::string_view name = host, port;
  if (host.front() == '[') {
    const auto end = host.find(']');
    if (end == std::string_view::npos) return false;
    name = host.substr(1, end - 1);
    port = host.substr(end + 1);
  } else if (const auto colon = host.rfind(':'); colon != std::string_view::npos) {
    name = host.substr(0, colon);
    port = host.substr(colon);
  }
  const bool digits = std::all_of(port.begin() + !port.empty(), port.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || (!port.empty() && port.front() != ':')) return false;
  if (is_localhost(name)) return true;
  const auto address = ip_address::parse(name);
  return address && (address->is_loopback() || !loopback_only);
}

bool is_cross_site(std::span<const http::field> fields, std::string_view host) {
  constexpr std::string_view scheme = "http://";
  for (const auto& one : fields) {
    // "none": the user's own doing, such as an address that was typed.
    if (http::equals_ignoring_case(one.name, "sec-fetch-site") && one.value != "same-origin" &&
        one.value != "none")
      return true;
    if (!http::equals_ignoring_case(one.name, "origin")) continue;
    auto origin = std::string_view(one.value);
    if (!origin.starts_with(scheme)) return true;
    origin.remove_prefix(scheme.size());
    if (origin != host) return true;
  }
  return false;
}

bool admin_site::make_room() {
  if (clients < most_clients) return true;
  const auto longest = std::min_element(waiting.begin(), waiting.end(),
                                        [](auto* a, auto* b) { return a->since < b->since; });
  if (longest == waiting.end()) return false;
  (*longest)->leave.set();
  waiting.erase(longest);
  --clients;
  ++facts.displaced_clients;
  return true;
}

void admin_site::look_at_process() {
  facts.questions = snapshots.asked();
  if (stalls != nullptr) {
    facts.stalls = stalls->counts();
    facts.stall_limit = stalls->limit();
  }
  const auto now = home_.now();
  if (looked_ != instant() && now - looked_ < looked_lately) return;
  looked_ = now;
  facts.kernel = read_kernel_counts();
  facts.usage = read_process_usage();
}

std::shared_ptr<const std::string> admin_site::metrics_of(
    std::shared_ptr<const process_snapshot> shown) {
  if (written_ == shown) return metrics_;
  look_at_process();
  metrics_ = std::make_shared<const std::string>(to_metrics(*shown, facts));
  written_ = std::move(shown);
  return metrics_;
}

task<> admin_session(tcp_stream peer, admin_site& here) {
  conversation with(peer, here, true);
  co_await with.run();
}

task<> admin_refusal(tcp_stream peer, admin_site& here) {
  conversation with(peer, here, false);
  co_await with.refuse(503);
}

}  // namespace weir::detail

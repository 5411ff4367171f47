// Requests in (session.hpp).
#include "runtime/http/server/session.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "weir/error.hpp"

namespace weir::http {
namespace {

/// Answers to requests that came together leave together, up to this many bytes.
constexpr std::size_t most_out = 64 * 1024;

wire::request_limits limits_of(const server_settings& s) {
  return {.head = s.max_head, .fields = s.max_fields, .body = s.max_body};
}

detail::request_parts parts_of(const wire::request_head& head) {
  return {.method = head.method,
          .method_name = head.method_name,
          .target = head.target,
          .path = head.parts.path,
          .query = head.parts.query,
          .host = head.host,
          .minor_version = head.minor_version,
          .fields = head.fields};
}

/// What is left of `limit` from `begun` on.
duration time_left(duration limit, instant begun, instant now) {
  return limit == no_limit ? limit : std::max(begun + limit - now, duration(0));
}

}  // namespace

session::session(any_stream& peer, server::state& here)
    : peer_(peer),
      here_(here),
      remote_(peer.remote_endpoint()),
      parser_(limits_of(here.settings)) {}

task<bool> session::run(std::string& early) {
  auto what = next::request;
  while (what == next::request) {
    const auto found = unread_.empty() ? outcome::more : parser_.feed(unread_);
    if (found == outcome::head) {
      what = co_await one_request();
      continue;
    }
    if (found == outcome::refused) {
      co_await refuse(parser_.refusal());
      what = next::linger;
      break;
    }
    if (!out_.empty()) {  // whoever is waited for has all answers that are due
      co_await peer_.write_all(out_).timeout(here_.settings.write_timeout);
      flushed();
    }
    // Here an idle connection waits: in no other coroutine's frame.
    const bool between = parser_.idle();
    auto read = peer_.read_some(buffer_).timeout(head_time_left(between));
    transfer got;
    if (between && answered_)
      got = co_await std::move(read).until_stop().nothrow();
    else
      got = co_await std::move(read).nothrow();
    note_came(got);
    if (got.ec || got.n == 0) {
      what = co_await after_silence(got, between);
    } else if (between) {
      begun_ = here_.owner.now();
      if (!speaks_h2 || answered_ || parser_.begun()) continue;
      const bool other = co_await begins_http2();
      if (other) what = next::http2;
    }
  }
  if (what == next::linger) co_await linger();
  if (what != next::http2) co_return false;
  early.assign(reinterpret_cast<const char*>(unread_.data()), unread_.size());
  co_return true;
}

duration session::head_time_left(bool between) const {
  return between ? here_.settings.idle_timeout
                 : time_left(here_.settings.head_timeout, begun_, here_.owner.now());
}

void session::note_came(const transfer& got) {
  unread_ = std::span<const std::byte>(buffer_).first(got.ec ? 0 : got.n);
}

/// Whether a connection's first bytes are HTTP/2's; waits for as many as tell.
task<bool> session::begins_http2() {
  for (std::size_t have = unread_.size();;) {
    const std::string_view text(reinterpret_cast<const char*>(buffer_.data()), have);
    if (text.starts_with(h2_preface)) co_return true;
    if (!h2_preface.starts_with(text)) co_return false;
    const auto left = time_left(here_.settings.head_timeout, begun_, here_.owner.now());
    const auto got =
        co_await peer_.read_some(std::span(buffer_).subspan(have)).timeout(left).nothrow();
    if (got.ec || got.n == 0) co_return false;
    have += got.n;
    unread_ = std::span<const std::byte>(buffer_).first(have);
  }
}

/// No more bytes came.
task<session::next> session::after_silence(const transfer& got, bool between) {
  const bool ended_here = got.ec == std::errc::timed_out || got.ec == std::errc::operation_canceled;
  if (between) {
    // An answer that was given just now may still be on its way.
    const bool fresh =
        answered_ && here_.owner.now() - answered_at_ < here_.settings.linger_silence;
    co_return ended_here&& fresh ? next::linger : next::over;
  }
  if (got.ec && got.ec != std::errc::timed_out) co_return next::over;
  co_await refuse(got.ec ? 408 : 400);
  co_return next::linger;
}

/// The parser has a head: to the answer's end, and the body's.
task<session::next> session::one_request() {
  const auto& head = parser_.head();
  head_taken_ = here_.owner.now();
  body_received_ = 0;
  body_waited_ = {};
  request_over_ = false;
  may_continue_ = head.expects_continue && head.has_body();
  keep_alive_ = head.keep_alive && !here_.owner.stop_requested();
  ++here_.counters.requests;

  request asked(here_.owner, remote_, parts_of(head),
                body_reader(static_cast<detail::body_source&>(*this)));
  if (!head.has_body()) request_over_ = parser_.feed(unread_) == outcome::complete;
  if (!head.has_body() && !request_over_) (void)co_await read_body();
  auto how = server::state::outcome::answered;
  response with;
  try {
    with = co_await here_.answer(asked);
  } catch (...) {
    with = here_.instead(asked, how);
  }
  if (const char* fault = here_.fault_of(asked, with)) with = here_.faulty(asked, fault, how);
  if (std::holds_alternative<response::takeover>(with.body()) && !request_over_) {
    ++here_.counters.refused_requests;  // its body would be taken for the other protocol
    with = plain_status(400);
    keep_alive_ = false;
  }
  here_.compress.apply(asked, with);
  if (how == server::state::outcome::refused) keep_alive_ = keep_alive_ && request_over_;
  if (how == server::state::outcome::failed) keep_alive_ = false;
  // A client that was not told to go on may send its body or not: there is no telling what comes.
  if (may_continue_ && !request_over_) keep_alive_ = false;
  if (here_.owner.stop_requested()) keep_alive_ = false;
  if (std::holds_alternative<response::takeover>(with.body())) {
    co_await take_over(with, asked);
    co_return next::over;
  }
  bool given = answer_now(with, asked.method() == method::head);
  if (!given) given = co_await give(with, asked);
  note(&asked, with.status(), head_taken_);
  if (!given) co_return next::over;
  answered_ = true;
  if (out_.size() >= most_out) co_await flush();
  if (!keep_alive_) {
    co_await flush();
    co_return next::linger;
  }
  answered_at_ = begun_ = here_.owner.now();
  bool whole = request_over_;
  if (!whole) whole = co_await drop_body();
  co_return whole ? next::request : next::linger;
}

/// False: it broke off in the middle, and the client must see that it did.
task<bool> session::give(response& with, const request& asked) {
  std::exception_ptr failure;
  try {
    co_await answer(with, asked.method() == method::head);
    co_return true;
  } catch (const io_error& e) {  // of this connection, or of what the body came from
    if (e.code() == std::errc::timed_out) ++here_.counters.slow_readers;
  } catch (...) {
    failure = std::current_exception();
  }
  peer_.abort();
  if (failure) {
    ++here_.counters.failures;
    if (here_.on_failure) here_.on_failure(failure, asked);
  }
  co_return false;
}

duration session::body_time_left() const {
  const auto& s = here_.settings;
  if (s.body_timeout == no_limit) return no_limit;
  const auto earned =
      std::chrono::seconds(body_received_ / std::max<std::uint64_t>(s.least_body_rate, 1));
  return std::max(s.body_timeout + earned - body_waited_, duration(0));
}

/// The next piece of the request's body, for the handler.
task<std::span<const std::byte>> session::read_body() {
  for (;;) {
    if (request_over_) co_return std::span<const std::byte>();
    const auto what = parser_.feed(unread_);
    if (what == outcome::content) {
      may_continue_ = false;  // it did not wait
      body_received_ += parser_.content().size();
      co_return parser_.content();
    }
    if (what == outcome::complete) {
      request_over_ = true;
      continue;
    }
    if (what == outcome::refused) throw here_.refused_body(parser_.refusal());
    if (std::exchange(may_continue_, false)) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    if (!out_.empty()) co_await flush();
    const auto begun = here_.owner.now();
    const auto got = co_await peer_.read_some(buffer_).timeout(body_time_left()).nothrow();
    note_came(got);
    body_waited_ += here_.owner.now() - begun;
    if (got.ec == std::errc::timed_out) throw here_.refused_body(408);
    if (got.ec) throw io_error(got.ec, "request body");
    if (got.n == 0) throw here_.refused_body(400);  // the connection ended within the body
  }
}

/// What the handler left of the body. False: it does not come to an end.
task<bool> session::drop_body() {
  try {
    for (;;) {
      const auto piece = co_await read_body();
      if (piece.empty()) co_return true;
    }
  } catch (const status_error&) {  // counted where it was thrown
  }
  co_return false;
}

/// RFC 9112 9.6: after the last answer our end is closed first and what still comes is read, or a
/// reset would take the answer from the client.
task<> session::linger() {
  std::error_code ignored;
  peer_.shutdown_send(ignored);
  const auto begun = here_.owner.now();
  for (;;) {
    const auto left = std::min(time_left(here_.settings.linger, begun, here_.owner.now()),
                               here_.settings.linger_silence);
    const auto got = co_await peer_.read_some(buffer_).timeout(left).nothrow();
    if (got.ec || got.n == 0) break;
  }
}

}  // namespace weir::http

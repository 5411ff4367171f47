// One request and its answer in HTTP/1 (h1_exchange.hpp).
#include "runtime/http/client/h1_exchange.hpp"
#include "runtime/http/coding/coding.hpp"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/http/wire/body_decoder.hpp"
#include "weir/error.hpp"
#include "weir/timing.hpp"
#include "weir/when.hpp"

namespace weir::http::detail {
namespace {

// As much as a server has to take within the write's time: a long body may take longer.
constexpr std::size_t most_at_once = 256 * 1024;
constexpr unsigned most_interim = 16;  // answers before the one that counts

std::error_code malformed() { return std::make_error_code(std::errc::protocol_error); }

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

/// Once the answer was read, or when nobody wants it.
void h1_exchange::leave() {
  if (!std::exchange(permitted_, false)) return;
  // Anything that was not asked for makes the next answer doubtful.
  const bool usable =
      complete_ && all_sent_ && unread_.empty() && connection_ && parser_.head().keep_alive;
  if (usable) client_.keep(*origin_, std::move(connection_));
  connection_.reset();
  origin_->permits.release();
}

task<> h1_exchange::connect(bool kept) {
  connection_.reset();
  if (kept) connection_ = co_await client_.take_idle(*origin_);
  kept_ = connection_ != nullptr;
  unread_ = {};
  if (kept_) {
    ++client_.counters.reused;
    co_return;
  }
  auto opened = co_await client_.open(to_, false);
  connection_ = std::make_unique<client_connection>(std::move(opened.stream));
}

task<bool> h1_exchange::perform(const client_request& asked, method as, bool with_body,
                                bool keep_user) {
  with_body_ = with_body;
  const auto* stream = std::get_if<client_request::stream_part>(&asked.body());
  const bool again = is_idempotent(as) && (stream == nullptr || !with_body);
  write_head(asked, as, keep_user);
  if (!connection_) co_await connect(true);
  auto error = co_await attempt(asked, as);
  const bool ended = error == std::errc::connection_reset || error == std::errc::broken_pipe ||
                     error == weir::error::end_of_stream;
  if (error && ended && kept_ && again && parser_.untouched()) {
    ++client_.counters.repeated;
    co_await connect(false);
    error = co_await attempt(asked, as);
  }
  if (error) throw io_error(error, "http: " + to_.origin());
  if (parser_.head().body == wire::framing::none) (void)co_await read_body();
  co_return true;
}

/// On the connection that there is.
task<std::error_code> h1_exchange::attempt(const client_request& asked, method as) {
  ++client_.counters.requests;
  parser_.expect(as);
  all_sent_ = head_read_ = complete_ = false;
  trailers_.clear();
  may_send_body_.reset();
  read_ = sent_ = {};
  if (!with_body_ || std::holds_alternative<std::monostate>(asked.body())) {
    sent_ = co_await send(bytes_of(head_));
    all_sent_ = !sent_;
  } else {
    // A server may answer before it has read everything, and stop reading: both at once.
    (void)co_await when_any(send_beside(asked), read_beside());
  }
  // Of a connection that ended while it was written to, the answer may still be there.
  const bool ended = sent_ == std::errc::broken_pipe || sent_ == std::errc::connection_reset;
  if (!head_read_ && (!sent_ || ended)) read_ = co_await read_head(client_.settings.head_timeout);
  co_return head_read_ ? std::error_code() : first_failure(sent_, read_);
}

task<> h1_exchange::send_beside(const client_request& asked) {
  sent_ = co_await send(bytes_of(head_));
  if (!sent_) sent_ = co_await send_body(asked);
  all_sent_ = !sent_;
  if (sent_) may_send_body_.set();
}

/// The answer's time begins when the request has been sent.
task<> h1_exchange::read_beside() { read_ = co_await read_head(no_limit); }

void h1_exchange::write_head(const client_request& asked, method as, bool keep_user) {
  const auto* text = std::get_if<std::string>(&asked.body());
  const auto* stream = std::get_if<client_request::stream_part>(&asked.body());
  head_.clear();
  auto out = std::back_inserter(head_);
  const bool to_proxy = client_.settings.proxy && to_.scheme == "http";
  const auto target = to_proxy ? to_.to_string() : to_.target;
  fmt::format_to(out, "{} {} HTTP/1.1\r\nHost: {}\r\n", name(as), target, to_.host_field());
  bool has_agent = false;
  for (const auto& [key, value] : asked.fields()) {
    if (!keep_user && names_a_user(key)) continue;
    has_agent = has_agent || equals_ignoring_case(key, "user-agent");
    fmt::format_to(out, "{}: {}\r\n", key, value);
  }
  if (!has_agent) head_ += "User-Agent: weir\r\n";
  if (asks_for_codings(client_.settings, asked))
    fmt::format_to(out, "Accept-Encoding: {}\r\n", known_codings());
  chunked_ = with_body_ && stream != nullptr && !stream->length;
  if (with_body_ && text != nullptr) fmt::format_to(out, "Content-Length: {}\r\n", text->size());
  if (with_body_ && stream != nullptr && stream->length)
    fmt::format_to(out, "Content-Length: {}\r\n", *stream->length);
  if (chunked_) head_ += "Transfer-Encoding: chunked\r\n";
  const bool has_body = text != nullptr || stream != nullptr;
  if (with_body_ && has_body && asked.expects()) head_ += "Expect: 100-continue\r\n";
  head_ += "\r\n";
}

task<std::error_code> h1_exchange::send(std::span<const std::byte> bytes) {
  std::error_code error;
  while (!bytes.empty() && !error) {
    const auto next = bytes.first(std::min(bytes.size(), most_at_once));
    const auto done = co_await connection_->stream.write_all(next)
                          .timeout(client_.settings.write_timeout)
                          .nothrow();
    error = done.ec;
    bytes = bytes.subspan(next.size());
  }
  co_return error;
}

task<std::error_code> h1_exchange::send_body(const client_request& asked) {
  if (asked.expects()) {
    const auto waited =
        co_await may_send_body_.wait().timeout(client_.settings.continue_timeout).nothrow();
    if (waited && waited != std::errc::timed_out) co_return waited;
  }
  if (const auto* text = std::get_if<std::string>(&asked.body())) {
    const auto error = co_await send(bytes_of(*text));
    co_return error;
  }
  try {
    const auto& stream = std::get<client_request::stream_part>(asked.body());
    left_ = stream.length;
    body_writer writer(static_cast<body_sink&>(*this));
    co_await stream.write(writer);
  } catch (const io_error& failure) {
    co_return failure.code();
  }
  check_all_written(left_);
  if (!chunked_) co_return std::error_code();
  trailers_ = "0\r\n" + trailers_ + "\r\n";
  const auto error = co_await send(bytes_of(trailers_));
  co_return error;
}

task<> h1_exchange::write_body(std::span<const std::byte> bytes) {
  take_from(left_, bytes.size());
  while (!bytes.empty()) {
    const auto next = bytes.first(std::min(bytes.size(), most_at_once));
    bytes = bytes.subspan(next.size());
    const auto line = chunked_ ? fmt::format("{:x}\r\n", next.size()) : std::string();
    const std::array<std::span<const std::byte>, 3> parts = {bytes_of(line), next,
                                                             bytes_of("\r\n")};
    const auto all = std::span<const std::span<const std::byte>>(parts);
    co_await connection_->stream.write_all(chunked_ ? all : all.subspan(1, 1))
        .timeout(client_.settings.write_timeout);
  }
}

void h1_exchange::add_trailer(std::string_view name, std::string_view value) {
  if (!wire::is_token(name) || !wire::is_field_value(value))
    throw std::invalid_argument("a trailer with a character that it must not have");
  if (chunked_) fmt::format_to(std::back_inserter(trailers_), "{}: {}\r\n", name, value);
}

/// Until the head of the answer that counts. May be cancelled and called again.
task<std::error_code> h1_exchange::read_head(duration limit) {
  using outcome = wire::response_parser::outcome;
  auto& c = *connection_;
  const auto until = client_.owner.now() + limit;
  for (unsigned interim = 0; interim < most_interim;) {
    const auto what = parser_.feed(unread_);
    // Nobody asked for another protocol: what comes behind 101 is no answer.
    if (what == outcome::head && parser_.head().status == 101) co_return malformed();
    if (what == outcome::head && !parser_.head().interim()) {
      head_read_ = true;
      co_return std::error_code();
    }
    if (what == outcome::head) {
      ++interim;
      if (parser_.head().status == 100) may_send_body_.set();
      continue;
    }
    if (what != outcome::more) co_return malformed();
    const auto left =
        limit == no_limit ? limit : std::max(until - client_.owner.now(), duration(0));
    const auto got = co_await c.stream.read_some(c.buffer).timeout(left).nothrow();
    if (got.ec) co_return got.ec;
    if (got.n == 0) co_return make_error_code(weir::error::end_of_stream);
    unread_ = std::span<const std::byte>(c.buffer).first(got.n);
  }
  co_return malformed();
}

task<std::span<const std::byte>> h1_exchange::read_body() {
  using outcome = wire::response_parser::outcome;
  for (;;) {
    if (complete_) co_return std::span<const std::byte>();
    const auto what = parser_.feed(unread_);
    if (what == outcome::content) co_return parser_.content();
    if (what == outcome::complete) {
      complete_ = true;
      leave();
      continue;
    }
    if (what == outcome::malformed) throw io_error(malformed(), "http: the answer's body");
    auto& c = *connection_;
    const auto got =
        co_await c.stream.read_some(c.buffer).timeout(client_.settings.body_timeout).nothrow();
    if (got.ec) throw io_error(got.ec, "http: the answer's body");
    unread_ = std::span<const std::byte>(c.buffer).first(got.n);
    if (got.n != 0) continue;
    if (!parser_.end())
      throw io_error(make_error_code(weir::error::end_of_stream), "http: the answer's body");
    complete_ = true;
    leave();
  }
}

}  // namespace weir::http::detail

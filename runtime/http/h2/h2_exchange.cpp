// A request on an HTTP/2 connection, and its answer (h2_exchange.hpp).
#include "runtime/http/h2/h2_exchange.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "runtime/http/coding/coding.hpp"
#include "runtime/http/wire/body_decoder.hpp"
#include "weir/error.hpp"
#include "weir/when.hpp"

namespace weir::http::detail {
namespace {

constexpr unsigned most_interim = 16;  // answers before the one that counts
constexpr std::size_t most_piece = 16 * 1024;

std::error_code malformed() { return std::make_error_code(std::errc::protocol_error); }

/// RFC 9113 8.2.2.
bool is_of_http1(std::string_view name) {
  return equals_ignoring_case(name, "connection") || equals_ignoring_case(name, "keep-alive") ||
         equals_ignoring_case(name, "upgrade") || equals_ignoring_case(name, "proxy-connection") ||
         equals_ignoring_case(name, "transfer-encoding");
}

}  // namespace

// --- The request.

/// False: the link takes no more.
bool h2_exchange::submit(const client_request& asked, method as, bool with_body, bool keep_user) {
  const auto* text = std::get_if<std::string>(&asked.body());
  const auto* stream = std::get_if<client_request::stream_part>(&asked.body());
  h2_fields head;
  head.add(":method", name(as));
  head.add(":scheme", to_.scheme);
  head.add(":authority", to_.host_field());
  head.add(":path", to_.target);
  bool has_agent = false;
  for (const auto& [key, value] : asked.fields()) {
    if ((!keep_user && names_a_user(key)) || is_of_http1(key)) continue;
    if (equals_ignoring_case(key, "te") && !equals_ignoring_case(value, "trailers")) continue;
    has_agent = has_agent || equals_ignoring_case(key, "user-agent");
    head.add(key, value);
  }
  if (!has_agent) head.add("user-agent", "weir");
  if (asks_for_codings(client_.settings, asked)) head.add("accept-encoding", known_codings());
  if (with_body && text != nullptr) head.add("content-length", std::to_string(text->size()));
  if (with_body && stream != nullptr && stream->length)
    head.add("content-length", std::to_string(*stream->length));
  const bool sends = with_body && !std::holds_alternative<std::monostate>(asked.body());
  if (sends && asked.expects()) head.add("expect", "100-continue");
  nghttp2_data_provider body{};
  body.read_callback = &h2_callbacks::give_body;
  reused_ = link_->had_requests();
  id_ = nghttp2_submit_request(&link_->frames(), nullptr, head.data(), head.size(),
                               sends ? &body : nullptr, nullptr);
  if (id_ < 0) return false;
  link_->add(id_, *this);
  return true;
}

/// RFC 9113 8.7: what a goodbye or a refusal says was not processed may be sent again, whatever it
/// is; else only what changes nothing when it is done twice.
bool h2_exchange::may_repeat(const client_request& asked, method as, bool with_body) const {
  const bool once = with_body && std::holds_alternative<client_request::stream_part>(asked.body());
  if (once || head_read_) return false;
  if (why_ == NGHTTP2_REFUSED_STREAM) return true;
  const bool ended = error_ == std::errc::connection_reset || error_ == std::errc::broken_pipe ||
                     error_ == weir::error::end_of_stream;
  return link_->ended() && ended && reused_ && is_idempotent(as);
}

task<bool> h2_exchange::perform(const client_request& asked, method as, bool with_body,
                                bool keep_user) {
  if (!submit(asked, as, with_body, keep_user)) co_return false;
  ++client_.counters.requests;
  if (reused_) ++client_.counters.reused;
  const bool sends = with_body && !std::holds_alternative<std::monostate>(asked.body());
  if (sends) (void)co_await when_any(send_beside(asked), read_beside());
  if (!sent_ && !head_read_) read_ = co_await wait_for_head(client_.settings.head_timeout);
  if (head_read_) co_return true;
  if (closed_ && may_repeat(asked, as, with_body)) co_return false;
  const auto why = first_failure(sent_, read_);
  throw io_error(why ? why : error_, "http: " + to_.origin());
}

task<> h2_exchange::read_beside() { read_ = co_await wait_for_head(no_limit); }

task<> h2_exchange::send_beside(const client_request& asked) {
  if (asked.expects()) {
    const auto waited =
        co_await may_send_body_.wait().timeout(client_.settings.continue_timeout).nothrow();
    if (waited && waited != std::errc::timed_out) {
      sent_ = waited;
      co_return;
    }
  }
  if (const auto* text = std::get_if<std::string>(&asked.body())) {
    out = std::as_bytes(std::span(*text));
  } else {
    try {
      const auto& stream = std::get<client_request::stream_part>(asked.body());
      left_ = stream.length;
      body_writer writer(static_cast<body_sink&>(*this));
      co_await stream.write(writer);
    } catch (const io_error& failure) {
      sent_ = failure.code();
      co_return;
    }
    check_all_written(left_);
  }
  all_given = true;
  sent_ = co_await all_taken();
}

task<> h2_exchange::write_body(std::span<const std::byte> bytes) {
  if (bytes.empty()) co_return;
  take_from(left_, bytes.size());
  out = bytes;
  const auto error = co_await all_taken();
  if (error) throw io_error(error, "http: a request");
}

void h2_exchange::add_trailer(std::string_view name, std::string_view value) {
  if (!wire::is_token(name) || !wire::is_field_value(value))
    throw std::invalid_argument("a trailer with a character that it must not have");
  trailers.emplace_back(name, value);
}

/// Until the link has taken `out`, and said the end where all is given.
task<std::error_code> h2_exchange::all_taken() {
  std::error_code error;
  while (!error && (!out.empty() || (all_given && !end_gone))) {
    if (closed_) {
      error = error_;
      break;
    }
    taken.reset();
    const auto before = out.size();
    nghttp2_session_resume_data(&link_->frames(), id_);
    link_->kick();
    error = co_await taken.wait().timeout(client_.settings.write_timeout).nothrow();
    const auto least = least_taken(link_->size());
    if (error == std::errc::timed_out && before - out.size() >= least) error = {};
  }
  if (error) out = {};
  co_return error;
}

// --- The answer.

void h2_exchange::head_begins() {
  if (head_read_) return;  // trailers
  texts_.clear();
  fields_.clear();
  head_ = {};
  head_bytes_ = 0;
}

void h2_exchange::field_came(std::string_view name, std::string_view value) {
  head_bytes_ += name.size() + value.size() + 32;  // as RFC 9113 6.5.2 counts
  too_long_ = too_long_ || head_bytes_ > client_.settings.max_head;
  if (too_long_) return;
  if (name == ":status") {
    std::from_chars(value.data(), value.data() + value.size(), head_.status);
    return;
  }
  auto& [key, text] = texts_.emplace_back(name, value);
  (head_read_ ? trailer_fields_ : fields_).push_back({key, text});
}

void h2_exchange::head_came(bool last) {
  if (head_read_) {
    if (last) body_ended();
    return;
  }
  if (head_.status == 101 || too_long_ || ++interim_ > most_interim) too_long_ = true;
  if (too_long_) {
    came_.set();
    return;
  }
  if (head_.interim()) {
    if (head_.status == 100) may_send_body_.set();
    return;
  }
  head_.minor_version = 0;
  head_.fields = fields_;
  head_read_ = true;
  if (last) all_came_ = true;
  came_.set();
}

void h2_exchange::data_came(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  came_.set();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (pieces_.empty() || pieces_.back().size() + text.size() > most_piece)
    pieces_.emplace_back(text);
  else
    pieces_.back() += text;
}

void h2_exchange::body_ended() {
  all_came_ = true;
  came_.set();
}

void h2_exchange::closed(std::uint32_t why, std::error_code error) {
  closed_ = true;
  id_ = -1;
  why_ = why;
  error_ = error;
  came_.set();
  taken.set();
  may_send_body_.set();
}

/// May be cancelled and called again.
task<std::error_code> h2_exchange::wait_for_head(duration limit) {
  while (!head_read_) {
    if (too_long_) co_return malformed();
    if (closed_) co_return error_;
    came_.reset();
    const auto error = co_await came_.wait().timeout(limit).nothrow();
    if (error) co_return error;
  }
  co_return std::error_code();
}

task<std::span<const std::byte>> h2_exchange::read_body() {
  if (!current_.empty()) link_->consumed(id_, current_.size());
  current_.clear();
  while (pieces_.empty()) {
    if (all_came_) co_return std::span<const std::byte>();
    if (too_long_) throw io_error(malformed(), "http: the answer's trailers");
    if (closed_) throw io_error(error_, "http: the answer's body");
    came_.reset();
    const auto error = co_await came_.wait().timeout(client_.settings.body_timeout).nothrow();
    if (error) throw io_error(error, "http: the answer's body");
  }
  current_ = std::move(pieces_.front());
  pieces_.pop_front();
  co_return std::as_bytes(std::span(current_));
}

}  // namespace weir::http::detail

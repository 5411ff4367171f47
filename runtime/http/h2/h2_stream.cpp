// A request's head and body, as HTTP/2 has them (h2_stream.hpp).
#include "runtime/http/h2/h2_stream.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

#include "runtime/http/h2/h2_session.hpp"
#include "runtime/http/wire/body_decoder.hpp"
#include "runtime/http/wire/target.hpp"
#include "weir/error.hpp"

namespace weir::http {
namespace {

method method_of(std::string_view name) {
  static constexpr std::array named = {method::get,   method::head,    method::post,
                                       method::put,   method::delete_, method::options,
                                       method::patch, method::connect, method::trace};
  const auto* found =
      std::find_if(named.begin(), named.end(), [&](method m) { return http::name(m) == name; });
  return found == named.end() ? method::other : *found;
}

io_error gone() {
  return io_error(std::make_error_code(std::errc::connection_reset), "http: the request");
}

}  // namespace

void h2_stream::add(std::string_view name, std::string_view value) {
  if (!has_head && name.starts_with(':')) {
    if (name == ":method") method_ = value;
    if (name == ":path") path_ = value;
    if (name == ":authority") authority_ = value;
    return;
  }
  if (!has_head && name == "cookie") {  // RFC 9113 8.2.3: browsers send it in pieces
    const auto before = std::find_if(fields_.begin(), fields_.end(),
                                     [](const auto& f) { return f.name == "cookie"; });
    if (before != fields_.end()) {
      cookie_->append("; ").append(value);
      before->value = *cookie_;
      return;
    }
  }
  auto& [key, text] = texts_.emplace_back(name, value);
  if (!has_head && key == "cookie") cookie_ = &text;
  (has_head ? trailer_fields_ : fields_).push_back({key, text});
}

/// What nghttp2 does not look at: it has refused pseudo-fields that are missing, twice or unknown,
/// fields of a connection, and bodies of another length than was said.
int h2_stream::read_head() {
  if (too_long) return 431;
  method_code_ = method_of(method_);
  if (method_code_ == method::connect || method_.empty()) return 501;
  const auto target = wire::parse_target(path_, method_code_);
  if (!target || !target->authority.empty()) return 400;
  plain_path_ = target->path;
  query_ = target->query;
  for (const auto& f : fields_) {
    if (f.name == "host") {
      if (authority_.empty()) authority_ = f.value;
      if (!equals_ignoring_case(authority_, f.value)) return 400;  // RFC 9113 8.3.1
    } else if (f.name == "expect") {
      if (!equals_ignoring_case(f.value, "100-continue")) return 417;
      expects = true;
    } else if (f.name == "content-length") {
      std::uint64_t said = 0;
      const auto read = std::from_chars(f.value.data(), f.value.data() + f.value.size(), said);
      if (read.ec != std::errc() || said > on_.here().settings.max_body) return 413;
    }
  }
  return wire::is_host(authority_) ? 0 : 400;
}

detail::request_parts h2_stream::parts() const {
  return {.method = method_code_,
          .method_name = method_,
          .target = path_,
          .path = plain_path_,
          .query = query_,
          .host = authority_,
          .major_version = 2,
          .minor_version = 0,
          .fields = fields_};
}

void h2_stream::drop() {
  auto unread = current_.size();
  for (const auto& piece : pieces) unread += piece.size();
  pieces.clear();
  current_.clear();
  dropping = true;
  if (unread != 0) on_.read_on(*this, unread);
}

task<std::span<const std::byte>> h2_stream::read_body() {
  const auto& limits = on_.here().settings;
  auto& owner = on_.here().owner;
  if (!current_.empty()) on_.read_on(*this, current_.size());
  current_.clear();
  while (pieces.empty()) {
    if (all_came) co_return std::span<const std::byte>();
    if (closed) throw gone();
    if (std::exchange(expects, false)) on_.go_on(*this);
    came.reset();
    const auto begun = owner.now();
    auto limit = no_limit;
    if (limits.body_timeout != no_limit) {
      const auto earned =
          std::chrono::seconds(received / std::max<std::uint64_t>(limits.least_body_rate, 1));
      limit = std::max(limits.body_timeout + earned - waited_, duration(0));
    }
    const auto error = co_await came.wait().timeout(limit).nothrow();
    waited_ += owner.now() - begun;
    if (error == std::errc::timed_out) throw on_.here().refused_body(408);
    if (error) throw io_error(error, "request body");
  }
  expects = false;
  current_ = std::move(pieces.front());
  pieces.pop_front();
  received += current_.size();
  if (received > limits.max_body) throw on_.here().refused_body(413);
  co_return std::as_bytes(std::span(current_));
}

task<> h2_stream::write_body(std::span<const std::byte> bytes) {
  if (bytes.empty()) co_return;
  if (left) {
    if (bytes.size() > *left) throw std::logic_error("an answer's body is longer than was said");
    *left -= bytes.size();
  }
  out = bytes;
  co_await all_taken();
}

task<> h2_stream::all_taken() {
  while (!out.empty() || (all_given && !end_gone)) {
    if (closed) {
      out = {};
      throw gone();
    }
    taken.reset();
    const auto before = out.size();
    nghttp2_session_resume_data(&on_.frames(), id);
    on_.kick();
    const auto error = co_await taken.wait().timeout(on_.here().settings.write_timeout).nothrow();
    const auto least = least_taken(on_.requests());
    if (error == std::errc::timed_out && before - out.size() >= least) continue;
    if (!error) continue;
    out = {};
    throw io_error(error, "http: an answer");
  }
}

void h2_stream::add_trailer(std::string_view name, std::string_view value) {
  if (!wire::is_token(name) || !wire::is_field_value(value))
    throw std::invalid_argument("a trailer with a character that it must not have");
  trailers.emplace_back(name, value);
}

}  // namespace weir::http

// Requests through the handler, and their answers (h2_session.hpp).
#include <algorithm>
#include <exception>
#include <memory>
#include <stdexcept>
#include <utility>

#include "runtime/http/files/file_block.hpp"
#include "runtime/http/h2/h2_callbacks.hpp"
#include "runtime/http/h2/h2_session.hpp"
#include "weir/error.hpp"

namespace weir::http {
namespace {

constexpr std::size_t file_block = 64 * 1024;

/// RFC 9113 8.2.2: what concerns an HTTP/1 connection is malformed here.
bool is_of_http1(std::string_view name) {
  return equals_ignoring_case(name, "keep-alive") || equals_ignoring_case(name, "upgrade") ||
         equals_ignoring_case(name, "proxy-connection");
}

}  // namespace

/// One request, to its answer's end.
task<> h2_session::serve(std::shared_ptr<h2_stream> stream) {
  const auto begun = here_.owner.now();
  const int refusal = stream->read_head();
  request asked(here_.owner, remote_, stream->parts(),
                body_reader(static_cast<detail::body_source&>(*stream)));
  response with;
  if (refusal != 0) {
    ++here_.counters.refused_requests;
    with = plain_status(refusal);
  } else {
    ++here_.counters.requests;
    auto how = server::state::outcome::answered;
    try {
      with = co_await here_.answer(asked);
    } catch (...) {
      with = here_.instead(asked, how);
    }
    if (const char* fault = here_.fault_of(asked, with)) with = here_.faulty(asked, fault, how);
    here_.compress.apply(asked, with);
  }
  const bool given = co_await give(*stream, with, asked);
  note(refusal != 0 ? nullptr : &asked, *stream, with.status(), begun);
  if (given) co_await drop_body(*stream);
  kick();
}

/// What nobody wants of a request's body. Clients that still send it take a reset at once for a
/// failure and lose the answer (curl 7.88), though RFC 9113 8.1 allows it: as with HTTP/1 it is
/// read for a while.
task<> h2_session::drop_body(h2_stream& stream) {
  stream.drop();
  const auto& limits = here_.settings;
  const auto until = here_.owner.now() + limits.linger;
  while (!stream.all_came && !stream.closed) {
    stream.came.reset();
    const auto left = std::max(until - here_.owner.now(), duration(0));
    const auto error =
        co_await stream.came.wait().timeout(std::min(left, limits.linger_silence)).nothrow();
    if (error) break;
  }
  if (!stream.all_came) reset(stream, NGHTTP2_NO_ERROR);
}

/// False: it broke off in the middle, and the client sees that it did.
task<bool> h2_session::give(h2_stream& stream, response& with, const request& asked) {
  std::exception_ptr failure;
  try {
    co_await answer(stream, with, asked.method() == method::head);
    co_return true;
  } catch (const io_error& e) {  // of this connection, or of what the body came from
    if (e.code() == std::errc::operation_canceled) {
      stream.out = {};
      throw;
    }
    if (e.code() == std::errc::timed_out) ++here_.counters.slow_readers;
  } catch (...) {
    failure = std::current_exception();
  }
  stream.out = {};
  reset(stream, NGHTTP2_INTERNAL_ERROR);
  if (failure) {
    ++here_.counters.failures;
    if (here_.on_failure) here_.on_failure(failure, asked);
  }
  co_return false;
}

task<> h2_session::answer(h2_stream& stream, response& with, bool head_only) {
  if (std::holds_alternative<response::takeover>(with.body())) with = plain_status(501);
  auto& body = with.body();
  std::string_view text;
  if (const auto* own = std::get_if<std::string>(&body)) text = *own;
  if (const auto* constant = std::get_if<std::string_view>(&body)) text = *constant;
  std::optional<std::uint64_t> length = text.size();
  auto* file = std::get_if<response::file_part>(&body);
  auto* producer = std::get_if<response::stream_part>(&body);
  if (file != nullptr) length = file->length;
  if (producer != nullptr) length = producer->length;
  const bool has_body = with.status() >= 200 && with.status() != 204 && with.status() != 304;
  const bool sends = has_body && !head_only && length != 0u;
  if (stream.closed) co_return;
  submit_head(stream, with, has_body ? length : std::nullopt, sends);
  if (!sends) co_return;
  if (producer != nullptr) {
    stream.left = producer->length;
    body_writer writer(static_cast<detail::body_sink&>(stream));
    co_await producer->write(writer);
    if (stream.left.value_or(0) != 0)
      throw std::logic_error("an answer's body is shorter than was said");
  } else if (file != nullptr) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(file_block, file->length));
    const auto memory = std::make_unique_for_overwrite<std::byte[]>(size);
    const std::span block(memory.get(), size);
    for (std::uint64_t done = 0; done < file->length;) {
      const auto want = std::min<std::uint64_t>(block.size(), file->length - done);
      const auto room = block.first(static_cast<std::size_t>(want));
      const auto n = co_await read_block(file->file, file->offset + done, room);
      co_await stream.write_body(block.first(n));
      done += n;
    }
  } else {
    stream.out = std::as_bytes(std::span(text));
  }
  stream.all_given = true;
  co_await stream.all_taken();
}

void h2_session::submit_head(h2_stream& stream, response& with, std::optional<std::uint64_t> length,
                             bool with_body) {
  h2_fields head;
  head.add(":status", std::to_string(with.status()));
  head.add("server", "weir");
  head.add("date", here_.date.at(here_.wall_clock()));
  for (const auto& [name, value] : with.fields())
    if (!is_of_http1(name)) head.add(name, value);
  if (length) head.add("content-length", std::to_string(*length));
  nghttp2_data_provider body{};
  body.read_callback = &h2_callbacks::give_body;
  const int failed = nghttp2_submit_response(frames_, stream.id, head.data(), head.size(),
                                             with_body ? &body : nullptr);
  if (failed != 0) reset(stream, NGHTTP2_INTERNAL_ERROR);
  kick();
}

void h2_session::reset(h2_stream& stream, std::uint32_t why) {
  if (stream.closed) return;
  nghttp2_submit_rst_stream(frames_, NGHTTP2_FLAG_NONE, stream.id, why);
  kick();
}

void h2_session::note(const request* asked, const h2_stream& stream, int status, instant begun) {
  if (!here_.on_access) return;
  here_.on_access({asked, remote_, status, stream.sent, here_.owner.now() - begun});
}

}  // namespace weir::http

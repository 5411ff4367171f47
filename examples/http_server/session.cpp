// See session.hpp.
#include "http_server/session.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <vector>

namespace http {
namespace {

using namespace std::chrono_literals;
using outcome = request_parser::outcome;

constexpr std::size_t read_size = 4096;
constexpr std::size_t file_block = 64 * 1024;
// After the last answer, for the client's end: as long as it sends, and until it is silent.
constexpr weir::duration linger_time = 30s;
constexpr weir::duration linger_silence = 2s;

constexpr std::string_view front_page =
    "<!doctype html>\n<title>weir</title>\n<h1>weir</h1>\n"
    "<p>This page came through weir. See also <a href=\"/plaintext\">/plaintext</a> and <a "
    "href=\"/json\">/json</a>.\n";

/// A file that is to be sent after what the writer holds.
struct transfer {
  open_file file;
  bool wanted = false;
};

class conversation {
 public:
  conversation(weir::tcp_stream& peer, site& here)
      : peer_(peer), here_(here), parser_(here.settings.limits), writer_(here.date) {}

  weir::task<> run();

 private:
  weir::duration time_to_wait() const;
  weir::task<bool> answer_all(std::span<const std::byte> bytes);
  void answer(const request_head& asked, bool keep_alive, transfer& body);
  void answer_file(const request_head& asked, response& out, transfer& body);
  weir::task<> refuse(int status);
  weir::task<> linger();
  weir::task<> flush();
  weir::task<> send_file(open_file file);
  bool stopping() const { return peer_.owner().stop_requested(); }
  static std::int64_t wall_clock() { return static_cast<std::int64_t>(::time(nullptr)); }

  weir::tcp_stream& peer_;
  site& here_;
  request_parser parser_;
  response_writer writer_;
  weir::instant request_began_;
  weir::instant answered_at_;
  bool answered_ = false;  // a request, at least
  std::array<std::byte, read_size> buffer_;
};

/// How long the next bytes may take.
weir::duration conversation::time_to_wait() const {
  if (parser_.idle()) return here_.settings.idle_timeout;
  auto limit = here_.settings.request_timeout;
  if (limit.count() < 0) return limit;
  auto left = request_began_ + limit - peer_.owner().now();
  return std::max(left, weir::duration(0));
}

weir::task<> conversation::run() {
  for (;;) {
    bool between = parser_.idle();
    weir::transfer got;
    auto next = peer_.read_some(buffer_).timeout(time_to_wait());
    if (between && answered_)
      got = co_await std::move(next).until_stop().nothrow();  // nobody is owed an answer
    else
      got = co_await std::move(next).nothrow();
    if (got.ec == std::errc::timed_out && !between) co_return co_await refuse(408);
    // Silence, or the stop: an answer that was given just now may still be on its way.
    const bool ended_here =
        got.ec == std::errc::timed_out || got.ec == std::errc::operation_canceled;
    if (ended_here && answered_ && peer_.owner().now() - answered_at_ < linger_silence)
      co_return co_await linger();
    if (got.ec) co_return;
    if (got.n == 0) {
      if (!between) co_await refuse(400);
      co_return;
    }
    if (between) request_began_ = peer_.owner().now();
    bool go_on = co_await answer_all(std::span(buffer_).first(got.n));
    if (!go_on) co_return;
  }
}

/// Answers every request that is complete, with as few writes as the writer's bounds allow. False:
/// it is over.
weir::task<bool> conversation::answer_all(std::span<const std::byte> bytes) {
  transfer body;
  for (;;) {
    auto what = parser_.feed(bytes);
    if (what == outcome::refused) {
      co_await refuse(parser_.refusal());
      co_return false;
    }
    if (what == outcome::more) break;
    if (what == outcome::head && parser_.head().expects_continue) {
      co_await refuse(405);  // nothing here wants a body
      co_return false;
    }
    if (what != outcome::complete) continue;
    request_began_ = peer_.owner().now();  // of the next one, if it has begun
    const bool keep_alive = parser_.head().keep_alive && !stopping();
    answer(parser_.head(), keep_alive, body);
    answered_ = true;
    if (writer_.full() || body.wanted || !keep_alive) co_await flush();
    if (body.wanted) {
      body.wanted = false;
      co_await send_file(std::move(body.file));
    }
    if (!keep_alive) {
      co_await linger();
      co_return false;
    }
  }
  co_await flush();
  answered_at_ = peer_.owner().now();
  co_return true;
}

void conversation::answer(const request_head& asked, bool keep_alive, transfer& body) {
  using weir::http::method;
  auto now = wall_clock();
  response out;
  out.send_body = asked.method != method::head;
  out.keep_alive = keep_alive;
  out.minor_version = asked.minor_version;
  if (asked.method != method::get && asked.method != method::head)
    return writer_.add_status(405, out, now);

  const auto path = asked.parts.path;
  if (path == "/plaintext") {
    out.body = "Hello, World!";
  } else if (path == "/json") {
    out.content_type = "application/json";
    out.body = "{\"message\":\"Hello, World!\"}";
  } else if (here_.settings.files) {
    return answer_file(asked, out, body);
  } else if (path == "/") {
    out.content_type = "text/html; charset=utf-8";
    out.body = front_page;
  } else {
    return writer_.add_status(404, out, now);
  }
  writer_.add(out, now);
}

void conversation::answer_file(const request_head& asked, response& out, transfer& body) {
  auto now = wall_clock();
  auto apart = take_apart(asked.parts.path);
  open_file file;
  auto found = apart ? here_.settings.files->open(*apart, file) : file_root::found::nothing;
  if (found == file_root::found::nothing) return writer_.add_status(404, out, now);
  if (found == file_root::found::exhausted) {
    ++here_.exhausted;
    return writer_.add_status(503, out, now);
  }
  if (found == file_root::found::folder) {
    auto location = apart->normal() + "/";
    location += asked.parts.query;
    out.status = 301;
    out.location = location;
    return writer_.add(out, now);
  }
  out.content_type = content_type_of(
      apart->is_folder || apart->segments.empty() ? ".html" : apart->segments.back());
  out.content_length = file.size();
  writer_.add_head(out, now);
  body.wanted = out.send_body && file.size() != 0;
  body.file = std::move(file);
}

weir::task<> conversation::flush() {
  if (writer_.empty()) co_return;
  co_await peer_.write_all(writer_.parts()).timeout(here_.settings.write_timeout);
  writer_.clear();
}

weir::task<> conversation::send_file(open_file file) {
  std::vector<std::byte> block(std::min<std::uint64_t>(file_block, file.size()));
  for (std::uint64_t sent = 0; sent < file.size();) {
    auto want = std::min<std::uint64_t>(block.size(), file.size() - sent);
    auto n = file.read_at(sent, std::span(block).first(static_cast<std::size_t>(want)));
    // The length was promised: a file that shrank, or cannot be read, ends the connection and not
    // the answer.
    if (n == 0) throw weir::io_error(std::make_error_code(std::errc::io_error), "file");
    co_await peer_.write_all(std::span<const std::byte>(block).first(n))
        .timeout(here_.settings.write_timeout);
    sent += n;
  }
}

weir::task<> conversation::refuse(int status) {
  response out;
  out.keep_alive = false;
  writer_.add_status(status, out, wall_clock());
  co_await flush();
  co_await linger();
}

/// RFC 9112 9.6: after the last answer our end is closed first and what still comes is read, or a
/// reset would take the answer from the client.
weir::task<> conversation::linger() {
  std::error_code ignored;
  peer_.shutdown_send(ignored);
  const auto until = peer_.owner().now() + linger_time;
  for (;;) {
    const auto left = std::clamp(until - peer_.owner().now(), weir::duration(0), linger_silence);
    auto got = co_await peer_.read_some(buffer_).timeout(left).nothrow();
    if (got.ec || got.n == 0) break;
  }
}

}  // namespace

weir::task<> session(weir::tcp_stream peer, site& here) {
  conversation with(peer, here);
  co_await with.run();
}

}  // namespace http

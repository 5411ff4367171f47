// Answers out (session.hpp).
#include <algorithm>
#include <charconv>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/http/files/file_block.hpp"
#include "runtime/http/server/session.hpp"
#include "runtime/http/wire/body_decoder.hpp"
#include "weir/error.hpp"
#include "weir/file.hpp"
#include "weir/timing.hpp"

namespace weir::http {
namespace {

constexpr std::size_t copied_up_to = 4096;  // larger bodies are sent from where they lie
constexpr std::size_t file_block = 64 * 1024;
// As much as a client has to take within the write's time: a long body may take longer.
constexpr std::size_t most_at_once = 256 * 1024;

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// Lines into memory that is large enough.
class lines {
 public:
  explicit lines(char* at) : at_(at) {}
  lines& operator<<(std::string_view text) {
    at_ = std::copy_n(text.data(), text.size(), at_);
    return *this;
  }
  lines& operator<<(std::uint64_t number) {
    at_ = std::to_chars(at_, at_ + 20, number).ptr;
    return *this;
  }
  const char* end() const { return at_; }

 private:
  char* at_;
};

}  // namespace

/// RFC 9112 6.3 and 7: a length where it is known, chunks where it is not, and to HTTP/1.0 the
/// connection's end.
void session::write_head(response& with, std::optional<std::uint64_t> length, bool has_body) {
  const auto& head = parser_.head();
  const int status = with.status();
  const bool by_length = has_body && length;
  chunked_ = has_body && !length && head.minor_version >= 1;
  if (has_body && !length && !chunked_) keep_alive_ = false;
  const auto reason = reason_phrase(status);
  const auto common = here_.date.fields_at(here_.wall_clock());
  // Of everything that is no field of the handler's.
  constexpr std::size_t own = 256;
  auto bound = own + reason.size() + common.size();
  for (const auto& [name, value] : with.fields()) bound += name.size() + value.size() + 4;
  const auto from = out_.size();
  out_.resize(from + bound);
  lines to(out_.data() + from);
  if (status == 200)
    to << "HTTP/1.1 200 OK\r\n";
  else
    to << "HTTP/1.1 " << static_cast<std::uint64_t>(status) << " " << reason << "\r\n";
  to << common;
  for (const auto& [name, value] : with.fields()) to << name << ": " << value << "\r\n";
  if (by_length) to << "Content-Length: " << *length << "\r\n";
  if (chunked_) to << "Transfer-Encoding: chunked\r\n";
  if (!keep_alive_) to << "Connection: close\r\n";
  if (keep_alive_ && head.minor_version == 0) to << "Connection: keep-alive\r\n";
  to << "\r\n";
  out_.resize(static_cast<std::size_t>(to.end() - out_.data()));
  body_left_ = by_length ? length : std::nullopt;
  body_sent_ = 0;
  trailers_.clear();
}

/// What needs no waiting: a short text, or a head alone. False: answer() it.
bool session::answer_now(response& with, bool head_only) {
  const auto& body = with.body();
  std::string_view text;
  if (const auto* own = std::get_if<std::string>(&body))
    text = *own;
  else if (const auto* constant = std::get_if<std::string_view>(&body))
    text = *constant;
  else
    return false;
  if (text.size() > copied_up_to) return false;
  const bool has_body = !has_no_body(with.status());
  write_head(with, text.size(), has_body);
  if (head_only || !has_body) return true;
  body_sent_ = text.size();
  out_ += text;
  return true;
}

task<> session::answer(response& with, bool head_only) {
  auto& body = with.body();
  const bool has_body = !has_no_body(with.status());
  std::string_view text;
  if (const auto* own = std::get_if<std::string>(&body)) text = *own;
  if (const auto* constant = std::get_if<std::string_view>(&body)) text = *constant;
  std::optional<std::uint64_t> length = text.size();
  auto* file = std::get_if<response::file_part>(&body);
  auto* stream = std::get_if<response::stream_part>(&body);
  if (file != nullptr) length = file->length;
  if (stream != nullptr) length = stream->length;
  write_head(with, length, has_body);
  if (head_only || !has_body) co_return;
  if (file != nullptr) co_return co_await send_file(*file);
  if (stream != nullptr) co_return co_await send_stream(*stream);
  body_sent_ = text.size();
  co_await send(bytes_of(text));
}

/// Whether the connection takes a file's bytes without a copy. (It does not with TLS.)
bool session::takes_files() {
  if (!takes_files_) takes_files_ = weir::detail::sends_files(peer_);
  return *takes_files_;
}

/// The length was promised: a file that shrank, or cannot be read, ends the connection and not the
/// answer.
task<> session::send_file(response::file_part& part) {
  if (part.length == 0) co_return;
  // The head goes with the first of it: little where the rest needs no copy.
  const bool long_and_taken = part.length > file_block && takes_files();
  const auto at_first = long_and_taken ? copied_up_to : file_block;
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(at_first, part.length));
  {
    const auto memory = std::make_unique_for_overwrite<std::byte[]>(size);
    const std::span first(memory.get(), size);
    const auto n = co_await read_block(part.file, part.offset, first);
    co_await send(first.first(n));
    body_sent_ = n;
  }
  const auto rest = part.length - body_sent_;
  if (rest == 0) co_return;
  const auto n = co_await weir::detail::send_file(
      peer_, part.file.handle(), part.offset + body_sent_, rest,
      {.write_timeout = here_.settings.write_timeout, .sent = &body_sent_});
  if (n < rest) ended_early();
}

task<> session::send_stream(response::stream_part& part) {
  body_writer writer(static_cast<detail::body_sink&>(*this));
  co_await part.write(writer);
  if (body_left_.value_or(0) != 0)
    throw std::logic_error("an answer's body is shorter than was said");
  if (!chunked_) co_return;
  out_ += "0\r\n";
  out_ += trailers_;
  out_ += "\r\n";
}

task<> session::write_body(std::span<const std::byte> bytes) {
  if (bytes.empty()) co_return;
  if (body_left_) {
    if (bytes.size() > *body_left_)
      throw std::logic_error("an answer's body is longer than was said");
    *body_left_ -= bytes.size();
  }
  body_sent_ += bytes.size();
  if (chunked_) fmt::format_to(std::back_inserter(out_), "{:x}\r\n", bytes.size());
  co_await send(bytes);
  if (chunked_) out_ += "\r\n";  // goes with what follows
}

void session::add_trailer(std::string_view name, std::string_view value) {
  if (!wire::is_token(name) || !wire::is_field_value(value))
    throw std::invalid_argument("a trailer with a character that it must not have");
  if (chunked_) fmt::format_to(std::back_inserter(trailers_), "{}: {}\r\n", name, value);
}

/// What waits, and these bytes after it, in as few writes as their size allows.
task<> session::send(std::span<const std::byte> bytes) {
  auto rest = bytes.subspan(std::min(bytes.size(), most_at_once));
  const std::array<std::span<const std::byte>, 2> parts = {bytes_of(out_),
                                                           bytes.first(bytes.size() - rest.size())};
  const auto both = std::span<const std::span<const std::byte>>(parts);
  co_await peer_.write_all(out_.empty() ? both.last(1) : both)
      .timeout(here_.settings.write_timeout);
  out_.clear();
  while (!rest.empty()) {
    const auto block = rest.first(std::min(rest.size(), most_at_once));
    co_await peer_.write_all(block).timeout(here_.settings.write_timeout);
    rest = rest.subspan(block.size());
  }
}

task<> session::flush() {
  if (out_.empty()) co_return;
  co_await peer_.write_all(out_).timeout(here_.settings.write_timeout);
  flushed();
}

void session::flushed() {
  out_.clear();
  if (out_.capacity() > copied_up_to) out_.shrink_to_fit();  // an idle connection keeps little
}

/// The last answer, to what was no request.
task<> session::refuse(int status) {
  ++here_.counters.refused_requests;
  keep_alive_ = false;
  auto with = plain_status(status);
  fmt::format_to(std::back_inserter(out_),
                 "HTTP/1.1 {} {}\r\n{}Content-Type: text/plain\r\n"
                 "Content-Length: {}\r\nConnection: close\r\n\r\n",
                 status, reason_phrase(status), here_.date.fields_at(here_.wall_clock()),
                 std::get<std::string>(with.body()).size());
  out_ += std::get<std::string>(with.body());
  body_sent_ = std::get<std::string>(with.body()).size();
  co_await flush();
  note(nullptr, status, here_.owner.now());
}

/// 101, and the connection is no longer ours.
task<> session::take_over(response& with, const request& asked) {
  auto out = std::back_inserter(out_);
  fmt::format_to(out, "HTTP/1.1 101 {}\r\nServer: weir\r\nConnection: Upgrade\r\n",
                 reason_phrase(101));
  for (const auto& [name, value] : with.fields()) fmt::format_to(out, "{}: {}\r\n", name, value);
  out_ += "\r\n";
  body_sent_ = 0;
  std::exception_ptr failure;
  try {
    co_await flush();
    std::string early(reinterpret_cast<const char*>(unread_.data()), unread_.size());
    co_await std::get<response::takeover>(with.body())(peer_, std::move(early));
  } catch (const io_error& error) {
    if (error.code() != std::errc::operation_canceled) ++here_.counters.failed_upgrades;
  } catch (...) {
    ++here_.counters.failed_upgrades;
    failure = std::current_exception();
  }
  if (failure && here_.on_failure) here_.on_failure(failure, asked);
  note(&asked, 101, head_taken_);
}

void session::note(const request* asked, int status, instant begun) {
  if (!here_.on_access) return;
  here_.on_access({asked, remote_, status, body_sent_, here_.owner.now() - begun});
}

}  // namespace weir::http

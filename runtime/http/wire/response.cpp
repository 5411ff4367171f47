// See response.hpp.
#include "runtime/http/wire/response.hpp"

#include <time.h>

#include <array>
#include <iterator>

#include <fmt/format.h>

#include "weir/http/message.hpp"

namespace weir::http::wire {

std::string_view date_cache::at(std::int64_t now) {
  constexpr std::size_t before = std::string_view("Server: weir\r\nDate: ").size();
  auto text = fields_at(now).substr(before);
  return text.substr(0, text.size() - 2);
}

std::string_view date_cache::fields_at(std::int64_t now) {
  if (now == written_) return text_;
  static constexpr std::array days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  auto seconds = static_cast<time_t>(now);
  tm parts{};
  gmtime_r(&seconds, &parts);
  text_.clear();
  fmt::format_to(std::back_inserter(text_),
                 "Server: weir\r\nDate: {}, {:02} {} {:04} {:02}:{:02}:{:02} GMT\r\n",
                 days[static_cast<std::size_t>(parts.tm_wday)], parts.tm_mday,
                 months[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900,
                 parts.tm_hour, parts.tm_min, parts.tm_sec);
  written_ = now;
  return text_;
}

void response_writer::add_head(const response& what, std::int64_t now) {
  auto from = text_.size();
  auto out = std::back_inserter(text_);
  fmt::format_to(out, "HTTP/1.1 {} {}\r\n{}Content-Type: {}\r\nContent-Length: {}\r\n", what.status,
                 reason_phrase(what.status), date_.fields_at(now), what.content_type,
                 what.body.empty() ? what.content_length : what.body.size());
  if (!what.location.empty()) fmt::format_to(out, "Location: {}\r\n", what.location);
  text_ += what.fields;
  if (what.status == 405) text_ += "Allow: GET, HEAD\r\n";  // RFC 9110 15.5.6
  if (!what.keep_alive) text_ += "Connection: close\r\n";
  if (what.keep_alive && what.minor_version == 0) text_ += "Connection: keep-alive\r\n";
  text_ += "\r\n";
  note_text(from);
}

void response_writer::add(const response& what, std::int64_t now) {
  add_head(what, now);
  if (!what.send_body || what.body.empty()) return;
  if (what.body.size() > copied_up_to) {
    pieces_.push_back({what.body, 0, 0});
    return;
  }
  auto from = text_.size();
  text_ += what.body;
  note_text(from);
}

void response_writer::add_status(int status, response like, std::int64_t now) {
  std::array<char, 64> line;
  auto end = fmt::format_to_n(line.data(), line.size(), "{} {}\n", status, reason_phrase(status));
  like.status = status;
  like.body = {line.data(), end.size};  // short enough to be copied
  add(like, now);
}

void response_writer::note_text(std::size_t from) {
  if (!pieces_.empty() && pieces_.back().external.empty() && pieces_.back().to == from)
    pieces_.back().to = text_.size();
  else
    pieces_.push_back({{}, from, text_.size()});
}

std::span<const std::span<const std::byte>> response_writer::parts() {
  parts_.clear();
  for (auto& p : pieces_) {
    auto text =
        p.external.empty() ? std::string_view(text_).substr(p.from, p.to - p.from) : p.external;
    parts_.push_back(std::as_bytes(std::span(text)));
  }
  return parts_;
}

void response_writer::clear() {
  text_.clear();
  pieces_.clear();
}

}  // namespace weir::http::wire

// Server-sent events (weir/http/events.hpp).
#include "weir/http/events.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace weir::http {
namespace {

bool is_one_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

}  // namespace

std::string event_text(const server_event& what) {
  if (!is_one_line(what.name) || !is_one_line(what.id))
    throw std::invalid_argument("an event's name or id with a line end in it");
  std::string out;
  auto to = std::back_inserter(out);
  if (!what.name.empty()) fmt::format_to(to, "event: {}\n", what.name);
  if (!what.id.empty()) fmt::format_to(to, "id: {}\n", what.id);
  if (what.retry)
    fmt::format_to(to, "retry: {}\n",
                   std::chrono::duration_cast<std::chrono::milliseconds>(*what.retry).count());
  auto rest = what.data;
  for (bool more = !rest.empty(); more;) {
    // Each of the three line ends begins another data line; a bare CR would begin a field.
    const auto end = std::min(rest.find_first_of("\r\n"), rest.size());
    fmt::format_to(to, "data: {}\n", rest.substr(0, end));
    more = end < rest.size();
    if (more) rest.remove_prefix(end + (rest.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  if (out.empty()) throw std::invalid_argument("an event of nothing");
  return out += '\n';
}

task<> event_writer::send(const server_event& what) {
  const auto text = event_text(what);
  co_await to_->write(text);
}

task<> event_writer::keep_alive() { return to_->write(":\n\n"); }

response event_stream(std::function<task<>(event_writer&)> tell) {
  response out;
  out.field("Content-Type", "text/event-stream").field("Cache-Control", "no-store");
  out.body([tell = std::move(tell)](body_writer& to) -> task<> {
    event_writer events(to);
    co_await tell(events);
  });
  return out;
}

}  // namespace weir::http

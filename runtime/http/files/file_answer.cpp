// Files as answers: validators, conditions, ranges (weir/http/files.hpp).
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "runtime/http/coding/coding.hpp"
#include "runtime/http/wire/response.hpp"
#include "weir/http/files.hpp"

namespace weir::http {
namespace {

/// RFC 9110 8.8.3.2: whether an entity tag, or "*", is in a list. `strong`: weak tags never match.
bool tag_matches(std::string_view list, std::string_view tag, bool strong) {
  while (!list.empty()) {
    const auto first = list.find_first_not_of(" \t,");
    if (first == std::string_view::npos) return false;
    list.remove_prefix(first);
    if (list.front() == '*') return true;
    const bool weak = list.starts_with("W/");
    if (weak) list.remove_prefix(2);
    if (!list.starts_with('"')) return false;
    const auto end = list.find('"', 1);
    if (end == std::string_view::npos) return false;
    if (list.substr(0, end + 1) == tag && !(weak && strong)) return true;
    list.remove_prefix(end + 1);
  }
  return false;
}

/// RFC 9110 13.2.2, in its order. 0: the request is carried out.
int failed_condition(const request& asked, const file_root::opened& file) {
  const auto date_of = [&](std::string_view name) { return read_http_date(asked.field(name)); };
  if (asked.has_field("if-match")) {
    if (!tag_matches(asked.field("if-match"), file.tag, true)) return 412;
  } else if (const auto since = date_of("if-unmodified-since"); since && file.modified > *since) {
    return 412;
  }
  if (asked.has_field("if-none-match")) {
    if (tag_matches(asked.field("if-none-match"), file.tag, false)) return 304;
  } else if (const auto since = date_of("if-modified-since"); since && file.modified <= *since) {
    return 304;
  }
  return 0;
}

/// RFC 9110 13.1.5: a range counts only for the content that the client has a part of.
bool range_counts(const request& asked, const file_root::opened& file) {
  const auto condition = asked.field("if-range");
  if (condition.empty()) return true;
  if (condition.front() == '"') return condition == file.tag;
  const auto date = read_http_date(condition);
  return date && *date == file.modified;
}

bool read_number(std::string_view text, std::uint64_t& into) {
  const auto* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, into);
  return error == std::errc() && at == end;
}

}  // namespace

std::string http_date(std::int64_t seconds_since_1970) {
  wire::date_cache date;
  return std::string(date.at(seconds_since_1970));
}

std::optional<std::int64_t> read_http_date(std::string_view text) {
  // RFC 9110 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT". strptime() would follow the locale.
  if (text.size() != 29 || text.substr(3, 2) != ", " || !text.ends_with(" GMT"))
    return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t length, int& into) {
    std::uint64_t value = 0;
    if (!read_number(text.substr(at, length), value)) return false;
    into = static_cast<int>(value);
    return true;
  };
  tm parts{};
  const auto month =
      std::string_view("JanFebMarAprMayJunJulAugSepOctNovDec").find(text.substr(8, 3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  parts.tm_mon = static_cast<int>(month / 3);
  if (!number(5, 2, parts.tm_mday) || !number(12, 4, parts.tm_year) ||
      !number(17, 2, parts.tm_hour) || !number(20, 2, parts.tm_min) || !number(23, 2, parts.tm_sec))
    return std::nullopt;
  parts.tm_year -= 1900;
  return static_cast<std::int64_t>(::timegm(&parts));
}

byte_range read_range(std::string_view range, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  if (!range.starts_with(unit)) return {};
  range.remove_prefix(unit.size());
  const auto dash = range.find('-');
  if (dash == std::string_view::npos || range.find(',') != std::string_view::npos) return {};
  const auto from = range.substr(0, dash), to = range.substr(dash + 1);
  std::uint64_t first = 0, last = 0;
  if (from.empty()) {  // the last so many
    if (!read_number(to, last)) return {};
    if (last == 0 || size == 0) return {byte_range::kind::unsatisfiable};
    last = std::min(last, size);
    return {byte_range::kind::part, size - last, last};
  }
  if (!read_number(from, first)) return {};
  if (!to.empty() && (!read_number(to, last) || last < first)) return {};
  if (first >= size) return {byte_range::kind::unsatisfiable};
  last = to.empty() ? size - 1 : std::min(last, size - 1);
  return {byte_range::kind::part, first, last - first + 1};
}

/// False: the disk has to be asked.
bool file_root::prefer_compressed(const request& asked, const file_path& path, opened& file,
                                  response& out, bool now) const {
  if (!settings_.precompressed || path.segments.empty() || path.is_folder) return true;
  out.field("Vary", "Accept-Encoding");
  for (const auto one : preferred(asked.fields())) {
    if (one == coding::identity) continue;
    auto sibling = path;
    sibling.segments.back() += one == coding::zstd ? ".zst" : ".gz";
    opened compressed;
    const auto what = now ? open_now(sibling, compressed) : open(sibling, compressed);
    if (what == found::unknown) return false;
    if (what != found::file) continue;
    file = std::move(compressed);
    out.field("Content-Encoding", name(one));
    break;
  }
  return true;
}

response file_root::answer(const request& asked) { return *answer(asked, false); }
std::optional<response> file_root::answer_now(const request& asked) { return answer(asked, true); }

std::optional<response> file_root::answer(const request& asked, bool now) {
  if (asked.method() != method::get && asked.method() != method::head) {
    auto refused = plain_status(405);
    refused.field("Allow", "GET, HEAD");
    return refused;
  }
  const auto path = take_apart(asked.path());
  opened file;
  const auto what = !path ? found::nothing : now ? open_now(*path, file) : open(*path, file);
  if (what == found::unknown) return std::nullopt;
  if (what == found::nothing) return plain_status(404);
  if (what == found::exhausted) {
    ++exhausted_;
    return plain_status(503);
  }
  if (what == found::folder)
    return redirect(301, path->normal() + "/" + std::string(asked.query()));

  response out;
  const bool index = path->is_folder || path->segments.empty();
  const auto type = content_type_of(index ? ".html" : path->segments.back());
  if (!prefer_compressed(asked, *path, file, out, now)) return std::nullopt;
  const int failed = failed_condition(asked, file);
  if (failed == 412) return plain_status(412);
  out.field("ETag", file.tag).field("Last-Modified", http_date(file.modified));
  if (failed != 0) {
    out.status(failed);
    return out;
  }
  out.field("Accept-Ranges", "bytes");
  byte_range part;
  if (asked.method() == method::get && range_counts(asked, file))
    part = read_range(asked.field("range"), file.size);
  if (part.what == byte_range::kind::unsatisfiable) {
    auto refused = plain_status(416);
    refused.field("Content-Range", fmt::format("bytes */{}", file.size));
    return refused;
  }
  out.field("Content-Type", type);
  if (part.what == byte_range::kind::whole) {
    part.length = file.size;
  } else {
    out.status(206).field("Content-Range", fmt::format("bytes {}-{}/{}", part.first,
                                                       part.first + part.length - 1, file.size));
  }
  out.body(response::file_part{std::move(file.file), part.first, part.length});
  return out;
}

}  // namespace weir::http

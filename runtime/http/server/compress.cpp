// Compressing answers (compress.hpp).
#include "runtime/http/server/compress.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/http/files/file_block.hpp"
#include "weir/error.hpp"
#include "weir/timing.hpp"

namespace weir::http {
namespace {

constexpr std::size_t at_once = 64 * 1024;  // bytes that are compressed without another's turn
constexpr std::size_t enough = 16 * 1024;   // of what came of them, to be written

/// What gains by it: text, and the formats that are made of text.
bool is_compressible(std::string_view type) {
  type = type.substr(0, std::min(type.find(';'), type.size()));
  while (type.ends_with(' ')) type.remove_suffix(1);
  const auto is = [&](std::string_view other) { return equals_ignoring_case(type, other); };
  const auto under = [&](std::string_view start) {
    return type.size() > start.size() && equals_ignoring_case(type.substr(0, start.size()), start);
  };
  const auto ends = [&](std::string_view end) {
    return type.size() > end.size() &&
           equals_ignoring_case(type.substr(type.size() - end.size()), end);
  };
  if (is("text/event-stream")) return false;  // small pieces, each at once
  return under("text/") || ends("+json") || ends("+xml") || is("application/json") ||
         is("application/javascript") || is("application/xml") || is("application/wasm") ||
         is("image/bmp") || is("application/manifest+json");
}

std::optional<std::uint64_t> length_of(response::any_body& body) {
  if (const auto* own = std::get_if<std::string>(&body)) return own->size();
  if (const auto* constant = std::get_if<std::string_view>(&body)) return constant->size();
  if (const auto* file = std::get_if<response::file_part>(&body)) return file->length;
  return std::get<response::stream_part>(body).length;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string_view text_of(const response::any_body& body) {
  if (const auto* own = std::get_if<std::string>(&body)) return *own;
  if (const auto* constant = std::get_if<std::string_view>(&body)) return *constant;
  return {};
}

/// A body that is compressed while it is sent. Each write of its producer reaches the client, as it
/// would uncompressed.
class encoded_body final : public detail::body_sink {
 public:
  encoded_body(compressor::lease by, response::any_body from)
      : by_(std::move(by)), from_(std::move(from)) {}

  task<> write(body_writer& to) {
    to_ = &to;
    if (auto* file = std::get_if<response::file_part>(&from_)) {
      co_await write_file(*file);
    } else if (auto* stream = std::get_if<response::stream_part>(&from_)) {
      left_ = stream->length;
      body_writer through(static_cast<detail::body_sink&>(*this));
      co_await stream->write(through);
      if (left_.value_or(0) != 0)
        throw std::logic_error("an answer's body is shorter than was said");
    } else {
      co_await add(bytes_of(text_of(from_)), encoder::then::more);
    }
    by_->add({}, encoder::then::end, out_);
    co_await to.write(out_);
  }

 private:
  task<> write_body(std::span<const std::byte> bytes) override {
    if (left_) {
      if (bytes.size() > *left_) throw std::logic_error("an answer's body is longer than was said");
      *left_ -= bytes.size();
    }
    co_await add(bytes, encoder::then::all);
  }
  void add_trailer(std::string_view name, std::string_view value) override {
    to_->trailer(name, value);
  }

  task<> add(std::span<const std::byte> bytes, encoder::then at_the_end) {
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min(bytes.size(), at_once));
      bytes = bytes.subspan(piece.size());
      by_->add(piece, bytes.empty() ? at_the_end : encoder::then::more, out_);
      if (!bytes.empty()) co_await yield();
      if (out_.size() < enough && at_the_end != encoder::then::all) continue;
      co_await to_->write(out_);
      out_.clear();
    }
  }

  task<> write_file(response::file_part& part) {
    std::vector<std::byte> block(std::min<std::uint64_t>(at_once, part.length));
    for (std::uint64_t done = 0; done < part.length;) {
      const auto want = std::min<std::uint64_t>(block.size(), part.length - done);
      const auto room = std::span(block).first(static_cast<std::size_t>(want));
      const auto n = co_await read_block(part.file, part.offset + done, room);
      co_await add(std::span<const std::byte>(block).first(n), encoder::then::more);
      done += n;
      co_await yield();
    }
  }

  compressor::lease by_;
  response::any_body from_;
  body_writer* to_ = nullptr;
  std::optional<std::uint64_t> left_;
  std::string out_;
};

}  // namespace

compressor::compressor(const server_settings& settings, server_counters& counters)
    : settings_(settings), counters_(counters) {
  if (settings.compress && known_codings().empty())
    throw config_error("http.compress: weir was built without zlib and libzstd");
}

compressor::lease::lease(lease&& other) noexcept
    : from_(std::exchange(other.from_, nullptr)), what_(other.what_), one_(std::move(other.one_)) {}

compressor::lease::~lease() {
  if (one_ == nullptr) return;
  --from_->out_;
  from_->kept_[static_cast<std::size_t>(what_)] = std::move(one_);
}

compressor::lease compressor::take(coding what) {
  if (out_ >= settings_.compress_at_once) return {};
  auto one = std::move(kept_[static_cast<std::size_t>(what)]);
  if (one == nullptr)
    one = encoder::make(what);
  else
    one->begin();
  ++out_;
  return {*this, what, std::move(one)};
}

/// Not what is encoded already, is a part, must stay as it is (RFC 9110 7.7), or would gain little.
bool compressor::wants(const response& with) const {
  const int status = with.status();
  if (status != 200 && status != 403 && status != 404) return false;
  return is_compressible(with.field("content-type")) && with.field("content-encoding").empty() &&
         with.field("content-range").empty() &&
         !list_contains(with.field("cache-control"), "no-transform");
}

void compressor::apply(const request& asked, response& with) {
  if (!settings_.compress) return;
  auto& body = with.body();
  if (with.status() == 304) {
    // The tag of what the client has, which was compressed.
    const auto tag = std::string(with.field("etag"));
    if (tag.starts_with('"') &&
        asked.field("if-none-match").find("W/" + tag) != std::string_view::npos)
      with.replace("ETag", "W/" + tag);
    return;
  }
  if (std::holds_alternative<response::takeover>(body) || !wants(with)) return;
  const auto length = length_of(body);
  if (length && *length < settings_.compress_least) return;
  if (!list_contains(with.field("vary"), "accept-encoding")) with.field("Vary", "Accept-Encoding");
  const auto what = negotiate(asked.fields());
  if (what == coding::identity) return;
  auto by = take(what);
  if (!by) {
    ++counters_.uncompressed;
    return;
  }
  const bool whole = !text_of(body).empty() && *length <= at_once;
  if (whole && asked.method() != method::head) {
    std::string made;
    by->add(bytes_of(text_of(body)), encoder::then::end, made);
    if (made.size() >= *length) return;
    with.body(std::move(made));
  } else {
    auto made = std::make_shared<encoded_body>(std::move(by), std::move(body));
    with.body([made](body_writer& to) { return made->write(to); });
  }
  ++counters_.compressed;
  with.field("Content-Encoding", name(what));
  with.remove("Accept-Ranges");
  // RFC 9110 8.8.1: other bytes, so not the same for a strong comparison.
  if (with.field("etag").starts_with('"'))
    with.replace("ETag", "W/" + std::string(with.field("etag")));
}

}  // namespace weir::http

// Which codings there are, and which is asked for (coding.hpp).
#include "runtime/http/coding/coding.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace weir::http {
namespace {

#if WEIR_HTTP_WITH_GZIP
constexpr bool with_gzip = true;
#else
constexpr bool with_gzip = false;
#endif
#if WEIR_HTTP_WITH_ZSTD
constexpr bool with_zstd = true;
#else
constexpr bool with_zstd = false;
#endif

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// RFC 9110 12.4.2, in thousandths; nothing for what is no weight.
std::optional<unsigned> read_weight(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return std::nullopt;
  unsigned out = text[0] == '1' ? 1000 : 0;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  unsigned scale = 100;
  for (const char c : text.substr(std::min<std::size_t>(text.size(), 2))) {
    if (c < '0' || c > '9') return std::nullopt;
    out += static_cast<unsigned>(c - '0') * scale;
    scale /= 10;
  }
  return out <= 1000 ? std::optional(out) : std::nullopt;
}

/// What a client says of each coding; nothing: not a word.
struct wishes {
  std::optional<unsigned> gzip, zstd, identity, others;

  void note(std::string_view element) {
    const auto semicolon = element.find(';');
    const auto named = trimmed(element.substr(0, semicolon));
    unsigned weight = 1000;
    if (semicolon != std::string_view::npos) {
      const auto parameter = trimmed(element.substr(semicolon + 1));
      const bool is_weight = parameter.size() > 2 && (parameter[0] == 'q' || parameter[0] == 'Q') &&
                             parameter[1] == '=';
      const auto read = is_weight ? read_weight(parameter.substr(2)) : std::nullopt;
      if (!read) return;  // malformed: as if it were not there
      weight = *read;
    }
    if (equals_ignoring_case(named, "gzip") || equals_ignoring_case(named, "x-gzip"))
      gzip = weight;
    else if (equals_ignoring_case(named, "zstd"))
      zstd = weight;
    else if (equals_ignoring_case(named, "identity"))
      identity = weight;
    else if (named == "*")
      others = weight;
  }
};

[[noreturn]] void not_built_in() { throw std::logic_error("a content coding that is not there"); }

}  // namespace

std::string_view name(coding what) {
  static constexpr std::array<std::string_view, 3> names = {"identity", "gzip", "zstd"};
  return names[static_cast<std::size_t>(what)];
}

bool knows(coding what) {
  return what == coding::identity || (what == coding::gzip ? with_gzip : with_zstd);
}

std::string_view known_codings() {
  if (with_gzip && with_zstd) return "zstd, gzip";
  return with_gzip ? "gzip" : with_zstd ? "zstd" : "";
}

std::optional<coding> read_coding(std::string_view content_encoding) {
  for (const auto one : {coding::gzip, coding::zstd})
    if (knows(one) && equals_ignoring_case(content_encoding, name(one))) return one;
  if (with_gzip && equals_ignoring_case(content_encoding, "x-gzip")) return coding::gzip;
  return std::nullopt;
}

std::array<coding, 2> preferred(std::span<const field> fields) {
  wishes said;
  for (const auto& f : fields) {
    if (!equals_ignoring_case(f.name, "accept-encoding")) continue;
    for (auto rest = f.value; !rest.empty();) {
      const auto comma = std::min(rest.find(','), rest.size());
      said.note(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  const auto zstd = said.zstd.value_or(said.others.value_or(0));
  const auto gzip = said.gzip.value_or(said.others.value_or(0));
  const auto usable = [&](coding one, unsigned weight) {
    return weight != 0 && weight >= said.identity.value_or(0) ? one : coding::identity;
  };
  std::array out = {usable(coding::zstd, zstd), usable(coding::gzip, gzip)};
  if (gzip > zstd) std::swap(out[0], out[1]);
  return out;
}

coding negotiate(std::span<const field> fields) {
  for (const auto one : preferred(fields))
    if (one != coding::identity && knows(one)) return one;
  return coding::identity;
}

std::unique_ptr<encoder> encoder::make([[maybe_unused]] coding what) {
#if WEIR_HTTP_WITH_GZIP
  if (what == coding::gzip) return make_gzip_encoder();
#endif
#if WEIR_HTTP_WITH_ZSTD
  if (what == coding::zstd) return make_zstd_encoder();
#endif
  not_built_in();
}

std::unique_ptr<decoder> decoder::make([[maybe_unused]] coding what) {
#if WEIR_HTTP_WITH_GZIP
  if (what == coding::gzip) return make_gzip_decoder();
#endif
#if WEIR_HTTP_WITH_ZSTD
  if (what == coding::zstd) return make_zstd_decoder();
#endif
  not_built_in();
}

}  // namespace weir::http

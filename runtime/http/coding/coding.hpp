// Content codings (RFC 9110 8.4): gzip on zlib and zstd (RFC 8878), whichever was built in, piece
// by piece in both directions, and which of them a client asks for. No I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "weir/http/message.hpp"

namespace weir::http {

enum class coding : std::uint8_t { identity, gzip, zstd };
/// "gzip"
std::string_view name(coding what);
/// Whether it was built in.
bool knows(coding what);
/// Those that were built in, as Accept-Encoding has them; empty: none.
std::string_view known_codings();
/// The one that a Content-Encoding field names alone; nothing for any other, and for several.
std::optional<coding> read_coding(std::string_view content_encoding);
/// RFC 9110 12.5.3: zstd and gzip, built in or not, in the order in which a request's
/// Accept-Encoding fields like them, of equals zstd first; identity in place of one that is not to
/// be used, or liked less than identity.
std::array<coding, 2> preferred(std::span<const field> fields);
/// The coding that a request's Accept-Encoding fields like best, among those that
/// were built in; of equals zstd. Without a field it is identity.
coding negotiate(std::span<const field> fields);

class encoder {
 public:
  /// Throws std::bad_alloc.
  static std::unique_ptr<encoder> make(coding what);
  encoder(const encoder&) = delete;
  encoder& operator=(const encoder&) = delete;
  virtual ~encoder() = default;

  /// What a decoder must be able to give after this piece: what comes of itself, all, or the end.
  enum class then : std::uint8_t { more, all, end };
  /// Appends to `out`. Throws std::bad_alloc.
  virtual void add(std::span<const std::byte> piece, then what, std::string& out) = 0;
  /// Another content.
  virtual void begin() = 0;

 protected:
  encoder() = default;
};

class decoder {
 public:
  /// Throws std::bad_alloc.
  static std::unique_ptr<decoder> make(coding what);
  decoder(const decoder&) = delete;
  decoder& operator=(const decoder&) = delete;
  virtual ~decoder() = default;

  /// Takes from the front of `in` and fills `into`; gives how much. Nothing: it is malformed.
  virtual std::optional<std::size_t> read(std::span<const std::byte>& in,
                                          std::span<std::byte> into) = 0;
  /// Everything that began has ended: no more has to come.
  virtual bool complete() const = 0;

 protected:
  decoder() = default;
};

std::unique_ptr<encoder> make_gzip_encoder();
std::unique_ptr<decoder> make_gzip_decoder();
std::unique_ptr<encoder> make_zstd_encoder();
std::unique_ptr<decoder> make_zstd_decoder();

}  // namespace weir::http

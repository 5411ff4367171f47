// Between nghttp2 and a connection, a server's or a client's: its callbacks, of which none throws,
// fields as it has them, and bodies on their way.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/sync.hpp"

namespace weir::http {

/// What nghttp2 reports of a connection. Throws std::bad_alloc, which ends that, and nothing else.
class h2_events {
 public:
  /// Its header alone has come.
  virtual void frame_begins(const nghttp2_frame_hd& header) = 0;
  virtual void head_begins(const nghttp2_frame& frame) = 0;
  virtual void field_came(const nghttp2_frame& frame, std::string_view name,
                          std::string_view value) = 0;
  virtual void frame_came(const nghttp2_frame& frame) = 0;
  virtual void data_came(std::int32_t id, std::span<const std::byte> bytes) = 0;
  virtual void stream_closed(std::int32_t id, std::uint32_t why) = 0;
  virtual void frame_went(const nghttp2_frame& frame) = 0;
  /// A head or trailers that were submitted are too large to be sent, or came too late.
  virtual void head_not_sent(const nghttp2_frame& frame) = 0;
  /// The next bytes of a body, with nghttp2's flags for their frame; none: later.
  virtual std::size_t body_goes(std::int32_t id, std::span<std::byte> into,
                                std::uint32_t& flags) = 0;

 protected:
  ~h2_events() = default;
};

/// A body on its way, piece by piece, and the trailers behind it.
struct h2_outgoing {
  /// What a peer has to take of a longer body within the write's time: as much of a connection as
  /// in HTTP/1, and of each stream its share.
  static std::size_t least_taken(std::size_t streams) {
    return 256 * 1024 / std::max<std::size_t>(streams, 1);
  }

  std::size_t give(nghttp2_session& frames, std::int32_t id, std::span<std::byte> into,
                   std::uint32_t& flags);

  std::span<const std::byte> out;
  bool all_given = false;  // nothing comes behind `out`
  bool end_gone = false;   // and that has been said
  std::uint64_t sent = 0;
  std::vector<std::pair<std::string, std::string>> trailers;
  event taken;
};

enum class h2_side : std::uint8_t { server, client };

struct h2_callbacks {
  /// Throws std::bad_alloc. Pings and settings of the peer that wait to be acknowledged are at most
  /// `most_acks`.
  static nghttp2_session* make_session(h2_events& of, h2_side which, std::size_t most_acks);
  /// Whether what nghttp2_session_mem_recv() said is a flood, or more frames wait to go than an
  /// honest peer causes, however slowly it reads. (Each refused request is answered with one, and
  /// nghttp2 has no limit for them.)
  static bool is_flood(nghttp2_session& frames, ssize_t said) {
    constexpr std::size_t most_waiting = 1000;
    return said == NGHTTP2_ERR_FLOODED || said == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ||
           nghttp2_session_get_outbound_queue_size(&frames) > most_waiting;
  }
  /// The next bytes of an answer's body.
  static ssize_t give_body(nghttp2_session*, std::int32_t id, std::uint8_t* into, std::size_t size,
                           std::uint32_t* flags, nghttp2_data_source*, void* self) noexcept;
};

/// Fields to send; their names in lower case, as RFC 9113 8.2 has it.
class h2_fields {
 public:
  void add(std::string_view name, std::string_view value);
  const nghttp2_nv* data() const { return fields_.data(); }
  std::size_t size() const { return fields_.size(); }

 private:
  std::deque<std::string> texts_;
  std::vector<nghttp2_nv> fields_;
};

}  // namespace weir::http

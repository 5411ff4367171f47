// Between nghttp2 and a connection: its callbacks, of which none throws, and fields as it has them.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

class h2_session;

struct h2_callbacks {
  /// Throws std::bad_alloc.
  static nghttp2_session* make_session(h2_session& of, std::size_t most_acks);
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

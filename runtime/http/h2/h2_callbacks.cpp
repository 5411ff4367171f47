// What nghttp2 reports of a connection, handed to its session: frames, header fields, body bytes,
// ends of streams.
#include "runtime/http/h2/h2_callbacks.hpp"

#include <algorithm>
#include <memory>
#include <new>

namespace weir::http {
namespace {

std::string_view text_of(nghttp2_rcbuf* buffer) {
  const auto bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

/// What a callback does for its connection; out of memory ends that.
template <class What>
int guarded(void* self, What what) noexcept {
  try {
    what(*static_cast<h2_events*>(self));
    return 0;
  } catch (const std::bad_alloc&) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
}

}  // namespace

void h2_fields::add(std::string_view name, std::string_view value) {
  auto& own_name = texts_.emplace_back(name);
  for (auto& c : own_name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  auto& own_value = texts_.emplace_back(value);
  fields_.push_back({reinterpret_cast<std::uint8_t*>(own_name.data()),
                     reinterpret_cast<std::uint8_t*>(own_value.data()), own_name.size(),
                     own_value.size(), NGHTTP2_NV_FLAG_NONE});
}

nghttp2_session* h2_callbacks::make_session(h2_events& of, h2_side which, std::size_t most_acks) {
  nghttp2_session_callbacks* to = nullptr;
  if (nghttp2_session_callbacks_new(&to) != 0) throw std::bad_alloc();
  const std::unique_ptr<nghttp2_session_callbacks, decltype(&nghttp2_session_callbacks_del)>
      callbacks(to, &nghttp2_session_callbacks_del);
  nghttp2_session_callbacks_set_on_begin_frame_callback(
      to, [](nghttp2_session*, const nghttp2_frame_hd* header, void* self) noexcept {
        return guarded(self, [&](h2_events& s) { s.frame_begins(*header); });
      });
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      to, [](nghttp2_session*, const nghttp2_frame* frame, void* self) noexcept {
        return guarded(self, [&](h2_events& s) { s.head_begins(*frame); });
      });
  nghttp2_session_callbacks_set_on_header_callback2(
      to, [](nghttp2_session*, const nghttp2_frame* frame, nghttp2_rcbuf* name,
             nghttp2_rcbuf* value, std::uint8_t, void* self) noexcept {
        return guarded(self,
                       [&](h2_events& s) { s.field_came(*frame, text_of(name), text_of(value)); });
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      to, [](nghttp2_session*, const nghttp2_frame* frame, void* self) noexcept {
        return guarded(self, [&](h2_events& s) { s.frame_came(*frame); });
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      to, [](nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
             std::size_t size, void* self) noexcept {
        return guarded(self, [&](h2_events& s) {
          s.data_came(id, {reinterpret_cast<const std::byte*>(data), size});
        });
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      to, [](nghttp2_session*, std::int32_t id, std::uint32_t why, void* self) noexcept {
        return guarded(self, [&](h2_events& s) { s.stream_closed(id, why); });
      });
  nghttp2_session_callbacks_set_on_frame_send_callback(
      to, [](nghttp2_session*, const nghttp2_frame* frame, void* self) noexcept {
        return guarded(self, [&](h2_events& s) { s.frame_went(*frame); });
      });
  nghttp2_session_callbacks_set_on_frame_not_send_callback(
      to, [](nghttp2_session*, const nghttp2_frame* frame, int, void* self) noexcept {
        if (frame->hd.type != NGHTTP2_HEADERS) return 0;
        return guarded(self, [&](h2_events& s) { s.head_not_sent(*frame); });
      });
  nghttp2_option* how = nullptr;
  if (nghttp2_option_new(&how) != 0) throw std::bad_alloc();
  const std::unique_ptr<nghttp2_option, decltype(&nghttp2_option_del)> options(how,
                                                                               &nghttp2_option_del);
  nghttp2_option_set_no_auto_window_update(how, 1);  // as bodies are read
  nghttp2_option_set_no_closed_streams(how, 1);
  nghttp2_option_set_max_outbound_ack(how, most_acks);
  nghttp2_option_set_max_continuations(how, 8);
  nghttp2_option_set_stream_reset_rate_limit(how, 200, 33);  // at once, and a second
  nghttp2_session* made = nullptr;
  const auto make =
      which == h2_side::server ? &nghttp2_session_server_new2 : &nghttp2_session_client_new2;
  if (make(&made, to, &of, how) != 0) throw std::bad_alloc();
  return made;
}

std::size_t h2_outgoing::give(nghttp2_session& frames, std::int32_t id, std::span<std::byte> into,
                              std::uint32_t& flags) {
  const auto n = std::min(into.size(), out.size());
  std::copy_n(out.begin(), n, into.begin());
  out = out.subspan(n);
  sent += n;
  if (!out.empty()) return n;
  if (all_given) {
    flags |= NGHTTP2_DATA_FLAG_EOF;
    end_gone = true;
    if (!trailers.empty()) {
      flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      h2_fields last;
      for (const auto& [name, value] : trailers) last.add(name, value);
      nghttp2_submit_trailer(&frames, id, last.data(), last.size());
    }
  }
  taken.set();
  return n;
}

ssize_t h2_callbacks::give_body(nghttp2_session*, std::int32_t id, std::uint8_t* into,
                                std::size_t size, std::uint32_t* flags, nghttp2_data_source*,
                                void* self) noexcept {
  std::size_t n = 0;
  const int error = guarded(self, [&](h2_events& s) {
    n = s.body_goes(id, {reinterpret_cast<std::byte*>(into), size}, *flags);
  });
  if (error != 0) return error;
  const bool end = (*flags & NGHTTP2_DATA_FLAG_EOF) != 0;
  return n == 0 && !end ? static_cast<ssize_t>(NGHTTP2_ERR_DEFERRED) : static_cast<ssize_t>(n);
}

}  // namespace weir::http

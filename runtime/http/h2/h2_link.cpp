// A client's HTTP/2 connection (h2_link.hpp).
#include "runtime/http/h2/h2_link.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "runtime/http/h2/h2_exchange.hpp"
#include "weir/error.hpp"

namespace weir::http::detail {

h2_link::h2_link(any_stream stream, const client_settings& settings,
                 const std::shared_ptr<client_origin>& origin)
    : stream_(std::move(stream)), settings_(settings), origin_(origin) {
  frames_ = h2_callbacks::make_session(*this, h2_side::client, most_acks);
  const std::array<nghttp2_settings_entry, 3> said = {{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(window)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<std::uint32_t>(std::min<std::size_t>(settings.max_head, UINT32_MAX))},
  }};
  nghttp2_submit_settings(frames_, NGHTTP2_FLAG_NONE, said.data(), said.size());
  // Of the connection: each answer's own window bounds what is unread.
  nghttp2_session_set_local_window_size(frames_, NGHTTP2_FLAG_NONE, 0, 16 * window);
}

h2_link::~h2_link() { nghttp2_session_del(frames_); }

void h2_link::start(scope& tasks) {
  kick();
  if (!tasks.spawn(run(shared_from_this())))
    end(std::make_error_code(std::errc::operation_canceled));
}

bool h2_link::usable() const {
  return !leaving_ && !ended_ && nghttp2_session_check_request_allowed(frames_) != 0;
}

std::size_t h2_link::most() const {
  const auto said =
      nghttp2_session_get_remote_settings(frames_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return std::min<std::size_t>(said, most_calls);
}

void h2_link::end_when_idle() {
  if (!std::exchange(leaving_, true) && !ended_)
    nghttp2_submit_goaway(frames_, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  kick();
}

void h2_link::add(std::int32_t id, h2_exchange& call) {
  had_requests_ = true;
  calls_.emplace(id, &call);
  kick();
}

void h2_link::forget(std::int32_t id) {
  if (calls_.erase(id) == 0) return;
  if (!ended_) nghttp2_submit_rst_stream(frames_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  changed_.set();
  kick();
}

void h2_link::consumed(std::int32_t id, std::size_t bytes) {
  if (ended_ || id < 0) return;
  nghttp2_session_consume_stream(frames_, id, bytes);
  kick();
}

/// Nothing more will come or go that somebody waits for.
bool h2_link::over() const {
  return ended_ || (calls_.empty() && (leaving_ || nghttp2_session_want_read(frames_) == 0 ||
                                       nghttp2_session_check_request_allowed(frames_) == 0));
}

/// Whoever waits for an answer learns it.
void h2_link::end(std::error_code why) {
  if (std::exchange(ended_, true)) return;
  failure_ = why;
  while (!calls_.empty()) {
    auto* call = calls_.begin()->second;
    calls_.erase(calls_.begin());
    call->closed(NGHTTP2_NO_ERROR, why);
  }
  changed_.set();
  kick();
  if (auto origin = origin_.lock()) {
    if (origin->link.get() == this) origin->link.reset();
    origin->permits.release();
  }
}

// --- What comes.

task<> h2_link::run(std::shared_ptr<h2_link> self) {
  scope reading(self->owner());
  reading.on_failure([](const std::exception_ptr&) {});
  reading.spawn(self->read_loop());
  co_await self->write_loop();
  reading.cancel();
  co_await reading.join();
  if (self->broken_) self->stream_.abort();
}

task<> h2_link::read_loop() {
  auto why = make_error_code(error::end_of_stream);
  while (!over()) {
    auto got = co_await stream_.receive().timeout(settings_.idle_timeout).nothrow();
    if (!got && got.error() == std::errc::timed_out) {
      if (calls_.empty()) end_when_idle();
      continue;  // each request has a limit of its own
    }
    if (!got) why = got.error();
    if (!got || !*got) break;
    const auto bytes = got->bytes();
    const auto taken = nghttp2_session_mem_recv(
        frames_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    kick();
    const bool flooded = h2_callbacks::is_flood(*frames_, taken);
    if (taken >= 0 && !flooded) continue;
    why = std::make_error_code(std::errc::protocol_error);
    nghttp2_session_terminate_session(frames_,
                                      flooded ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
    break;
  }
  end(why);
}

h2_exchange* h2_link::find(std::int32_t id) const {
  const auto found = calls_.find(id);
  return found == calls_.end() ? nullptr : found->second;
}

void h2_link::head_begins(const nghttp2_frame& frame) {
  if (auto* call = find(frame.hd.stream_id)) call->head_begins();
}

void h2_link::field_came(const nghttp2_frame& frame, std::string_view name,
                         std::string_view value) {
  if (auto* call = find(frame.hd.stream_id)) call->field_came(name, value);
}

void h2_link::frame_came(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY || frame.hd.type == NGHTTP2_SETTINGS) changed_.set();
  if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
  auto* call = find(frame.hd.stream_id);
  if (call == nullptr) return;
  const bool last = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (frame.hd.type == NGHTTP2_HEADERS)
    call->head_came(last);
  else if (last)
    call->body_ended();
}

void h2_link::data_came(std::int32_t id, std::span<const std::byte> bytes) {
  nghttp2_session_consume_connection(frames_, bytes.size());
  if (auto* call = find(id))
    call->data_came(bytes);
  else
    nghttp2_session_consume_stream(frames_, id, bytes.size());
}

void h2_link::stream_closed(std::int32_t id, std::uint32_t why) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  auto* call = found->second;
  calls_.erase(found);
  call->closed(why,
               std::make_error_code(why == NGHTTP2_PROTOCOL_ERROR ? std::errc::protocol_error
                                                                  : std::errc::connection_reset));
  changed_.set();
  kick();
}

// --- What goes.

/// A head that cannot be sent has no stream yet, and nghttp2 ends its request; trailers have one.
void h2_link::head_not_sent(const nghttp2_frame& frame) {
  if (frame.headers.cat != NGHTTP2_HCAT_HEADERS || find(frame.hd.stream_id) == nullptr) return;
  nghttp2_submit_rst_stream(frames_, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_INTERNAL_ERROR);
  kick();
}

task<> h2_link::write_loop() {
  for (;;) {
    to_send_.reset();
    for (gather(); !out_.empty(); gather()) {
      const auto done = co_await stream_.write_all(out_).timeout(settings_.write_timeout).nothrow();
      out_.clear();
      if (!done.ec) continue;
      broken_ = true;
      co_return end(done.ec);
    }
    if (out_.capacity() > 4096) out_.shrink_to_fit();
    // Of an error of the server nghttp2 has said goodbye, and wants to read no more.
    if (!calls_.empty() && nghttp2_session_want_read(frames_) == 0)
      end(std::make_error_code(std::errc::protocol_error));
    if (over()) {
      end(make_error_code(error::end_of_stream));
      std::error_code ignored;
      stream_.shutdown_send(ignored);
      co_return;
    }
    const auto error = co_await to_send_.wait().nothrow();
    if (error) co_return end(error);
  }
}

void h2_link::gather() {
  while (out_.size() < most_out) {
    const std::uint8_t* frame = nullptr;
    const auto size = nghttp2_session_mem_send(frames_, &frame);
    if (size <= 0) break;
    out_.append(reinterpret_cast<const char*>(frame), static_cast<std::size_t>(size));
  }
}

std::size_t h2_link::body_goes(std::int32_t id, std::span<std::byte> into, std::uint32_t& flags) {
  auto* call = find(id);
  return call == nullptr ? 0 : call->give(*frames_, id, into, flags);
}

}  // namespace weir::http::detail

namespace weir::http {

task<std::unique_ptr<detail::exchange>> client::state::begin_h2(
    const std::shared_ptr<detail::client_origin>& origin, const url& to,
    std::unique_ptr<detail::client_connection>& opened) {
  for (;;) {
    if (auto link = origin->link; link != nullptr && link->usable()) {
      if (link->size() < link->most()) {
        std::unique_ptr<detail::exchange> out =
            std::make_unique<detail::h2_exchange>(*this, std::move(link), to);
        co_return out;
      }
      link->changed().reset();
      co_await link->changed().wait();
      continue;
    }
    if (origin->speaks_h1) co_return nullptr;
    co_await origin->opening.acquire();
    const detail::permit_guard first(origin->opening);
    if ((origin->link != nullptr && origin->link->usable()) || origin->speaks_h1) continue;
    co_await origin->permits.acquire();
    detail::permit_guard permit(origin->permits);
    auto made = co_await open(to, true);
    if (!made.h2) {
      permit.keep();
      origin->speaks_h1 = true;
      opened = std::make_unique<detail::client_connection>(std::move(made.stream));
      co_return nullptr;
    }
    auto link = std::make_shared<detail::h2_link>(std::move(made.stream), settings, origin);
    permit.keep();
    origin->link = link;
    link->start(links);
  }
}

}  // namespace weir::http

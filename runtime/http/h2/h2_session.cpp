// The connection: what comes, what goes, and its end (h2_session.hpp).
#include "runtime/http/h2/h2_session.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "weir/error.hpp"

namespace weir::http {

h2_session::h2_session(any_stream& peer, server::state& here)
    : peer_(peer),
      here_(here),
      remote_(peer.remote_endpoint()),
      handlers_(here.owner, {.max = most_requests}),
      reading_(here.owner),
      since_(here.owner.now()) {
  handlers_.on_failure([](const std::exception_ptr&) {});  // the client's own; others are served
  reading_.on_failure([](const std::exception_ptr&) {});
  frames_ = h2_callbacks::make_session(*this, h2_side::server, most_acks);
  const std::array<nghttp2_settings_entry, 3> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, most_requests},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(window)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<std::uint32_t>(std::min<std::size_t>(here.settings.max_head, UINT32_MAX))},
  }};
  nghttp2_submit_settings(frames_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  // Of the connection: each request's own window bounds what is unread.
  nghttp2_session_set_local_window_size(frames_, NGHTTP2_FLAG_NONE, 0, 16 * window);
}

h2_session::~h2_session() { nghttp2_session_del(frames_); }

task<> h2_session::run(std::string early) {
  scope sending(here_.owner);
  sending.on_failure([](const std::exception_ptr&) {});
  kick();
  sending.spawn(send_loop());
  if (feed(std::as_bytes(std::span(early)))) {
    reading_.spawn(read_loop());
    co_await reading_.join();
  }
  break_off();
  handlers_.cancel();
  co_await handlers_.join();
  finished_ = true;
  kick();
  co_await sending.join();
  if (broken_) co_return peer_.abort();
  // As of HTTP/1: what still comes is read, or a reset would take the last frames from the client.
  std::error_code ignored;
  peer_.shutdown_send(ignored);
  const auto until = here_.owner.now() + here_.settings.linger;
  while (here_.owner.now() < until) {
    auto got = co_await peer_.receive().timeout(here_.settings.linger_silence).nothrow();
    if (!got || !*got) break;
  }
}

/// Nobody is heard any longer: whoever waits for the client learns it.
void h2_session::break_off() {
  for (auto& [id, stream] : streams_) {
    stream->closed = true;
    stream->came.set();
    stream->taken.set();
  }
}

/// What was asked until now is answered, nothing else.
void h2_session::say_last() {
  if (std::exchange(last_said_, true)) return;
  nghttp2_submit_goaway(frames_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(frames_), NGHTTP2_NO_ERROR, nullptr,
                        0);
  kick();
}

// --- What comes.

task<> h2_session::read_loop() {
  while (!over()) {
    auto got = co_await receive();
    const auto error = got ? std::error_code() : got.error();
    if (error == std::errc::operation_canceled && here_.owner.stop_requested() && !last_said_) {
      say_last();
      continue;
    }
    if (error == std::errc::timed_out) {
      if (time_left() > duration(0)) continue;  // there was something to do meanwhile
      say_last();
    }
    if (error || !*got) break;
    if (!feed(got->bytes())) break;
  }
}

/// For the client to say something. What it is owed has limits of its own.
duration h2_session::time_left() const {
  const auto limit = in_head_ ? here_.settings.head_timeout : here_.settings.idle_timeout;
  const bool busy = !in_head_ && (!streams_.empty() || handlers_.size() != 0);
  if (limit == no_limit) return limit;
  if (busy) return std::max<duration>(limit, std::chrono::seconds(1));
  return std::max(since_ + limit - here_.owner.now(), duration(0));
}

task<result<lent_buffer>> h2_session::receive() {
  auto read = peer_.receive().timeout(time_left());
  if (last_said_) {
    auto got = co_await std::move(read).nothrow();
    co_return got;
  }
  auto got = co_await std::move(read).until_stop().nothrow();
  co_return got;
}

/// False: the connection is over.
bool h2_session::feed(std::span<const std::byte> bytes) {
  const auto taken = nghttp2_session_mem_recv(
      frames_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  kick();
  flooded_ = flooded_ || h2_callbacks::is_flood(*frames_, taken);
  if (taken >= 0 && !misused_ && !flooded_) return true;
  const auto why = flooded_ ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR;
  blame(why);
  nghttp2_session_terminate_session(frames_, why);
  return false;
}

/// Counts a connection that is ended for what its client did, once: whether it was seen here or by
/// nghttp2, which says goodbye by itself (INTERNAL_ERROR: for resets without end).
void h2_session::blame(std::uint32_t why) {
  if (why == NGHTTP2_NO_ERROR || std::exchange(blamed_, true)) return;
  const bool flood = why == NGHTTP2_ENHANCE_YOUR_CALM || why == NGHTTP2_INTERNAL_ERROR;
  ++(flood ? here_.counters.floods : here_.counters.refused_requests);
}

h2_stream* h2_session::find(std::int32_t id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

/// nghttp2 passes over a stream that an earlier one should have been, as if it had been reset.
void h2_session::frame_begins(const nghttp2_frame_hd& header) {
  const auto id = static_cast<std::uint32_t>(header.stream_id);
  if (header.type != NGHTTP2_HEADERS || id % 2 == 0) return;
  if (id < next_id_) {
    misused_ = misused_ || std::any_of(skipped_.begin(), skipped_.end(), [id](const auto& some) {
                 return id >= some.first && id < some.second;
               });
    return;
  }
  if (id != next_id_) {
    if (skipped_.size() == most_skips) skipped_.erase(skipped_.begin());
    skipped_.emplace_back(next_id_, id);
  }
  next_id_ = id + 2;
}

void h2_session::head_begins(const nghttp2_frame& frame) {
  in_head_ = true;
  since_ = here_.owner.now();
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return;
  const auto id = frame.hd.stream_id;
  streams_[id] = std::make_shared<h2_stream>(*this, id);
}

void h2_session::field_came(const nghttp2_frame& frame, std::string_view name,
                            std::string_view value) {
  auto* stream = find(frame.hd.stream_id);
  if (stream == nullptr) return;
  stream->head_bytes += name.size() + value.size() + 32;  // as RFC 9113 6.5.2 counts
  ++stream->head_fields;
  stream->too_long = stream->too_long || stream->head_bytes > here_.settings.max_head ||
                     stream->head_fields > here_.settings.max_fields + 4;
  if (!stream->too_long) stream->add(name, value);
}

void h2_session::frame_came(const nghttp2_frame& frame) {
  since_ = here_.owner.now();
  const bool head = frame.hd.type == NGHTTP2_HEADERS;
  if (head) in_head_ = false;
  if (!head && frame.hd.type != NGHTTP2_DATA) return;
  auto* stream = find(frame.hd.stream_id);
  if (stream == nullptr) return;
  if (!head && frame.hd.length == frame.data.padlen && ++stream->empty > most_empty)
    flooded_ = true;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
    stream->all_came = true;
    stream->came.set();
  }
  if (!head) return;
  // Here, not where its handler begins: everything may have come at once.
  if (!std::exchange(stream->has_head, true))
    request_came(*stream);
  else if (stream->too_long)
    reset(*stream, NGHTTP2_ENHANCE_YOUR_CALM);  // its trailers
}

/// Those whose request was reset run on until they notice: together they are no more than requests
/// may be, or resets would make handlers without end (CVE-2023-44487).
void h2_session::request_came(h2_stream& stream) {
  if (handlers_.size() >= most_requests || !handlers_.spawn(serve(streams_.at(stream.id))))
    reset(stream, NGHTTP2_REFUSED_STREAM);
}

void h2_session::data_came(std::int32_t id, std::span<const std::byte> bytes) {
  nghttp2_session_consume_connection(frames_, bytes.size());
  auto* stream = find(id);
  if (stream == nullptr || bytes.empty()) return;
  stream->came.set();
  if (stream->dropping) return read_on(*stream, bytes.size());
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (stream->pieces.empty() || stream->pieces.back().size() + text.size() > 16 * 1024)
    stream->pieces.emplace_back(text);
  else
    stream->pieces.back() += text;
}

void h2_session::read_on(h2_stream& stream, std::size_t bytes) {
  if (stream.closed) return;
  nghttp2_session_consume_stream(frames_, stream.id, bytes);
  kick();
}

/// 100: the client may send its body.
void h2_session::go_on(h2_stream& stream) {
  h2_fields head;
  head.add(":status", "100");
  nghttp2_submit_headers(frames_, NGHTTP2_FLAG_NONE, stream.id, nullptr, head.data(), head.size(),
                         nullptr);
  kick();
}

void h2_session::stream_closed(std::int32_t id, std::uint32_t) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second->closed = true;
  found->second->came.set();
  found->second->taken.set();
  streams_.erase(found);
  since_ = here_.owner.now();
  kick();
}

// --- What goes.

void h2_session::frame_went(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY) blame(frame.goaway.error_code);
  if (frame.hd.type == NGHTTP2_RST_STREAM && frame.rst_stream.error_code == NGHTTP2_REFUSED_STREAM)
    ++here_.counters.refused_streams;
}

/// Whoever waits for the answer would wait for ever.
void h2_session::head_not_sent(const nghttp2_frame& frame) {
  if (auto* stream = find(frame.hd.stream_id)) reset(*stream, NGHTTP2_INTERNAL_ERROR);
}

task<> h2_session::send_loop() {
  for (;;) {
    to_send_.reset();
    for (gather(); !out_.empty(); gather()) {
      const auto done =
          co_await peer_.write_all(out_).timeout(here_.settings.write_timeout).nothrow();
      out_.clear();
      if (!done.ec) continue;
      if (done.ec == std::errc::timed_out) ++here_.counters.slow_readers;
      broken_ = true;
      break_off();
      reading_.cancel();
      co_return;
    }
    if (out_.capacity() > 4096) out_.shrink_to_fit();  // an idle connection keeps little
    if (over() || nghttp2_session_want_read(frames_) == 0) reading_.cancel();
    if (finished_) co_return;
    const auto error = co_await to_send_.wait().nothrow();
    if (error) co_return;
  }
}

void h2_session::gather() {
  while (out_.size() < most_out) {
    const std::uint8_t* frame = nullptr;
    const auto size = nghttp2_session_mem_send(frames_, &frame);
    if (size <= 0) break;
    out_.append(reinterpret_cast<const char*>(frame), static_cast<std::size_t>(size));
  }
}

std::size_t h2_session::body_goes(std::int32_t id, std::span<std::byte> into,
                                  std::uint32_t& flags) {
  auto* stream = find(id);
  return stream == nullptr ? 0 : stream->give(*frames_, id, into, flags);
}

task<> run_h2(any_stream& peer, server::state& here, std::string early) {
  h2_session conversation(peer, here);
  co_await conversation.run(std::move(early));
}

}  // namespace weir::http

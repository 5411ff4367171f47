// WebSocket: frames, closing, keeping alive (weir/http/websocket.hpp).
#include "weir/http/websocket.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>
#include <utility>

#include "runtime/http/websocket/deflate.hpp"
#include "runtime/http/websocket/websocket_state.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"

namespace weir::http {

namespace detail {
namespace {

constexpr std::size_t longest_reason = 123;  // RFC 6455 5.5

/// RFC 6455 7.4: what may stand in a frame.
bool is_code(std::uint16_t code) {
  if (code >= 3000) return code < 5000;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

}  // namespace

websocket_state::websocket_state(any_stream& stream, side which, const websocket_settings& settings,
                                 bool compress, std::string early)
    : stream_(&stream), settings_(settings), compress_(compress), unread_(std::move(early)) {
  begin(which);
}

websocket_state::websocket_state(any_stream&& own, side which, const websocket_settings& settings,
                                 bool compress, std::string early)
    : own_(std::move(own)),
      stream_(&own_),
      settings_(settings),
      compress_(compress),
      unread_(std::move(early)) {
  begin(which);
}

websocket_state::~websocket_state() { ::wslay_event_context_free(events_); }

void websocket_state::begin(side which) {
  wslay_event_callbacks hooks{};
  hooks.recv_callback = &on_receive;
  hooks.send_callback = &on_send;
  hooks.genmask_callback = &on_mask;
  hooks.on_frame_recv_start_callback = &on_frame_hook;
  hooks.on_msg_recv_callback = &on_message_hook;
  const int failed = which == side::server
                         ? ::wslay_event_context_server_init(&events_, &hooks, this)
                         : ::wslay_event_context_client_init(&events_, &hooks, this);
  if (failed != 0) throw std::bad_alloc();
  if (compress_) ::wslay_event_config_set_allowed_rsv_bits(events_, WSLAY_RSV1_BIT);
  ::wslay_event_config_set_max_recv_msg_length(events_, settings_.max_message);
}

ssize_t websocket_state::on_receive(wslay_event_context_ptr context, std::uint8_t* into,
                                    std::size_t length, int, void* self) {
  auto& me = *static_cast<websocket_state*>(self);
  const auto n = std::min(length, me.unread_.size() - me.taken_);
  if (n == 0) {
    ::wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  std::copy_n(me.unread_.data() + me.taken_, n, into);
  me.taken_ += n;
  return static_cast<ssize_t>(n);
}

ssize_t websocket_state::on_send(wslay_event_context_ptr, const std::uint8_t* data,
                                 std::size_t length, int, void* self) {
  static_cast<websocket_state*>(self)->out_.append(reinterpret_cast<const char*>(data), length);
  return static_cast<ssize_t>(length);
}

/// RFC 6455 10.3: masks that a page cannot foresee.
int websocket_state::on_mask(wslay_event_context_ptr, std::uint8_t* into, std::size_t length,
                             void* self) {
  auto& me = *static_cast<websocket_state*>(self);
  for (std::size_t i = 0; i < length; ++i) into[i] = static_cast<std::uint8_t>(me.masks_());
  return 0;
}

void websocket_state::on_frame_hook(wslay_event_context_ptr,
                                    const wslay_event_on_frame_recv_start_arg* got, void* self) {
  if (!wslay_is_ctrl_frame(got->opcode)) static_cast<websocket_state*>(self)->on_fragment(*got);
}

/// wslay keeps a cell for each fragment of a message: many small ones would cost a hundred times
/// what max_message says.
void websocket_state::on_fragment(const wslay_event_on_frame_recv_start_arg& got) {
  fragments_ = got.opcode == WSLAY_CONTINUATION_FRAME ? fragments_ + 1 : 1;
  if (fragments_ > settings_.max_fragments) say_goodbye(WSLAY_CODE_MESSAGE_TOO_BIG);
}

void websocket_state::on_message_hook(wslay_event_context_ptr,
                                      const wslay_event_on_msg_recv_arg* got, void* self) {
  static_cast<websocket_state*>(self)->on_message(*got);
}

void websocket_state::on_message(const wslay_event_on_msg_recv_arg& got) {
  const auto data = std::string_view(reinterpret_cast<const char*>(got.msg), got.msg_length);
  if (got.opcode == WSLAY_CONNECTION_CLOSE && data.size() >= 2) reason_ = data.substr(2);
  if (wslay_is_ctrl_frame(got.opcode) || !::wslay_event_get_read_enabled(events_)) return;
  waiting made{{got.opcode == WSLAY_TEXT_FRAME, {}}, false};
  if (!wslay_get_rsv1(got.rsv)) {
    made.what.data = data;
  } else {
    bool too_long = false;
    auto inflated = inflate(data, settings_.max_message, too_long);
    if (too_long) return say_goodbye(WSLAY_CODE_MESSAGE_TOO_BIG);
    if (!inflated || (made.what.is_text && !is_utf8(*inflated)))
      return say_goodbye(WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA);
    // One read may bring many that are small until they are inflated: those behind the first are
    // kept as they came, and inflated again when it is their turn.
    made.deflated = !messages_.empty();
    if (made.deflated)
      made.what.data = data;
    else
      made.what.data = std::move(*inflated);
  }
  messages_.push_back(std::move(made));
}

websocket::message websocket_state::next_message() {
  auto first = std::move(messages_.front());
  messages_.pop_front();
  bool too_long = false;
  if (first.deflated) first.what.data = *inflate(first.what.data, settings_.max_message, too_long);
  return std::move(first.what);
}

/// After it nothing more is received.
void websocket_state::say_goodbye(std::uint16_t code, std::string_view reason) {
  reason = reason.substr(0, longest_reason);
  ::wslay_event_queue_close(events_, code, reinterpret_cast<const std::uint8_t*>(reason.data()),
                            reason.size());
  ::wslay_event_shutdown_read(events_);
}

/// Sends what wslay has made. Another coroutine may do the same meanwhile: writes keep their order.
task<> websocket_state::flush() {
  ::wslay_event_send(events_);
  if (out_.empty()) co_return;
  const auto bytes = std::exchange(out_, {});
  const auto done = co_await stream_->write_all(bytes).timeout(settings_.write_timeout).nothrow();
  if (!done.ec) co_return;
  broken_ = true;  // perhaps in the middle of a frame
  throw io_error(done.ec, "websocket");
}

task<> websocket_state::read_more() {
  const auto got =
      co_await stream_->read_some(buffer_).timeout(settings_.ping_after).until_stop().nothrow();
  if (got.ec == std::errc::timed_out) {
    if (std::exchange(pinged_, true)) throw io_error(got.ec, "websocket");
    const wslay_event_msg ping{WSLAY_PING, nullptr, 0};
    ::wslay_event_queue_msg(events_, &ping);
    co_return;
  }
  if (got.ec == std::errc::operation_canceled && stream_->owner().stop_requested()) {
    say_goodbye(WSLAY_CODE_GOING_AWAY);
    co_return;
  }
  if (got.ec) throw io_error(got.ec, "websocket");
  if (got.n == 0) throw io_error(make_error_code(weir::error::end_of_stream), "websocket");
  pinged_ = false;
  take(got.n);
}

task<std::optional<websocket::message>> websocket_state::receive() {
  for (;;) {
    // What is no frame at all is an error here, and has queued a closing without a code.
    if (messages_.empty() && ::wslay_event_recv(events_) == WSLAY_ERR_NOMEM) throw std::bad_alloc();
    co_await flush();
    if (!messages_.empty()) {
      std::optional<websocket::message> first(next_message());
      co_return first;
    }
    if (!::wslay_event_get_read_enabled(events_)) co_return std::nullopt;
    co_await read_more();
  }
}

task<> websocket_state::send(std::uint8_t opcode, std::string_view data) {
  const bool small = !compress_ || data.size() < settings_.compress_from;
  const auto squeezed = small ? std::string() : deflate(data);
  const auto sent = small ? data : std::string_view(squeezed);
  const wslay_event_msg made{opcode, reinterpret_cast<const std::uint8_t*>(sent.data()),
                             sent.size()};
  const int failed =
      ::wslay_event_queue_msg_ex(events_, &made, small ? WSLAY_RSV_NONE : WSLAY_RSV1_BIT);
  if (failed == WSLAY_ERR_NOMEM) throw std::bad_alloc();
  if (failed != 0) throw io_error(std::make_error_code(std::errc::broken_pipe), "websocket");
  co_await flush();
}

task<> websocket_state::close(std::uint16_t code, std::string_view reason) {
  if (!is_code(code)) throw std::invalid_argument("a WebSocket's closing has no such code");
  if (broken_) co_return;
  if (!::wslay_event_get_close_sent(events_)) {
    reason = reason.substr(0, longest_reason);
    ::wslay_event_queue_close(events_, code, reinterpret_cast<const std::uint8_t*>(reason.data()),
                              reason.size());
    co_await flush();
  }
  // RFC 6455 7.1.1: until the peer has ended the connection, or what we said last may not arrive.
  std::error_code ignored;
  stream_->shutdown_send(ignored);
  const auto until = stream_->owner().now() + settings_.close_timeout;
  for (;;) {
    if (::wslay_event_get_read_enabled(events_)) (void)::wslay_event_recv(events_);
    messages_.clear();
    const auto left = std::max(until - stream_->owner().now(), duration(0));
    const auto got = co_await stream_->read_some(buffer_).timeout(left).nothrow();
    if (got.ec || got.n == 0) break;
    take(got.n);
  }
}

void websocket_state::take(std::size_t n) {
  unread_.erase(0, taken_);
  taken_ = 0;
  if (!::wslay_event_get_read_enabled(events_)) return unread_.clear();  // nobody reads it
  unread_.append(reinterpret_cast<const char*>(buffer_.data()), n);
}

}  // namespace detail

websocket::websocket(std::unique_ptr<detail::websocket_state> state) : state_(std::move(state)) {}
websocket::websocket(websocket&&) noexcept = default;
websocket& websocket::operator=(websocket&&) noexcept = default;
websocket::~websocket() = default;

task<std::optional<websocket::message>> websocket::receive() { return state_->receive(); }
task<> websocket::send(std::string_view text) { return state_->send(WSLAY_TEXT_FRAME, text); }
task<> websocket::send_binary(std::span<const std::byte> bytes) {
  return state_->send(WSLAY_BINARY_FRAME,
                      {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}
task<> websocket::close(std::uint16_t code, std::string reason) {
  co_await state_->close(code, reason);
}
std::uint16_t websocket::close_code() const { return state_->close_code(); }
const std::string& websocket::close_reason() const { return state_->close_reason(); }
bool websocket::compressed() const { return state_->compressed(); }

}  // namespace weir::http

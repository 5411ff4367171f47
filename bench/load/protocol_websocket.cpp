// WebSocket as a load speaks it: binary messages of plan::size, which an echo gives back. Frames by
// wslay. Pings are answered; a closing ends the connection.
#include "load/protocol.hpp"

#if WEIR_LOAD_WITH_WEBSOCKET
#include <fmt/format.h>
#include <wslay/wslay.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "pattern.hpp"
#include "runtime/http/wire/response_parser.hpp"
#endif

#include <stdexcept>

namespace weir::load {

#if WEIR_LOAD_WITH_WEBSOCKET
namespace {

using http::wire::response_parser;

// The example of RFC 6455 1.3: the key only shows that the server has read it.
constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

class websocket_protocol : public protocol {
 public:
  websocket_protocol(const plan& of, unsigned connection)
      : authority_(of.to.authority()),
        path_(of.to.path),
        size_(of.size),
        connection_(connection),
        random_(of.seed + connection),
        parser_({}) {
    const wslay_frame_callbacks calls{&websocket_protocol::on_send, &websocket_protocol::on_recv,
                                      &websocket_protocol::on_mask};
    if (wslay_frame_context_init(&frames_, &calls, this) != 0) throw std::bad_alloc();
  }
  ~websocket_protocol() override { wslay_frame_context_free(frames_); }
  websocket_protocol(const websocket_protocol&) = delete;
  websocket_protocol& operator=(const websocket_protocol&) = delete;

  std::string greeting() override {
    parser_.expect(http::method::get);
    return fmt::format(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
        path_, authority_, key);
  }

  void ask(std::string& out) override {
    message_.clear();
    for (std::size_t left = size_; left > 0;) {
      const auto part = pattern().slice(connection_, sent_, left);
      message_.append(part.data(), part.size());
      sent_ += part.size();
      left -= part.size();
    }
    send(WSLAY_BINARY_FRAME, message_, out);
  }

  step feed(std::span<const std::byte>& bytes) override {
    if (!open_) return feed_handshake(bytes);
    input_ = bytes;
    for (;;) {
      wslay_frame_iocb got{};
      const ssize_t n = wslay_frame_recv(frames_, &got);
      if (n == WSLAY_ERR_WANT_READ) break;
      if (n < 0 || got.mask != 0 || got.rsv != 0)
        return {step::kind::broken, answered_, "a frame breaks RFC 6455"};
      const auto result = got.opcode == WSLAY_CONTINUATION_FRAME || got.opcode < 8
                              ? take_data(got)
                              : take_control(got);
      if (result.what == step::kind::more) continue;
      bytes = input_;
      return result;
    }
    bytes = input_;
    return {};
  }

  step end() override {
    if (open_ && partial_ == 0 && answered_ * size_ == sent_) return {};
    return {step::kind::broken, answered_, "ended without a closing"};
  }
  void reply(std::string& out) override {
    out += replies_;
    replies_.clear();
  }

 private:
  static const bench::byte_pattern& pattern() {
    static const bench::byte_pattern made;
    return made;
  }

  step feed_handshake(std::span<const std::byte>& bytes) {
    switch (parser_.feed(bytes)) {
      case response_parser::outcome::more: return {};
      case response_parser::outcome::head: break;
      default: return {step::kind::broken, 0, "the answer is no HTTP/1.1"};
    }
    const auto* proof = http::find_field(parser_.head().fields, "sec-websocket-accept");
    if (parser_.head().status != 101 || proof == nullptr || proof->value != accepted) {
      why_ = fmt::format("status {} in place of a WebSocket", parser_.head().status);
      return {step::kind::broken, 0, why_};
    }
    open_ = true;
    return {step::kind::opened, 0, {}};
  }

  step take_data(const wslay_frame_iocb& got) {
    const std::span<const char> part(reinterpret_cast<const char*>(got.data), got.data_length);
    if (received_ + part.size() > sent_ || partial_ + part.size() > size_ ||
        !pattern().matches(connection_, received_, part))
      return {step::kind::broken, answered_, "the echo has other bytes than were sent"};
    received_ += part.size();
    partial_ += part.size();
    frame_left_ =
        frame_left_ == 0 ? got.payload_length - got.data_length : frame_left_ - got.data_length;
    if (frame_left_ > 0 || got.fin == 0) return {};
    if (partial_ != size_) return {step::kind::broken, answered_, "the answer was cut short"};
    partial_ = 0;
    return {step::kind::answered, answered_++, {}};
  }

  step take_control(const wslay_frame_iocb& got) {
    control_.append(reinterpret_cast<const char*>(got.data), got.data_length);
    if (control_.size() < got.payload_length) return {};
    const std::string said = std::move(control_);
    control_.clear();
    if (got.opcode == WSLAY_CONNECTION_CLOSE)
      return {step::kind::broken, answered_, "the server closed it"};
    if (got.opcode == WSLAY_PING) send(WSLAY_PONG, said, replies_);
    return {};
  }

  void send(std::uint8_t opcode, const std::string& payload, std::string& out) {
    output_ = &out;
    wslay_frame_iocb frame{};
    frame.fin = 1;
    frame.opcode = opcode;
    frame.mask = 1;
    frame.payload_length = payload.size();
    frame.data = reinterpret_cast<const std::uint8_t*>(payload.data());
    frame.data_length = payload.size();
    // It takes a payload piece by piece.
    for (std::size_t gone = 0; gone < payload.size() || payload.empty();) {
      const ssize_t n = wslay_frame_send(frames_, &frame);
      if (n < 0 || payload.empty()) break;
      gone += static_cast<std::size_t>(n);
      frame.data += n;
      frame.data_length -= static_cast<std::size_t>(n);
    }
  }

  static ssize_t on_send(const std::uint8_t* data, std::size_t n, int, void* self) {
    static_cast<websocket_protocol*>(self)->output_->append(reinterpret_cast<const char*>(data), n);
    return static_cast<ssize_t>(n);
  }
  static ssize_t on_recv(std::uint8_t* into, std::size_t most, int, void* self) {
    auto& input = static_cast<websocket_protocol*>(self)->input_;
    if (input.empty()) return -1;
    const auto n = std::min(most, input.size());
    std::memcpy(into, input.data(), n);
    input = input.subspan(n);
    return static_cast<ssize_t>(n);
  }
  static int on_mask(std::uint8_t* into, std::size_t n, void* self) {
    const auto random = next_random(static_cast<websocket_protocol*>(self)->random_);
    std::memcpy(into, &random, std::min(n, sizeof random));
    return 0;
  }

  std::string authority_, path_;
  std::size_t size_;
  unsigned connection_;
  std::uint64_t random_;
  response_parser parser_;
  bool open_ = false;
  wslay_frame_context_ptr frames_ = nullptr;
  std::span<const std::byte> input_;
  std::string* output_ = nullptr;
  std::string message_, control_, replies_, why_;
  std::uint64_t sent_ = 0, received_ = 0, answered_ = 0, frame_left_ = 0;
  std::size_t partial_ = 0;
};

}  // namespace

std::unique_ptr<protocol> make_websocket(const plan& of, unsigned connection) {
  return std::make_unique<websocket_protocol>(of, connection);
}
#else
std::unique_ptr<protocol> make_websocket(const plan&, unsigned) {
  throw std::invalid_argument("ws:// was not built in: it needs libwslay-dev");
}
#endif

}  // namespace weir::load

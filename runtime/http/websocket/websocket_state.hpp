// A WebSocket's frames on wslay, which does no I/O here: it reads what take() has put into unread_,
// and what it has to send is collected in out_.
#pragma once

#include <wslay/wslay.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include "weir/http/websocket.hpp"

namespace weir::http::detail {

class websocket_state {
 public:
  enum class side : std::uint8_t { server, client };

  /// `stream` is used until the state goes; with `own` it is the state's.
  websocket_state(any_stream& stream, side which, const websocket_settings& settings, bool compress,
                  std::string early);
  websocket_state(any_stream&& own, side which, const websocket_settings& settings, bool compress,
                  std::string early);
  websocket_state(const websocket_state&) = delete;
  websocket_state& operator=(const websocket_state&) = delete;
  ~websocket_state();

  task<std::optional<websocket::message>> receive();
  task<> send(std::uint8_t opcode, std::string_view data);
  task<> close(std::uint16_t code, std::string_view reason);

  std::uint16_t close_code() const { return ::wslay_event_get_status_code_received(events_); }
  const std::string& close_reason() const { return reason_; }
  bool compressed() const { return compress_; }

 private:
  struct waiting {
    websocket::message what;
    bool deflated;
  };

  void begin(side which);
  void on_fragment(const wslay_event_on_frame_recv_start_arg& got);
  void on_message(const wslay_event_on_msg_recv_arg& got);
  websocket::message next_message();
  void say_goodbye(std::uint16_t code, std::string_view reason = {});
  task<> flush();
  task<> read_more();
  void take(std::size_t n);
  static void on_frame_hook(wslay_event_context_ptr context,
                            const wslay_event_on_frame_recv_start_arg* got, void* self);
  static void on_message_hook(wslay_event_context_ptr, const wslay_event_on_msg_recv_arg* got,
                              void* self);
  static ssize_t on_receive(wslay_event_context_ptr context, std::uint8_t* into, std::size_t length,
                            int, void* self);
  static ssize_t on_send(wslay_event_context_ptr, const std::uint8_t* data, std::size_t length, int,
                         void* self);
  static int on_mask(wslay_event_context_ptr, std::uint8_t* into, std::size_t length, void* self);

  any_stream own_;
  any_stream* stream_;
  websocket_settings settings_;
  bool compress_;
  bool broken_ = false;  // nothing can be sent any more
  bool pinged_ = false;  // and nothing has come since
  wslay_event_context_ptr events_ = nullptr;
  std::string unread_;
  std::size_t taken_ = 0;  // of unread_
  std::string out_;
  std::string reason_;
  std::deque<waiting> messages_;
  std::size_t fragments_ = 0;  // of the message that is coming
  std::random_device masks_;
  std::array<std::byte, 4096> buffer_;
};

}  // namespace weir::http::detail

// One HTTP/2 connection of a server (RFC 9113), framed by nghttp2: its requests, each through the
// handler in a task of its own. Knows no back end. Everything that a client can hold up or pile up
// has a limit: in server_settings, or named here.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/http/h2/h2_callbacks.hpp"
#include "runtime/http/h2/h2_stream.hpp"
#include "runtime/http/server/server_state.hpp"
#include "weir/buffers.hpp"
#include "weir/http/response.hpp"
#include "weir/scope.hpp"
#include "weir/stream.hpp"
#include "weir/sync.hpp"

namespace weir::http {

class h2_session final : private h2_events {
 public:
  h2_session(any_stream& peer, server::state& here);
  h2_session(const h2_session&) = delete;
  h2_session& operator=(const h2_session&) = delete;
  ~h2_session();

  /// Until the connection is to be closed. `early` is what has been read of it.
  task<> run(std::string early);

  // For its streams.
  server::state& here() { return here_; }
  nghttp2_session& frames() { return *frames_; }
  std::size_t requests() const { return streams_.size(); }  ///< whose streams are open
  /// There is something to send.
  void kick() { to_send_.set(); }
  void read_on(h2_stream& stream, std::size_t bytes);
  void go_on(h2_stream& stream);

 private:
  // Requests at once, which is also how many handlers run: those of requests that were reset count.
  static constexpr std::uint32_t most_requests = 100;
  static constexpr std::int32_t window = 64 * 1024;  // of a request's body, unread
  static constexpr std::size_t most_acks = 100;      // of pings and settings that wait to go
  static constexpr std::size_t most_skips = 64;      // of ids, remembered
  static constexpr std::size_t most_empty = 100;  // DATA frames of a request with nothing in them
  static constexpr std::size_t most_out = 64 * 1024;  // bytes at once

  task<> send_loop();
  task<> read_loop();
  task<result<lent_buffer>> receive();
  duration time_left() const;
  bool feed(std::span<const std::byte> bytes);
  void blame(std::uint32_t why);
  void gather();
  void say_last();
  void break_off();
  bool over() const { return last_said_ && streams_.empty() && handlers_.size() == 0; }

  task<> serve(std::shared_ptr<h2_stream> stream);
  task<> drop_body(h2_stream& stream);
  task<bool> give(h2_stream& stream, response& with, const request& asked);
  task<> answer(h2_stream& stream, response& with, bool head_only);
  void submit_head(h2_stream& stream, response& with, std::optional<std::uint64_t> length,
                   bool with_body);
  void reset(h2_stream& stream, std::uint32_t why);
  void note(const request* asked, const h2_stream& stream, int status, instant begun);

  h2_stream* find(std::int32_t id) const;
  void frame_begins(const nghttp2_frame_hd& header) override;
  void head_begins(const nghttp2_frame& frame) override;
  void field_came(const nghttp2_frame& frame, std::string_view name,
                  std::string_view value) override;
  void frame_came(const nghttp2_frame& frame) override;
  void request_came(h2_stream& stream);
  void data_came(std::int32_t id, std::span<const std::byte> bytes) override;
  void stream_closed(std::int32_t id, std::uint32_t why) override;
  void frame_went(const nghttp2_frame& frame) override;
  void head_not_sent(const nghttp2_frame& frame) override;
  std::size_t body_goes(std::int32_t id, std::span<std::byte> into, std::uint32_t& flags) override;

  any_stream& peer_;
  server::state& here_;
  const endpoint remote_;
  nghttp2_session* frames_ = nullptr;
  std::map<std::int32_t, std::shared_ptr<h2_stream>> streams_;
  scope handlers_, reading_;
  event to_send_;
  std::string out_;
  instant since_;  // the last whole frame or answer, or the beginning of the head that is coming
  bool in_head_ = false;  // a request's head has begun to come
  // Ids that later ones have passed over (RFC 9113 5.1.1), each with the first behind it.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> skipped_;
  std::uint32_t next_id_ = 1;
  bool misused_ = false;  // one of them came after all
  bool flooded_ = false;
  bool blamed_ = false;  // its end was counted
  bool last_said_ = false;
  bool finished_ = false;  // nothing is added to what is to be sent
  bool broken_ = false;
};

}  // namespace weir::http

// One connection of an HTTP/1.1 server: its requests, one after the other, through the handler.
// Knows no back end. Everything that a client can hold up has a limit in server_settings.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/server/server_state.hpp"
#include "runtime/http/wire/request_parser.hpp"
#include "weir/http/body.hpp"
#include "weir/http/response.hpp"
#include "weir/stream.hpp"

namespace weir::http {

class session final : private detail::body_source, private detail::body_sink {
 public:
  session(any_stream& peer, server::state& here);

  /// Until the connection is to be closed. True: it speaks HTTP/2, and this was read of it.
  task<bool> run(std::string& early);

 private:
  using outcome = wire::request_parser::outcome;
  /// What becomes of the connection.
  enum class next : std::uint8_t {
    request,  ///< it goes on
    linger,   ///< it ends, and an answer may still be on its way
    over,     ///< it ends at once
    http2,    ///< it is somebody else's
  };

  // Requests.
  task<next> one_request();
  task<bool> begins_http2();
  task<next> after_silence(const transfer& got, bool between);
  task<std::span<const std::byte>> read_body() override;
  std::span<const field> body_trailers() const override { return parser_.trailers(); }
  task<bool> drop_body();
  void note_came(const transfer& got);
  duration head_time_left(bool between) const;
  duration body_time_left() const;

  // Answers.
  task<bool> give(response& with, const request& asked);
  bool answer_now(response& with, bool head_only);
  task<> answer(response& with, bool head_only);
  void write_head(response& with, std::optional<std::uint64_t> length, bool has_body);
  task<> send_file(response::file_part& part);
  task<> send_stream(response::stream_part& part);
  task<> write_body(std::span<const std::byte> bytes) override;
  void add_trailer(std::string_view name, std::string_view value) override;
  task<> refuse(int status);
  task<> take_over(response& with, const request& asked);
  task<> send(std::span<const std::byte> bytes);
  task<> flush();
  void flushed();
  bool takes_files();
  task<> linger();
  void note(const request* asked, int status, instant begun);

  any_stream& peer_;
  server::state& here_;
  const endpoint remote_;  // the stream forgets it when it is aborted
  wire::request_parser parser_;
  std::span<const std::byte> unread_;  // of buffer_
  std::string out_;                    // answers that have not been sent
  instant begun_;                      // the request's first byte
  instant head_taken_;
  instant answered_at_;
  std::uint64_t body_received_ = 0;
  duration body_waited_{};                  // for the client to send it
  std::uint64_t body_sent_ = 0;             // of the answer
  std::optional<std::uint64_t> body_left_;  // of an answer whose length was said
  std::string trailers_;                    // of the answer
  bool answered_ = false;                   // a request, at least
  bool request_over_ = false;               // the request's last byte was taken
  bool may_continue_ = false;               // the client waits for 100 before it sends
  bool keep_alive_ = true;
  bool chunked_ = false;
  std::optional<bool> takes_files_;  // unknown so far
  std::array<std::byte, 4096> buffer_;
};

}  // namespace weir::http

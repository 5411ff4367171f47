// One request and its answer on an HTTP/1 connection.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "runtime/http/client/exchange.hpp"

namespace weir::http::detail {

/// Has a connection, and the permit of its origin for it, until the answer was read to its end.
class h1_exchange final : public exchange, private body_source, private body_sink {
 public:
  /// Takes over the permit, and a connection where one was opened already.
  h1_exchange(client::state& of, std::shared_ptr<client_origin> origin, http::url to,
              std::unique_ptr<client_connection> opened)
      : exchange(std::move(to)),
        client_(of),
        origin_(std::move(origin)),
        parser_({.head = of.settings.max_head}),
        connection_(std::move(opened)) {}
  ~h1_exchange() override { leave(); }

  task<bool> perform(const client_request& asked, method as, bool with_body,
                     bool keep_user) override;
  const wire::response_head& head() const override { return parser_.head(); }
  unsigned major_version() const override { return 1; }
  body_reader body() override { return body_reader(static_cast<body_source&>(*this)); }

 private:
  void leave();
  task<> connect(bool kept);
  task<std::error_code> attempt(const client_request& asked, method as);
  void write_head(const client_request& asked, method as, bool keep_user);
  task<std::error_code> send_body(const client_request& asked);
  task<> send_beside(const client_request& asked);
  task<> read_beside();
  task<std::error_code> read_head(duration limit);
  task<std::error_code> send(std::span<const std::byte> bytes);

  task<std::span<const std::byte>> read_body() override;
  std::span<const field> body_trailers() const override { return parser_.trailers(); }
  task<> write_body(std::span<const std::byte> bytes) override;
  void add_trailer(std::string_view name, std::string_view value) override;

  client::state& client_;
  std::shared_ptr<client_origin> origin_;
  wire::response_parser parser_;
  std::unique_ptr<client_connection> connection_;
  std::span<const std::byte> unread_;
  std::string head_, trailers_;
  event may_send_body_;
  std::error_code sent_, read_;
  std::optional<std::uint64_t> left_;  // of the body, where its length was said
  bool permitted_ = true;
  bool kept_ = false;  // the connection has had a request before
  bool with_body_ = true;
  bool chunked_ = false;
  bool all_sent_ = false;
  bool head_read_ = false;
  bool complete_ = false;  // the answer's last byte was taken
};

}  // namespace weir::http::detail

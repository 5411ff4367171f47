// One request and its answer on an HTTP/2 connection.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/http/client/exchange.hpp"
#include "runtime/http/h2/h2_link.hpp"

namespace weir::http::detail {

class h2_exchange final : public exchange,
                          private body_source,
                          private body_sink,
                          public h2_outgoing {
 public:
  h2_exchange(client::state& of, std::shared_ptr<h2_link> on, http::url to)
      : exchange(std::move(to)), client_(of), link_(std::move(on)) {}
  ~h2_exchange() override { link_->forget(id_); }

  task<bool> perform(const client_request& asked, method as, bool with_body,
                     bool keep_user) override;
  const wire::response_head& head() const override { return head_; }
  unsigned major_version() const override { return 2; }
  body_reader body() override { return body_reader(static_cast<body_source&>(*this)); }

  // What its link hears of it.
  void head_begins();
  void field_came(std::string_view name, std::string_view value);
  void head_came(bool last);
  void data_came(std::span<const std::byte> bytes);
  void body_ended();
  /// By the server, with a reason of RFC 9113 7, or with the connection.
  void closed(std::uint32_t why, std::error_code error);

 private:
  bool submit(const client_request& asked, method as, bool with_body, bool keep_user);
  task<std::error_code> wait_for_head(duration limit);
  task<> send_beside(const client_request& asked);
  task<> read_beside();
  task<std::error_code> all_taken();
  bool may_repeat(const client_request& asked, method as, bool with_body) const;

  task<std::span<const std::byte>> read_body() override;
  std::span<const field> body_trailers() const override { return trailer_fields_; }
  task<> write_body(std::span<const std::byte> bytes) override;
  void add_trailer(std::string_view name, std::string_view value) override;

  client::state& client_;
  std::shared_ptr<h2_link> link_;
  std::int32_t id_ = -1;

  wire::response_head head_;
  // A deque: what the answer gives refers to them.
  std::deque<std::pair<std::string, std::string>> texts_;
  std::vector<field> fields_, trailer_fields_;
  std::size_t head_bytes_ = 0;
  unsigned interim_ = 0;
  bool reused_ = false;
  bool head_read_ = false;
  bool too_long_ = false;
  bool all_came_ = false;
  bool closed_ = false;
  std::uint32_t why_ = 0;
  std::error_code error_;
  event came_, may_send_body_;
  std::optional<std::uint64_t> left_;  // of the body, where its length was said
  std::deque<std::string> pieces_;
  std::string current_;  // what the reader has
  std::error_code sent_, read_;
};

}  // namespace weir::http::detail

// One HTTP/2 connection of a client (RFC 9113), framed by nghttp2, for all requests to its origin.
// It reads and writes by itself, in a task that keeps it, until it is idle for too long, the
// server says goodbye or the client goes. What a server can pile up has a limit, named here.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "runtime/http/client/exchange.hpp"
#include "runtime/http/h2/h2_callbacks.hpp"
#include "weir/stream.hpp"
#include "weir/sync.hpp"

namespace weir::http::detail {

class h2_exchange;

class h2_link final : public std::enable_shared_from_this<h2_link>, private h2_events {
 public:
  /// Has a permit of the origin until it ends.
  h2_link(any_stream stream, const client_settings& settings,
          const std::shared_ptr<client_origin>& origin);
  h2_link(const h2_link&) = delete;
  h2_link& operator=(const h2_link&) = delete;
  ~h2_link();

  /// Begins to read and write.
  void start(scope& tasks);
  /// Whether it takes another request, now or later.
  bool usable() const;
  /// Requests that the server takes at once.
  std::size_t most() const;
  std::size_t size() const { return calls_.size(); }
  /// Set when one has ended, or the link has.
  event& changed() { return changed_; }
  void end_when_idle();

  // For its exchanges.
  nghttp2_session& frames() { return *frames_; }
  shard& owner() { return stream_.owner(); }
  const client_settings& settings() const { return settings_; }
  void kick() { to_send_.set(); }
  void add(std::int32_t id, h2_exchange& call);
  /// Nobody waits for it any longer.
  void forget(std::int32_t id);
  void consumed(std::int32_t id, std::size_t bytes);
  bool had_requests() const { return had_requests_; }
  /// Why it ended.
  std::error_code failure() const { return failure_; }
  bool ended() const { return ended_; }

 private:
  static constexpr std::int32_t window = 256 * 1024;  // of an answer's body, unread
  static constexpr std::size_t most_acks = 100;       // of pings and settings that wait to go
  static constexpr std::size_t most_out = 64 * 1024;  // bytes at once
  static constexpr std::size_t most_calls = 100;      // at once, whatever the server takes

  static task<> run(std::shared_ptr<h2_link> self);
  task<> read_loop();
  task<> write_loop();
  void gather();
  void end(std::error_code why);
  bool over() const;

  h2_exchange* find(std::int32_t id) const;
  void frame_begins(const nghttp2_frame_hd&) override {}
  void head_begins(const nghttp2_frame& frame) override;
  void field_came(const nghttp2_frame& frame, std::string_view name,
                  std::string_view value) override;
  void frame_came(const nghttp2_frame& frame) override;
  void data_came(std::int32_t id, std::span<const std::byte> bytes) override;
  void stream_closed(std::int32_t id, std::uint32_t why) override;
  void frame_went(const nghttp2_frame&) override {}
  void head_not_sent(const nghttp2_frame& frame) override;
  std::size_t body_goes(std::int32_t id, std::span<std::byte> into, std::uint32_t& flags) override;

  any_stream stream_;
  const client_settings settings_;
  const std::weak_ptr<client_origin> origin_;
  nghttp2_session* frames_ = nullptr;
  std::map<std::int32_t, h2_exchange*> calls_;
  event to_send_, changed_;
  std::string out_;
  std::error_code failure_;
  bool had_requests_ = false;
  bool leaving_ = false;  // it takes no more requests
  bool ended_ = false;
  bool broken_ = false;
};

}  // namespace weir::http::detail

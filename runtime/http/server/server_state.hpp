// What the connections of one server share.
#pragma once

#include <cstdint>
#include <functional>

#include "http/wire/response.hpp"
#include "weir/http/server.hpp"

namespace weir::http {

struct server::state {
  state(shard& on, handler by, const server_settings& how)
      : owner(on), answer(std::move(by)), settings(how) {}

  /// Accepts until the stop, then drains.
  task<> run(std::span<tcp_listener> listeners, std::function<task<>(any_stream)> session);

  /// Seconds since 1970. In a simulation they pass with its clock, so that runs are equal.
  std::int64_t wall_clock() const;

  shard& owner;
  handler answer;
  server_settings settings;
  server_counters counters;
  wire::date_cache date;
  std::function<void(const access_entry&)> on_access;
  std::function<void(std::exception_ptr, const request&)> on_failure;
};

}  // namespace weir::http

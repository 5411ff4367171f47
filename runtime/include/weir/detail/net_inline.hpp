// The parts of the awaiters that need complete tcp_stream and lent_buffer types. Included by
// weir/net.hpp only.
#pragma once

#include "weir/net.hpp"

namespace weir::detail {

inline result<lent_buffer> receive_awaiter::outcome() {
  if (auto ec = final_error()) return ec;
  return lent_buffer(owner(), lent);
}
inline lent_buffer receive_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "receive");
  return std::move(*got);
}

inline result<std::optional<tcp_stream>> accept_awaiter::outcome() {
  if (accepted != nullptr) return std::optional<tcp_stream>(tcp_stream(*accepted));
  if (stopped_) return std::optional<tcp_stream>();
  return final_error();
}
inline std::optional<tcp_stream> accept_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "accept");
  return std::move(*got);
}

inline result<tcp_stream> connect_awaiter::outcome() {
  if (connected != nullptr) return tcp_stream(*connected);
  return final_error();
}
inline tcp_stream connect_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "connect to " + remote.to_string());
  return std::move(*got);
}

}  // namespace weir::detail

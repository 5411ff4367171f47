// connection_request: somebody asks to connect, and nothing was answered yet. For gateways, which
// find out first what becomes of it; see tcp_listener::accept_request().
//
//   auto asked = co_await listener.accept_request();
//   auto outside = co_await weir::connect(asked->destination(), {.network = "kernel"}).nothrow();
//   if (!outside) co_return asked->refuse(outside.error());  // the peer is told the truth
//   auto inside = co_await asked->accept();
//   co_await weir::relay(std::move(inside), std::move(*outside), {.idle = 5min});
#pragma once

#include <cassert>
#include <utility>

#include "weir/detail/net_awaiters.hpp"
#include "weir/net.hpp"

namespace weir {

/// A SYN that waits for an answer. Move-only; one that goes unanswered is refused with a reset, and
/// so is one that takes longer than listen_options::answer_within.
class connection_request {
 public:
  connection_request() = default;
  explicit connection_request(detail::socket_base& socket)
      : socket_(&socket),
        source_(socket.at->remote_endpoint(socket)),
        destination_(socket.at->local_endpoint(socket)) {}
  connection_request(connection_request&& other) noexcept
      : socket_(std::exchange(other.socket_, nullptr)),
        source_(other.source_),
        destination_(other.destination_) {}
  connection_request& operator=(connection_request&& other) noexcept {
    if (this != &other) {
      drop_handle();
      socket_ = std::exchange(other.socket_, nullptr);
      source_ = other.source_;
      destination_ = other.destination_;
    }
    return *this;
  }
  ~connection_request() { drop_handle(); }

  /// Whether it waits for an answer.
  explicit operator bool() const { return socket_ != nullptr; }
  endpoint source() const { return source_; }            ///< who asks
  endpoint destination() const { return destination_; }  ///< for whom

  /// Answers: co_await gives the tcp_stream, whose local endpoint is the destination, once the peer
  /// has answered too. Errors: connection_aborted (it has gone, or the time was over). Either way
  /// the request is over; so it is when this is cancelled or timed out.
  detail::request<detail::answer_awaiter> accept() {
    assert(socket_ != nullptr && "the request was answered or moved from");
    return detail::request<detail::answer_awaiter>({&socket_, destination_});
  }
  /// Tells the peer what `why` says: network_unreachable, host_unreachable and permission_denied (a
  /// rule forbids it) by ICMP, timed_out not at all, and everything else with a reset: nobody
  /// listens there.
  void refuse(std::error_code why = std::make_error_code(std::errc::connection_refused)) noexcept;
  /// No answer at all, as of a filter.
  void drop() noexcept { refuse(std::make_error_code(std::errc::timed_out)); }

 private:
  void drop_handle() noexcept {
    if (socket_ != nullptr) refuse();
  }
  detail::socket_base* socket_ = nullptr;
  endpoint source_, destination_;
};

namespace detail {

inline result<std::optional<connection_request>> accept_request_awaiter::outcome() {
  if (accepted != nullptr) return std::optional<connection_request>(connection_request(*accepted));
  if (stopped_) return std::optional<connection_request>();
  return final_error();
}
inline std::optional<connection_request> accept_request_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "accept_request");
  return std::move(*got);
}

inline result<tcp_stream> answer_awaiter::outcome() {
  if (connected != nullptr) return tcp_stream(*connected);
  return final_error();
}
inline tcp_stream answer_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "accept for " + destination_.to_string());
  return std::move(*got);
}

}  // namespace detail
}  // namespace weir

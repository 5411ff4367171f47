// The awaiters of Unix datagram sockets: those of UDP, with names.
#pragma once

#include "weir/detail/udp_awaiters.hpp"
#include "weir/unix_endpoint.hpp"

namespace weir {

/// A datagram that was received. Trivial, so that it may be destructured.
struct unix_datagram {
  std::error_code ec;  ///< as weir::datagram's
  std::size_t n = 0;
  std::size_t size = 0;
  unix_sender from;
  explicit operator bool() const { return !ec; }
};

namespace detail {

class [[nodiscard]] unix_receive_awaiter : public receive_datagram_awaiter {
 public:
  unix_receive_awaiter(const arguments& of, duration limit) : receive_datagram_awaiter(of, limit) {
    who = &from_;
  }
  unix_datagram await_resume() { return named(receive_datagram_awaiter::await_resume()); }

 protected:
  unix_datagram outcome() const noexcept { return named(receive_datagram_awaiter::outcome()); }

 private:
  unix_datagram named(const datagram& got) const { return {got.ec, got.n, got.size, from_}; }
  unix_sender from_;
};

class [[nodiscard]] unix_send_awaiter : public send_datagram_awaiter {
 public:
  struct arguments {
    datagram_socket* socket;
    std::span<const std::byte> bytes;
    unix_endpoint to;
    bool to_remote;  ///< of a connected socket, instead of `to`
    std::span<const int> descriptors;
    const char* name;
  };
  unix_send_awaiter(const arguments& of, duration limit)
      : send_datagram_awaiter({of.socket, of.bytes, {}, true, of.name}, limit), to_(of.to) {
    if (!of.to_remote) name = &to_;
    descriptors = of.descriptors;
  }

 private:
  unix_endpoint to_;
};

}  // namespace detail
}  // namespace weir

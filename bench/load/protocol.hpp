// Protocols as a load speaks them, one object for each connection: requests out as bytes, answers
// in from bytes, without I/O and without a clock. An answer counts only when all of it has come and
// it is a success; everything else has a name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "load/plan.hpp"
#include "load/rendering.hpp"

namespace weir::load {

struct step {
  enum class kind : std::uint8_t {
    more,      ///< all bytes were taken, nothing is complete
    opened,    ///< the greeting is over: requests may follow
    answered,  ///< an answer is complete
    refused,   ///< an answer is complete, and it is an error: `why`
    broken,    ///< the connection cannot go on: `why`
  };
  kind what = kind::more;
  std::uint64_t which = 0;  ///< the request that is answered: they count from 0
  std::string_view why;     ///< until the next call
};

class protocol {
 public:
  virtual ~protocol() = default;

  /// What is said before the first request; empty: nothing, and the connection is open at once.
  virtual std::string greeting() { return {}; }
  /// Adds the next request's bytes.
  virtual void ask(std::string& out) = 0;
  /// Takes from the front of `bytes`. To be called until it says `more`: several answers may have
  /// been in what it took.
  virtual step feed(std::span<const std::byte>& bytes) = 0;
  /// The stream has ended in good order. An answer that ends so is complete; else `broken` where
  /// one was being read, and `more` between two.
  virtual step end() { return {}; }
  /// What the protocol itself has to say after feed(): acknowledgements.
  virtual void reply(std::string& out) { (void)out; }
  /// After an answer: the server takes no more requests on this connection.
  virtual bool last() const { return false; }
  /// Requests are done when they are written, nothing is answered (discard).
  virtual bool answers() const { return true; }
  /// Nothing is asked, the peer sends (chargen): pieces of plan::size are counted.
  virtual bool asks() const { return true; }
  /// Of the request that was asked last: how long its connection waits after the answer.
  duration think() const { return think_; }

 protected:
  duration think_{};
};

/// Throws std::invalid_argument for what was not built in. `connection`: which one of all.
std::unique_ptr<protocol> make_protocol(const plan& of, const request_source& requests,
                                        unsigned connection);

std::unique_ptr<protocol> make_http(const plan& of, const request_source& requests,
                                    unsigned connection);
std::unique_ptr<protocol> make_redis(const plan& of, const request_source& requests,
                                     unsigned connection);
std::unique_ptr<protocol> make_websocket(const plan& of, unsigned connection);
std::unique_ptr<protocol> make_http2(const plan& of, const request_source& requests,
                                     unsigned connection);

/// Datagrams: each is a request of its own, and answers name theirs.
class datagram_protocol {
 public:
  virtual ~datagram_protocol() = default;
  /// Replaces `out` by request number `which`.
  virtual void ask(std::uint64_t which, std::string& out) = 0;
  /// `more`: it answers nothing that can be in flight. `oldest`: the first that is not done.
  virtual step feed(std::span<const std::byte> datagram, std::uint64_t oldest) = 0;
};
std::unique_ptr<datagram_protocol> make_datagrams(const plan& of, unsigned connection);

}  // namespace weir::load

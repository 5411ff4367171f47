// TLS over any stream (OpenSSL 3, target weir::tls): connect() and accept() take a stream and give
// one that is secured. It is an any_stream: what is written against that runs over TLS as it is.
//
//   weir::tls::client_context trust(shard.settings().tls);     // of a shard
//   auto peer = co_await weir::connect(where);
//   auto secure = co_await weir::tls::connect(std::move(peer), trust, {.name = "example.org"});
//   co_await secure.write_all("hello");
//   co_await secure.close_notify();   // a destructor cannot wait: without it the peer sees a
//                                     // truncation
//
// The peer's chain and name are verified unless the context's options say none_insecure. A peer
// that ends its stream without close_notify makes the last read error::truncated, not an end.
// Renegotiation is refused; TLS 1.2 and 1.3 are spoken.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/config.hpp"
#include "weir/error.hpp"
#include "weir/stream.hpp"

namespace weir::tls {

enum class version : std::uint8_t { tls1_2, tls1_3 };
enum class verification : std::uint8_t {
  chain_and_name,
  none_insecure,  ///< whoever sits between can read and change everything
};
/// What a server asks of its clients.
enum class client_certificates : std::uint8_t { none, optional, required };

/// A certificate with the chain behind it, and its key; each a file's name, or the PEM text itself.
struct own_certificate {
  std::string certificate;
  std::string key = {};  ///< empty: in the same place
};

struct context_options {
  // Certificate, key and authorities are each a file's name, or the PEM text itself.
  std::string certificate = {};  ///< our own, and the chain behind it
  std::string key = {};          ///< empty: in the same place as the certificate
  /// Servers: further ones. The first that is for the name that a client asks for (SNI) is shown to
  /// it, else `certificate`.
  std::vector<own_certificate> others = {};
  std::string authorities = {};  ///< whom to trust; empty: whom this machine trusts
  /// Servers: a file with an OCSP response (DER) about the certificate, given to clients that ask.
  /// It is renewed by a reload.
  std::string staple = {};
  /// A file to which the sessions' secrets are added, for Wireshark: whoever has it reads all.
  std::string key_log = {};
  version minimum = version::tls1_2;
  version maximum = version::tls1_3;
  verification verify = verification::chain_and_name;
  client_certificates ask = client_certificates::none;  ///< servers
  std::string alpn = {};  ///< servers: what they speak, the best first: "h2,http/1.1"
  duration handshake_time = std::chrono::seconds(10);  ///< unless .timeout() says otherwise
  std::size_t handshake_bytes = 128 * 1024;            ///< more from the peer ends a handshake
  std::size_t handshakes = 1024;  ///< servers: at once; one more ends the oldest, unfinished
  std::uint64_t key_bytes = std::uint64_t(64) << 30;  ///< sent under one key (TLS 1.3)
  bool tickets = true;                                ///< servers: sessions can be resumed
  /// Servers: contexts with the same secret, of at least 32 bytes, resume each other's sessions: of
  /// other shards, of other machines, after a restart. Whoever has it reads what they carried (TLS
  /// 1.2): renew it by reload(). Empty: each context has one of its own.
  std::string ticket_secret = {};
  /// All randomness from this seed, so that simulations are the same byte by byte (without tickets,
  /// which tell the time): whoever knows it reads and forges everything. Kept by reload().
  std::optional<std::uint64_t> insecure_seed = {};
  /// When certificates are to be valid, for tests and simulations; unset: now.
  std::optional<std::chrono::system_clock::time_point> at = {};
};

struct context_counters {
  std::uint64_t handshakes = 0;  ///< that succeeded
  std::uint64_t resumed = 0;     ///< of those
  std::uint64_t failed = 0;
  std::uint64_t displaced = 0;     ///< of those: by a newer one, beyond `handshakes`
  std::uint64_t sessions = 0;      ///< that live
  std::uint64_t with_buffers = 0;  ///< of those that live: that keep OpenSSL's record buffers
  std::uint64_t renewed_keys = 0;  ///< by us, after key_bytes
};

/// What connect() and accept() throw. details() says what a person must do: "the certificate of
/// example.org expired on ...". The codes: error::untrusted, protocol_error, timed_out,
/// error::limit_exceeded, error::truncated, not_enough_memory, and those of the stream below.
class tls_error : public io_error {
 public:
  tls_error(std::error_code code, const char* operation, std::string words)
      : io_error(code, words.empty() ? operation : operation + (": " + words)),
        details_(std::move(words)) {}
  const std::string& details() const { return details_; }

 private:
  std::string details_;
};

/// A peer's certificate.
struct certificate {
  std::string subject;
  std::string issuer;
  std::vector<std::string> names;  ///< hosts and addresses that it is for
  std::chrono::system_clock::time_point not_before, not_after;
  std::string sha256;  ///< fingerprint, 64 hexadecimal digits
};

class tls_stream;

}  // namespace weir::tls

namespace weir::detail {

struct tls_state;
class tls_session;

/// A handshake that is to come or goes on. It has memory of its own, and its session until that is
/// handed out, so that the frame of who awaited it keeps nothing of it.
class tls_handshake final : public operation {
 public:
  explicit tls_handshake(const char* operation_name);
  ~tls_handshake();

  template <weir_promise Promise>
  bool wait(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  result<tls::tls_stream> outcome();
  using operation::ask_to_end;
  using operation::set_timeout;

  tls_session* session = nullptr;
  const char* name;
  std::string alpn;            // as the wire has it, where the context names none
  std::string words;           // of a failure
  std::size_t peer_bytes = 0;  // that came
  bool refused = false;        // its options cannot be used
  bool displaced = false;      // by a newer handshake

 private:
  void begin();
  static void request_cancel(operation& op) noexcept;

  bool begun_ = false;
};

/// close_notify().
class [[nodiscard]] tls_close_awaiter : public operation {
 public:
  struct arguments {
    tls_session* session;
  };
  tls_close_awaiter(const arguments& of, duration limit)
      : operation(&hook<&tls_close_awaiter::request_cancel>), session_(of.session) {
    set_timeout(limit);
  }
  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  void await_resume() const {
    if (auto ec = final_error()) throw io_error(ec, "close_notify");
  }

 protected:
  std::error_code outcome() const noexcept { return final_error(); }

 private:
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;
  tls_session* session_;
};

}  // namespace weir::detail

namespace weir::tls {

/// Certificates, keys and whom to trust; with a client, also the sessions to resume. Of one shard.
/// The streams made with it may outlive it.
class context {
 public:
  context(const context&) = delete;
  context& operator=(const context&) = delete;

  const context_counters& counters() const;
  /// Why the last handshake failed, in words; also after .nothrow().
  const std::string& last_failure() const;
  /// New certificates, keys and limits for the handshakes from here on. Throws config_error and
  /// changes nothing when they cannot be used.
  void reload(const context_options& options);

  detail::tls_state& state() const { return *state_; }

 protected:
  context(const context_options& options, bool server);
  ~context();

 private:
  std::shared_ptr<detail::tls_state> state_;
};

/// Configuration's [tls] as options.
context_options options_from(const config::tls_section& section);

/// Throws config_error where files or keys cannot be used.
class client_context : public context {
 public:
  explicit client_context(const context_options& options = {}) : context(options, false) {}
  explicit client_context(const config::tls_section& section)
      : client_context(options_from(section)) {}
};

/// Needs a certificate and its key.
class server_context : public context {
 public:
  explicit server_context(const context_options& options) : context(options, true) {}
  explicit server_context(const config::tls_section& section)
      : server_context(options_from(section)) {}
};

/// A secured stream.
class tls_stream : public any_stream {
 public:
  tls_stream() = default;
  explicit tls_stream(detail::tls_session& session);

  /// Tells the peer that nothing more comes, behind what was written, and waits until that has
  /// gone: shutdown_send() that can be waited for. Reading goes on.
  detail::request<detail::tls_close_awaiter> close_notify();

  /// The protocol agreed on by ALPN; empty: none.
  std::string_view alpn() const;
  /// "TLSv1.3"
  std::string_view protocol() const;
  bool resumed() const;
  /// Nothing where the peer gave none.
  std::optional<certificate> peer_certificate() const;
  /// Why the stream broke, in words; empty while it has not, or where the code says it all.
  const std::string& details() const;

 private:
  detail::tls_session& session() const;
};

struct connect_options {
  /// Whom the certificate must be for: a host's name, or an address as text. Needed unless the
  /// context verifies nothing; also sent, where it is a name (SNI).
  std::string_view name = {};
  /// Protocols to offer, the best first: "h2,http/1.1".
  std::string_view alpn = {};
};

struct accept_options {
  /// Protocols that are spoken, the best first, where the context names none.
  std::string_view alpn = {};
};

}  // namespace weir::tls

namespace weir::detail {

/// connect() and accept().
class [[nodiscard]] tls_handshake_awaiter {
 public:
  struct arguments {
    std::unique_ptr<tls_handshake> handshake;
  };
  tls_handshake_awaiter(arguments&& of, duration limit) : handshake_(std::move(of.handshake)) {
    if (limit != no_limit) handshake_->set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return handshake_->wait(waiter);
  }
  tls::tls_stream await_resume();

 protected:
  result<tls::tls_stream> outcome() { return handshake_->outcome(); }
  // For the form that heeds a stop.
  bool pending() const { return handshake_->pending(); }
  shard& owner() const { return handshake_->owner(); }
  void ask_to_end() noexcept { handshake_->ask_to_end(); }

 private:
  std::unique_ptr<tls_handshake> handshake_;
};

/// Makes the session. Throws std::bad_alloc.
request<tls_handshake_awaiter> secure(any_stream plain, tls_state& state,
                                      const tls::connect_options& how, const char* name);

}  // namespace weir::detail

namespace weir::tls {

/// Secures a stream that this side opened. Takes it over, also where it fails: then it is closed
/// behind the alert that says why, and reset where the peer was not waited for any longer. Throws
/// tls_error, and std::bad_alloc before anything has begun. Bounded by .timeout(), else by the
/// context's handshake_time. `how` is used at once.
inline detail::request<detail::tls_handshake_awaiter> connect(any_stream peer, client_context& with,
                                                              const connect_options& how) {
  return detail::secure(std::move(peer), with.state(), how, "tls::connect");
}
/// Secures a stream that was accepted.
inline detail::request<detail::tls_handshake_awaiter> accept(any_stream peer, server_context& with,
                                                             const accept_options& how = {}) {
  return detail::secure(std::move(peer), with.state(), {.name = {}, .alpn = how.alpn},
                        "tls::accept");
}

}  // namespace weir::tls

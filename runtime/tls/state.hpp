// What the sessions of one context share: OpenSSL's context, limits, counters, sessions to resume
// and spare buffers.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weir/detail/timer.hpp"
#include "weir/stack/intrusive.hpp"
#include "weir/tls.hpp"

namespace weir::detail {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using ssl_context_ptr = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;
/// With the providers that were loaded into it, which do not go by themselves.
struct library_free {
  OSSL_PROVIDER* seeded = nullptr;
  OSSL_PROVIDER* standard = nullptr;
  void operator()(OSSL_LIB_CTX* library) const noexcept;
};
using library_ptr = std::unique_ptr<OSSL_LIB_CTX, library_free>;
using ssl_ptr = std::unique_ptr<SSL, freed_by<SSL_free>>;
using ssl_session_ptr = std::unique_ptr<SSL_SESSION, freed_by<SSL_SESSION_free>>;
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free_all>>;
using x509_ptr = std::unique_ptr<X509, freed_by<X509_free>>;

/// Ciphertext to go; null: none.
using tls_buffer = std::unique_ptr<std::vector<std::byte>>;

struct tls_state : std::enable_shared_from_this<tls_state> {
  static constexpr int most_between = 8;              // certificates between a peer's and its root
  static constexpr std::size_t most_resumable = 256;  // peers whose sessions a client keeps
  static constexpr std::size_t most_spare = 64;       // buffers, and blocks
  static constexpr std::size_t most_warm = 64;        // sessions that keep their record buffers
  static constexpr std::size_t record = 16 * 1024;    // plaintext of one
  /// A session that was idle for so long, or twice that, keeps no record buffer.
  static constexpr duration idle_time = std::chrono::milliseconds(500);

  tls_state(const tls::context_options& o, bool is_server);
  void reload(const tls::context_options& o);

  /// A session to resume with this peer. Those of TLS 1.3 are used once (RFC 8446 C.4).
  ssl_session_ptr resumable(const std::string& peer);
  void keep(const std::string& peer, ssl_session_ptr session);

  /// An empty one; it grows as it is used.
  tls_buffer spare_buffer();
  void give_back(tls_buffer buffer) noexcept;
  /// For one record's plaintext.
  std::unique_ptr<std::byte[]> spare_block();
  void give_back(std::unique_ptr<std::byte[]> block) noexcept;

  /// A server's handshake begins; one that is too many ends the oldest.
  void handshake_begins(tls_session& session);
  void handshake_ended(tls_session& session) noexcept;

  /// It has read just now, and may keep its record buffers: the sessions that did so last do, for a
  /// moment; all others give them back.
  void used(tls_session& session) noexcept;
  void forget(tls_session& session) noexcept;
  void show_with(shard& of);

  bool server;
  tls::context_options options;
  std::string alpn;     // as the wire has it: each with its length before it
  std::string staple;   // DER
  library_ptr library;  // of what follows, and of the sessions; null: OpenSSL's own
  ssl_context_ptr ssl;
  std::vector<ssl_context_ptr> others;  // a server's, for other names
  bio_ptr key_log;                      // outlived by no session: they have this state
  std::shared_ptr<tls::context_counters> counted = std::make_shared<tls::context_counters>();
  tls::context_counters& counters = *counted;
  bool shown = false;  // with the shard's numbers, from the first session on
  std::string last_failure;

 private:
  std::map<std::string, ssl_session_ptr> sessions_;
  struct idle_timer : timer_node {
    explicit idle_timer(tls_state& of) : timer_node(&tls_state::look_for_idle), state(&of) {}
    tls_state* state;
  };
  static void look_for_idle(timer_node& node) noexcept;
  void cool(tls_session& session) noexcept;

  std::vector<tls_buffer> spare_;
  std::vector<std::unique_ptr<std::byte[]>> spare_blocks_;
  stack::intrusive_queue<tls_session> shaking_;  // a server's, the oldest first
  std::size_t shakes_ = 0;
  stack::intrusive_queue<tls_session> warm_;  // past their handshake
  idle_timer idle_timer_{*this};              // armed while there are warm ones
};

/// Whose randomness is this seed's. Throws config_error.
library_ptr seeded_library(std::uint64_t seed);

/// OCSP staples: what a server gives, and what a client makes of it.
void use_staples(SSL_CTX& ssl, bool server);
/// Of a file; empty for none. Throws config_error.
std::string load_staple(const std::string& file);

/// "h2,http/1.1" as the wire has it. Throws config_error where a name is empty or too long.
std::string alpn_list(std::string_view names);

/// A certificate that was not accepted, in words. `asked`: for whom it should be.
std::string verify_words(X509_STORE_CTX& found, std::string_view asked, bool of_client);
/// What OpenSSL's queue of errors says, in words; clears it.
struct openssl_failure {
  std::error_code code;
  std::string words;
};
openssl_failure take_failure(bool server);
std::vector<std::string> names_of(X509& certificate);
/// Its first name, to be shown.
std::string owner_of(X509& certificate);
std::string shown(const ASN1_TIME* when);
tls::certificate describe(X509& certificate);

}  // namespace weir::detail

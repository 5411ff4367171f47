// TLS as its users write it by hand: OpenSSL in a loop on epoll, and in one on io_uring, each an
// echo server. What weir's TLS is measured against.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <string>

#include "endpoint.hpp"

namespace weir::bench {

struct raw_tls_settings {
  endpoint where;
  std::string certificate;       ///< a PEM file with its key
  bool release_buffers = false;  ///< OpenSSL gives an idle connection's record buffers back
};

/// Throws std::runtime_error.
SSL_CTX* server_context(const raw_tls_settings& settings);

[[noreturn]] void serve_tls_epoll(const raw_tls_settings& settings);
[[noreturn]] void serve_tls_uring(const raw_tls_settings& settings);

/// Makes a self-signed certificate for 127.0.0.1 and its P-256 key, in one PEM file.
void write_certificate(const std::string& file);

struct tls_load {
  endpoint where;
  unsigned connections = 64;
  std::size_t message = 64;    ///< bytes, sent and awaited one after another on each connection
  std::uint64_t count = 1000;  ///< messages in all, or handshakes
};

/// The load, on this thread. Returns when all came back; throws std::runtime_error where one did
/// not, or came back wrong.
void run_tls_echo(const tls_load& load);
/// Full handshakes, `connections` at once; each is followed by the end of its connection.
void run_tls_handshakes(const tls_load& load);
/// Secured connections without traffic, held until the object goes.
class idle_tls {
 public:
  idle_tls(const endpoint& where, unsigned connections);
  ~idle_tls();
  idle_tls(const idle_tls&) = delete;
  idle_tls& operator=(const idle_tls&) = delete;

 private:
  struct state;
  state* state_;
};

}  // namespace weir::bench

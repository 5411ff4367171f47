// Baseline: OpenSSL on non-blocking sockets with level-triggered epoll, as its manual shows it.
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include "raw_tls.hpp"

namespace weir::bench {
namespace {

constexpr std::size_t buffer_bytes = 16 * 1024;

struct connection {
  int fd = -1;
  SSL* ssl = nullptr;
  std::vector<char> unsent;  // an answer that the socket did not take
  std::size_t unsent_from = 0;
  bool writing = false;  // epoll tells when it can go on
};

class epoll_echo {
 public:
  explicit epoll_echo(const raw_tls_settings& settings)
      : context_(server_context(settings)),
        listener_(listen_on(settings.where, 4096)),
        poll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{EPOLLIN, {.ptr = nullptr}};
    ::epoll_ctl(poll_, EPOLL_CTL_ADD, listener_, &event);
    announce(local_endpoint(listener_), "tls-epoll");
  }
  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int n = ::epoll_wait(poll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < n; ++i) {
        auto* c = static_cast<connection*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (c == nullptr)
          accept_all();
        else if (!go_on(*c))
          end(c);
      }
    }
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      auto made = std::make_unique<connection>();
      made->fd = fd;
      made->ssl = SSL_new(context_);
      SSL_set_fd(made->ssl, fd);
      SSL_set_accept_state(made->ssl);
      epoll_event event{EPOLLIN, {.ptr = made.get()}};
      ::epoll_ctl(poll_, EPOLL_CTL_ADD, fd, &event);
      (void)made.release();
    }
  }
  /// False: it is over.
  bool go_on(connection& c) {
    ERR_clear_error();
    if (!c.unsent.empty() && !flush(c)) return false;
    while (c.unsent.empty()) {
      const int n = SSL_read(c.ssl, buffer_.data(), static_cast<int>(buffer_.size()));
      if (n <= 0) return SSL_get_error(c.ssl, n) == SSL_ERROR_WANT_READ;
      const int sent = SSL_write(c.ssl, buffer_.data(), n);
      if (sent == n) continue;
      if (SSL_get_error(c.ssl, sent) != SSL_ERROR_WANT_WRITE) return false;
      c.unsent.assign(buffer_.begin(), buffer_.begin() + n);
      wait_for(c, true);
    }
    return true;
  }
  bool flush(connection& c) {
    const int n = SSL_write(c.ssl, c.unsent.data(), static_cast<int>(c.unsent.size()));
    if (n <= 0) return SSL_get_error(c.ssl, n) == SSL_ERROR_WANT_WRITE;
    c.unsent.clear();
    wait_for(c, false);
    return true;
  }
  void wait_for(connection& c, bool writing) {
    if (std::exchange(c.writing, writing) == writing) return;
    epoll_event event{writing ? EPOLLOUT : EPOLLIN, {.ptr = &c}};
    ::epoll_ctl(poll_, EPOLL_CTL_MOD, c.fd, &event);
  }
  static void end(connection* c) {
    SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    ::close(c->fd);
    delete c;
  }

  SSL_CTX* context_;
  int listener_, poll_;
  std::array<char, buffer_bytes> buffer_{};
};

}  // namespace

SSL_CTX* server_context(const raw_tls_settings& settings) {
  auto* made = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(made, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(made, SSL_OP_NO_RENEGOTIATION);
  if (settings.release_buffers) SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
  const char* file = settings.certificate.c_str();
  if (SSL_CTX_use_certificate_chain_file(made, file) != 1 ||
      SSL_CTX_use_PrivateKey_file(made, file, SSL_FILETYPE_PEM) != 1)
    throw std::runtime_error("cannot use " + settings.certificate);
  return made;
}

void serve_tls_epoll(const raw_tls_settings& settings) {
  epoll_echo server(settings);
  server.run();
}

}  // namespace weir::bench

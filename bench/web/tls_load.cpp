// The load on a TLS echo server: OpenSSL's own client on epoll.
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "raw_tls.hpp"

namespace weir::bench {
namespace {

class client_context {
 public:
  client_context() : made_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_session_cache_mode(made_, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(made_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }
  ~client_context() { SSL_CTX_free(made_); }
  client_context(const client_context&) = delete;
  client_context& operator=(const client_context&) = delete;
  SSL_CTX* get() const { return made_; }

 private:
  SSL_CTX* made_;
};

struct connection {
  int fd = -1;
  SSL* ssl = nullptr;
  std::size_t written = 0, read = 0;
  bool open = false;
  unsigned waits_for = 0;
};

void open(connection& c, const client_context& with, const endpoint& where) {
  c.fd = ::socket(where.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c.fd < 0 || ::connect(c.fd, where.address(), where.length) != 0)
    throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  const int on = 1;
  ::setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::ioctl(c.fd, FIONBIO, &on);
  c.ssl = SSL_new(with.get());
  SSL_set_fd(c.ssl, c.fd);
  SSL_set_connect_state(c.ssl);
  c.written = c.read = 0;
  c.open = false;
}
void close(connection& c) {
  if (c.ssl != nullptr) SSL_free(std::exchange(c.ssl, nullptr));
  if (c.fd >= 0) ::close(std::exchange(c.fd, -1));
}

/// What it waits for, or an exception.
unsigned wanted(const connection& c, int done) {
  const int why = SSL_get_error(c.ssl, done);
  if (why == SSL_ERROR_WANT_READ) return EPOLLIN;
  if (why == SSL_ERROR_WANT_WRITE) return EPOLLOUT;
  char words[200];
  ERR_error_string_n(ERR_peek_error(), words, sizeof words);
  throw std::runtime_error(std::string("TLS: ") + words);
}

class poller {
 public:
  poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {}
  ~poller() { ::close(fd_); }
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;
  void watch(connection& c, unsigned what, bool fresh) const {
    if (!fresh && c.waits_for == what) return;
    c.waits_for = what;
    epoll_event event{what, {.ptr = &c}};
    ::epoll_ctl(fd_, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c.fd, &event);
  }
  template <class What>
  void wait(What what) {
    const int n = ::epoll_wait(fd_, events_.data(), static_cast<int>(events_.size()), 10'000);
    if (n <= 0) throw std::runtime_error("the server does not answer");
    for (int i = 0; i < n; ++i)
      what(*static_cast<connection*>(events_[static_cast<std::size_t>(i)].data.ptr));
  }

 private:
  int fd_;
  std::array<epoll_event, 256> events_{};
};

/// True: the handshake is over.
bool shake(connection& c, const poller& on) {
  if (c.open) return true;
  ERR_clear_error();
  const int done = SSL_do_handshake(c.ssl);
  c.open = done == 1;
  if (!c.open) on.watch(c, wanted(c, done), false);
  return c.open;
}

}  // namespace

void run_tls_echo(const tls_load& load) {
  const client_context with;
  poller events;
  std::vector<connection> all(load.connections);
  std::vector<char> message(load.message), back(load.message);
  for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<char>(i * 31 + 7);
  std::uint64_t begun = 0, done = 0;
  for (auto& c : all) {
    open(c, with, load.where);
    events.watch(c, EPOLLOUT, true);
  }
  // Until it has to wait.
  const auto go_on = [&](connection& c) {
    ERR_clear_error();
    if (!shake(c, events)) return;
    for (;;) {
      if (c.written == 0 && c.read == 0) {
        if (begun == load.count) return events.watch(c, 0, false);
        ++begun;
      }
      while (c.written < message.size()) {
        const int n = SSL_write(c.ssl, message.data() + c.written,
                                static_cast<int>(message.size() - c.written));
        if (n <= 0) return events.watch(c, wanted(c, n) | EPOLLIN, false);
        c.written += static_cast<std::size_t>(n);
      }
      while (c.read < message.size()) {
        const int n = SSL_read(c.ssl, back.data(), static_cast<int>(back.size() - c.read));
        if (n <= 0) return events.watch(c, wanted(c, n), false);
        if (std::memcmp(back.data(), message.data() + c.read, static_cast<std::size_t>(n)) != 0)
          throw std::runtime_error("an echo came back wrong");
        c.read += static_cast<std::size_t>(n);
      }
      ++done;
      c.written = c.read = 0;
    }
  };
  while (done < load.count) events.wait(go_on);
  for (auto& c : all) close(c);
}

void run_tls_handshakes(const tls_load& load) {
  const client_context with;
  poller events;
  std::vector<connection> all(load.connections);
  std::uint64_t begun = 0, done = 0;
  const auto begin = [&](connection& c) {
    if (begun == load.count) return;
    ++begun;
    open(c, with, load.where);
    events.watch(c, EPOLLOUT, true);
  };
  for (auto& c : all) begin(c);
  const auto go_on = [&](connection& c) {
    if (c.ssl == nullptr || !shake(c, events)) return;
    // A byte there and back: the server has finished its side.
    char byte = 'x';
    if (c.written == 0) c.written = SSL_write(c.ssl, &byte, 1) == 1 ? 1 : 0;
    ERR_clear_error();
    const int n = SSL_read(c.ssl, &byte, 1);
    if (n <= 0) return events.watch(c, wanted(c, n), false);
    ++done;
    SSL_shutdown(c.ssl);
    close(c);
    begin(c);
  };
  while (done < load.count) events.wait(go_on);
  for (auto& c : all) close(c);
}

struct idle_tls::state {
  client_context with;
  std::vector<connection> all;
};

idle_tls::idle_tls(const endpoint& where, unsigned connections) : state_(new state) {
  state_->all.resize(connections);
  for (auto& c : state_->all) {
    open(c, state_->with, where);
    const int off = 0;
    ::ioctl(c.fd, FIONBIO, &off);
    char byte = 'x';
    if (SSL_do_handshake(c.ssl) != 1 || SSL_write(c.ssl, &byte, 1) != 1 ||
        SSL_read(c.ssl, &byte, 1) != 1)
      throw std::runtime_error("an idle connection could not be opened");
  }
}
idle_tls::~idle_tls() {
  for (auto& c : state_->all) close(c);
  delete state_;
}

void write_certificate(const std::string& file) {
  auto* key = EVP_EC_gen("P-256");
  auto* made = X509_new();
  X509_set_version(made, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
  X509_gmtime_adj(X509_getm_notBefore(made), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made), 7L * 24 * 3600);
  X509_set_pubkey(made, key);
  auto* name = X509_get_subject_name(made);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("127.0.0.1"), -1, -1, 0);
  X509_set_issuer_name(made, name);
  X509_sign(made, key, EVP_sha256());
  std::FILE* to = std::fopen(file.c_str(), "we");
  if (to == nullptr) throw std::runtime_error("cannot write " + file);
  PEM_write_X509(to, made);
  PEM_write_PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(to);
  X509_free(made);
  EVP_PKEY_free(key);
}

}  // namespace weir::bench

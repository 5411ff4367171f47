// Baseline: OpenSSL between memory BIOs, on io_uring as raw_uring.cpp has it: multishot accept and
// receive into provided buffers, one send per socket, one enter per turn.
#include <liburing.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "raw_tls.hpp"

namespace weir::bench {
namespace {

constexpr unsigned ring_entries = 4096, buffer_count = 1024;
constexpr std::size_t buffer_bytes = 16 * 1024 + 512;  // a record

enum class action : std::uint8_t { accept, receive, send };
std::uint64_t pack(action what, int fd) {
  return static_cast<std::uint64_t>(what) << 32 | static_cast<std::uint32_t>(fd);
}

struct peer {
  SSL* ssl = nullptr;
  BIO* in = nullptr;
  BIO* out = nullptr;
  std::vector<char> going;
  bool receiving = false, sending = false, closing = false;
};

class uring_echo {
 public:
  explicit uring_echo(const raw_tls_settings& settings)
      : context_(server_context(settings)), listener_(listen_on(settings.where, 4096)) {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
                       IORING_SETUP_CQSIZE;
    parameters.cq_entries = 2 * ring_entries;
    if (const int rc = io_uring_queue_init_params(ring_entries, &ring_, &parameters); rc < 0)
      throw std::system_error(-rc, std::system_category(), "io_uring_queue_init");
    io_uring_register_ring_fd(&ring_);
    set_up_buffers();
    announce(local_endpoint(listener_), "tls-uring");
  }
  [[noreturn]] void run() {
    arm_accept();
    for (;;) {
      io_uring_submit_and_wait(&ring_, 1);
      io_uring_cqe* cqe = nullptr;
      unsigned head = 0, seen = 0;
      io_uring_for_each_cqe(&ring_, head, cqe) {
        handle(*cqe);
        ++seen;
      }
      io_uring_cq_advance(&ring_, seen);
      io_uring_buf_ring_advance(buffers_, static_cast<int>(std::exchange(returned_, 0u)));
    }
  }

 private:
  void set_up_buffers() {
    const std::size_t ring_bytes = buffer_count * sizeof(io_uring_buf);
    void* shared = ::mmap(nullptr, ring_bytes + buffer_count * buffer_bytes, PROT_READ | PROT_WRITE,
                          MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (shared == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap");
    buffers_ = static_cast<io_uring_buf_ring*>(shared);
    memory_ = static_cast<char*>(shared) + ring_bytes;
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(buffers_);
    registration.ring_entries = buffer_count;
    if (const int rc = io_uring_register_buf_ring(&ring_, &registration, 0); rc < 0)
      throw std::system_error(-rc, std::system_category(), "io_uring_register_buf_ring");
    io_uring_buf_ring_init(buffers_);
    for (unsigned i = 0; i < buffer_count; ++i) give_back(i);
    io_uring_buf_ring_advance(buffers_, static_cast<int>(std::exchange(returned_, 0u)));
  }
  void give_back(unsigned buffer) {
    io_uring_buf_ring_add(buffers_, memory_ + buffer * buffer_bytes, buffer_bytes,
                          static_cast<unsigned short>(buffer), buffer_count - 1,
                          static_cast<int>(returned_++));
  }
  io_uring_sqe* next_sqe() {
    auto* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }
  void arm_accept() {
    auto* sqe = next_sqe();
    io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    sqe->user_data = pack(action::accept, listener_);
  }
  void arm_receive(int fd) {
    auto* sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe->user_data = pack(action::receive, fd);
    of(fd).receiving = true;
  }
  void handle(const io_uring_cqe& cqe) {
    const int fd = static_cast<int>(cqe.user_data & 0xffffffff);
    switch (static_cast<action>(cqe.user_data >> 32)) {
      case action::accept: return accepted(cqe);
      case action::receive: return received(fd, cqe);
      case action::send: return sent(fd, cqe);
    }
  }
  void accepted(const io_uring_cqe& cqe) {
    if (cqe.res >= 0) {
      const int on = 1;
      ::setsockopt(cqe.res, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (peers_.size() <= static_cast<std::size_t>(cqe.res))
        peers_.resize(static_cast<std::size_t>(cqe.res) + 1);
      auto& p = of(cqe.res);
      p = {};
      p.ssl = SSL_new(context_);
      p.in = BIO_new(BIO_s_mem());
      p.out = BIO_new(BIO_s_mem());
      SSL_set_bio(p.ssl, p.in, p.out);
      SSL_set_accept_state(p.ssl);
      arm_receive(cqe.res);
    }
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) arm_accept();
  }
  void received(int fd, const io_uring_cqe& cqe) {
    auto& p = of(fd);
    p.receiving = (cqe.flags & IORING_CQE_F_MORE) != 0;
    if (cqe.res > 0) {
      const unsigned buffer = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
      BIO_write(p.in, memory_ + buffer * buffer_bytes, cqe.res);
      give_back(buffer);
      go_on(fd, p);
    } else if (cqe.res != -ENOBUFS) {
      p.closing = true;
    }
    if (p.closing) return close_when_quiet(fd);
    if (!p.receiving) arm_receive(fd);
  }
  void go_on(int fd, peer& p) {
    ERR_clear_error();
    for (;;) {
      const int n = SSL_read(p.ssl, buffer_.data(), static_cast<int>(buffer_.size()));
      if (n <= 0) {
        p.closing = p.closing || SSL_get_error(p.ssl, n) != SSL_ERROR_WANT_READ;
        break;
      }
      SSL_write(p.ssl, buffer_.data(), n);
    }
    send_waiting(fd, p);
  }
  void send_waiting(int fd, peer& p) {
    if (p.sending) return;
    const auto size = BIO_ctrl_pending(p.out);
    if (size == 0) return;
    p.going.resize(size);
    BIO_read(p.out, p.going.data(), static_cast<int>(size));
    auto* sqe = next_sqe();
    io_uring_prep_send(sqe, fd, p.going.data(), size, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->user_data = pack(action::send, fd);
    p.sending = true;
  }
  void sent(int fd, const io_uring_cqe& cqe) {
    auto& p = of(fd);
    p.sending = false;
    if (cqe.res < 0) p.closing = true;
    if (p.closing) return close_when_quiet(fd);
    send_waiting(fd, p);
  }
  void close_when_quiet(int fd) {
    auto& p = of(fd);
    if (p.sending) return;
    if (p.receiving) {
      ::shutdown(fd, SHUT_RDWR);
      return;
    }
    SSL_set_shutdown(p.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(p.ssl);
    p = {};
    ::close(fd);
  }
  peer& of(int fd) { return peers_[static_cast<std::size_t>(fd)]; }

  SSL_CTX* context_;
  int listener_;
  io_uring ring_{};
  io_uring_buf_ring* buffers_ = nullptr;
  char* memory_ = nullptr;
  unsigned returned_ = 0;
  std::vector<peer> peers_;
  std::array<char, 16 * 1024> buffer_{};
};

}  // namespace

void serve_tls_uring(const raw_tls_settings& settings) {
  uring_echo server(settings);
  server.run();
}

}  // namespace weir::bench

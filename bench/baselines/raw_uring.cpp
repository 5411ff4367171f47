// Baseline: io_uring as its authors advise for sockets. Multishot accept, multishot receive into a
// ring of provided buffers, DEFER_TASKRUN, one enter per turn of the loop, the echo sent straight
// from the buffer that arrived, one send per socket.
#include <liburing.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <system_error>
#include <vector>

#include "../clock.hpp"
#include "baselines.hpp"

namespace weir::bench {
namespace {

constexpr unsigned ring_entries = 4096;
constexpr unsigned buffer_count = 2048;  // a power of two
constexpr int buffer_group = 0;

enum class action : std::uint8_t { accept, receive, send };

std::uint64_t pack(action what, int fd) {
  return static_cast<std::uint64_t>(what) << 32 | static_cast<std::uint32_t>(fd);
}

struct piece {
  unsigned buffer;
  unsigned length;
};

struct peer {
  bool receiving = false;
  bool sending = false;
  bool closing = false;
  std::deque<piece> unsent;  // front is in flight while `sending`
};

class uring_echo {
 public:
  explicit uring_echo(const baseline_settings& settings)
      : spin_ns_(settings.busy_poll_us * 1000ull), buffer_bytes_(settings.buffer_bytes) {
    listener_ = listen_on(settings.where, 4096);
    set_up_ring();
    set_up_buffers();
    announce(local_endpoint(listener_), "raw-uring");
  }

  [[noreturn]] void run() {
    arm_accept();
    std::uint64_t idle_since = now_ns();
    for (;;) {
      if (spin_ns_ == 0) {
        io_uring_submit_and_wait(&ring_, 1);
      } else {
        const bool spin = now_ns() - idle_since < spin_ns_;
        if (spin)
          io_uring_submit_and_get_events(&ring_);
        else
          io_uring_submit_and_wait(&ring_, 1);
      }
      io_uring_cqe* cqe = nullptr;
      unsigned head = 0, seen = 0;
      io_uring_for_each_cqe(&ring_, head, cqe) {
        handle(*cqe);
        ++seen;
      }
      io_uring_cq_advance(&ring_, seen);
      if (spin_ns_ > 0 && seen > 0) idle_since = now_ns();
      publish_buffers();
    }
  }

 private:
  void set_up_ring() {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
                       IORING_SETUP_CQSIZE;
    parameters.cq_entries = 2 * ring_entries;
    int rc = io_uring_queue_init_params(ring_entries, &ring_, &parameters);
    if (rc == -EINVAL) {  // before Linux 6.1
      parameters = {};
      parameters.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
      parameters.cq_entries = 2 * ring_entries;
      rc = io_uring_queue_init_params(ring_entries, &ring_, &parameters);
    }
    if (rc < 0) throw std::system_error(-rc, std::system_category(), "io_uring_queue_init");
    io_uring_register_ring_fd(&ring_);
  }

  void set_up_buffers() {
    const std::size_t ring_bytes = buffer_count * sizeof(io_uring_buf);
    void* shared =
        ::mmap(nullptr, ring_bytes + buffer_count * buffer_bytes_, PROT_READ | PROT_WRITE,
               MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
    if (shared == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap");
    buffers_ = static_cast<io_uring_buf_ring*>(shared);
    memory_ = static_cast<char*>(shared) + ring_bytes;
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(buffers_);
    registration.ring_entries = buffer_count;
    registration.bgid = buffer_group;
    if (const int rc = io_uring_register_buf_ring(&ring_, &registration, 0); rc < 0)
      throw std::system_error(-rc, std::system_category(), "io_uring_register_buf_ring");
    io_uring_buf_ring_init(buffers_);
    for (unsigned i = 0; i < buffer_count; ++i) give_back(i);
    publish_buffers();
  }

  void give_back(unsigned buffer) {
    io_uring_buf_ring_add(buffers_, memory_ + buffer * buffer_bytes_,
                          static_cast<unsigned>(buffer_bytes_), static_cast<unsigned short>(buffer),
                          static_cast<int>(buffer_count - 1), static_cast<int>(returned_));
    ++returned_;
    --held_;
  }

  void publish_buffers() {
    if (returned_ > 0) io_uring_buf_ring_advance(buffers_, static_cast<int>(returned_));
    returned_ = 0;
    if (starved_.empty() || held_ >= buffer_count) return;
    for (const int fd : starved_) arm_receive(fd);  // they met an empty ring
    starved_.clear();
  }

  io_uring_sqe* next_sqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }

  void arm_accept() {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    sqe->user_data = pack(action::accept, listener_);
  }

  void arm_receive(int fd) {
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
    sqe->user_data = pack(action::receive, fd);
    of(fd).receiving = true;
  }

  void send_front(int fd) {
    peer& p = of(fd);
    const piece front = p.unsent.front();
    io_uring_sqe* sqe = next_sqe();
    io_uring_prep_send(sqe, fd, memory_ + front.buffer * buffer_bytes_, front.length,
                       MSG_NOSIGNAL | MSG_WAITALL);
    sqe->user_data = pack(action::send, fd);
    p.sending = true;
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
      of(cqe.res) = peer{};
      arm_receive(cqe.res);
    }
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) arm_accept();
  }

  void received(int fd, const io_uring_cqe& cqe) {
    peer& p = of(fd);
    if (cqe.res > 0) {
      ++held_;
      p.unsent.push_back({cqe.flags >> IORING_CQE_BUFFER_SHIFT, static_cast<unsigned>(cqe.res)});
      if (!p.sending) send_front(fd);
    } else if (cqe.res != -ENOBUFS) {
      p.closing = true;
    }
    if ((cqe.flags & IORING_CQE_F_MORE) != 0) return;
    p.receiving = false;
    if (p.closing)
      close_when_quiet(fd);
    else if (cqe.res == -ENOBUFS)
      starved_.push_back(fd);
    else
      arm_receive(fd);
  }

  void sent(int fd, const io_uring_cqe& cqe) {
    peer& p = of(fd);
    p.sending = false;
    give_back(p.unsent.front().buffer);
    const bool whole = cqe.res == static_cast<int>(p.unsent.front().length);
    p.unsent.pop_front();
    if (!whole) {
      for (const piece& rest : p.unsent) give_back(rest.buffer);
      p.unsent.clear();
      p.closing = true;
      ::shutdown(fd, SHUT_RDWR);  // ends the receive
    }
    if (!p.unsent.empty())
      send_front(fd);
    else if (p.closing)
      close_when_quiet(fd);
  }

  void close_when_quiet(int fd) {
    if (of(fd).receiving || of(fd).sending) return;
    of(fd) = peer{};
    std::erase(starved_, fd);
    ::close(fd);
  }

  peer& of(int fd) { return peers_[static_cast<std::size_t>(fd)]; }

  io_uring ring_{};
  int listener_ = -1;
  std::uint64_t spin_ns_;
  std::size_t buffer_bytes_;
  io_uring_buf_ring* buffers_ = nullptr;
  char* memory_ = nullptr;
  unsigned returned_ = 0;         // given back in this turn, not yet visible to the kernel
  unsigned held_ = buffer_count;  // not in the kernel's hands
  std::vector<peer> peers_;       // by descriptor
  std::vector<int> starved_;
};

}  // namespace

void serve_raw_uring(const baseline_settings& settings) {
  uring_echo server(settings);
  server.run();
}

}  // namespace weir::bench

// See uring_watch.hpp. A request that is under way when the watch ends is cancelled at once, since
// it holds the file: a name or an address would else stay taken.
#include "runtime/driver/uring/uring_watch.hpp"

#include <poll.h>

namespace weir::detail {

struct uring_watch::requests final : ring_client {
  static constexpr unsigned reads = 0, writes = 1;

  requests(uring_driver& d, int descriptor, watch_client& c)
      : ring_client(&requests::answered), driver(&d), client(&c), fd(descriptor) {}

  void ask(unsigned tag) {
    if ((waiting & 1u << tag) != 0) return;
    waiting |= 1u << tag;
    auto& entry = driver->sqe();
    entry.opcode = IORING_OP_POLL_ADD;
    entry.fd = fd;
    entry.poll32_events = tag == reads ? POLLIN : POLLOUT;
    entry.user_data = user_data(tag);
  }
  static void answered(ring_client& c, unsigned tag, std::int32_t, std::uint32_t) noexcept {
    auto& self = static_cast<requests&>(c);
    self.waiting &= ~(1u << tag);
    if (self.client == nullptr) {
      if (self.waiting == 0) delete &self;
    } else if (tag == reads) {
      self.client->readable();
    } else {
      self.client->writable();
    }
  }

  uring_driver* driver;
  watch_client* client;  // null: the watch has ended, and the last answer frees this
  int fd;
  unsigned waiting = 0;  // bits: reads, writes
};

uring_watch::uring_watch(uring_driver& driver, int fd, watch_client& client)
    : polls_(std::make_unique<requests>(driver, fd, client)) {}

uring_watch::~uring_watch() {
  if (polls_->waiting == 0) return;
  auto* left = polls_.release();
  left->client = nullptr;
  for (unsigned tag : {requests::reads, requests::writes})
    if ((left->waiting & 1u << tag) != 0) left->driver->cancel(left->user_data(tag));
  left->driver->flush();
}

void uring_watch::want_readable() { polls_->ask(requests::reads); }
void uring_watch::want_writable() { polls_->ask(requests::writes); }

result<std::unique_ptr<watch>> uring_driver::watch_descriptor(int fd, watch_client& client) {
  return std::unique_ptr<watch>(std::make_unique<uring_watch>(*this, fd, client));
}

}  // namespace weir::detail

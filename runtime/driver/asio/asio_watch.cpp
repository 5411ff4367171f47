// Readiness of a descriptor through Asio's reactor, for whoever asks the driver for it.
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "backend/watch.hpp"
#include "driver/asio/asio_driver.hpp"

namespace weir::detail {
namespace {

class reactor_entry final : public watched_descriptor {
 public:
  reactor_entry(asio_driver& driver, watch_client& client)
      : watched_descriptor(driver), client_(&client) {}
  /// The owner lets go: it hears no more, and the descriptor is its own again.
  void end() noexcept {
    client_ = nullptr;
    release();
    drop();
  }

 private:
  void readable() override {
    if (client_ != nullptr) client_->readable();
  }
  void writable() override {
    if (client_ != nullptr) client_->writable();
  }
  watch_client* client_;
};

class asio_watch final : public watch {
 public:
  explicit asio_watch(reactor_entry& entry) : entry_(entry) {}
  ~asio_watch() override { entry_.end(); }
  void want_readable() override { entry_.wait_readable(); }
  void want_writable() override { entry_.wait_writable(); }

 private:
  reactor_entry& entry_;
};

/// One direction of a descriptor whose open file others have too. Asio makes what it watches
/// non-blocking, so it watches an epoll descriptor instead, which becomes readable.
class stand_in final : public watched_descriptor {
 public:
  stand_in(asio_driver& driver, watch_client& client, bool reads)
      : watched_descriptor(driver), client_(&client), reads_(reads) {}
  std::error_code begin(int shared) {
    const int set = ::epoll_create1(EPOLL_CLOEXEC);
    if (set < 0) return {errno, std::generic_category()};
    epoll_event wanted{};
    wanted.events = reads_ ? EPOLLIN : EPOLLOUT;
    // (EPERM: it is always ready, and nobody will wait.)
    std::error_code error;
    if (::epoll_ctl(set, EPOLL_CTL_ADD, shared, &wanted) != 0 && errno != EPERM)
      error = {errno, std::generic_category()};
    if (!error) error = assign(set);
    if (error) ::close(set);
    return error;
  }
  void end() noexcept {
    client_ = nullptr;
    close();
    drop();
  }

 private:
  void readable() override {
    if (client_ == nullptr) return;
    if (reads_)
      client_->readable();
    else
      client_->writable();
  }
  void writable() override {}

  watch_client* client_;
  bool reads_;
};

class shared_watch final : public watch {
 public:
  shared_watch(asio_driver& driver, watch_client& client)
      : reads_(*new stand_in(driver, client, true)),
        writes_(*new stand_in(driver, client, false)) {}
  ~shared_watch() override {
    reads_.end();
    writes_.end();
  }
  std::error_code begin(int fd) {
    if (auto error = reads_.begin(fd)) return error;
    return writes_.begin(fd);
  }
  void want_readable() override { reads_.wait_readable(); }
  void want_writable() override { writes_.wait_readable(); }

 private:
  stand_in& reads_;
  stand_in& writes_;
};

}  // namespace

result<std::unique_ptr<watch>> asio_driver::watch_shared(int fd, watch_client& client) {
  auto made = std::make_unique<shared_watch>(*this, client);
  if (auto error = made->begin(fd)) return error;
  return std::unique_ptr<watch>(std::move(made));
}

result<std::unique_ptr<watch>> asio_driver::watch_descriptor(int fd, watch_client& client) {
  auto* entry = new reactor_entry(*this, client);
  if (auto error = entry->assign(fd)) {
    entry->drop();
    return error;
  }
  return std::unique_ptr<watch>(std::make_unique<asio_watch>(*entry));
}

}  // namespace weir::detail

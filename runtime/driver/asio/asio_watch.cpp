// Readiness of a descriptor, for whoever asks the driver for it. Its open file's flags stay as they
// are.
#include <utility>

#include "runtime/backend/watch.hpp"
#include "runtime/driver/asio/asio_driver.hpp"
#include "runtime/driver/asio/watched_descriptor.hpp"

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

}  // namespace

result<std::unique_ptr<watch>> asio_driver::watch_descriptor(int fd, watch_client& client) {
  auto* entry = new reactor_entry(*this, client);
  if (auto error = entry->assign(fd)) {
    entry->drop();
    return error;
  }
  return std::unique_ptr<watch>(std::make_unique<asio_watch>(*entry));
}

}  // namespace weir::detail

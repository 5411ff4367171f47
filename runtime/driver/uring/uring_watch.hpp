// Readiness of a descriptor through the ring: one poll request for each direction that somebody
// waits in.
#pragma once

#include <memory>

#include "runtime/backend/watch.hpp"
#include "runtime/driver/uring/uring_driver.hpp"

namespace weir::detail {

class uring_watch final : public watch {
 public:
  uring_watch(uring_driver& driver, int fd, watch_client& client);
  ~uring_watch() override;

  void want_readable() override;
  void want_writable() override;

 private:
  struct requests;
  std::unique_ptr<requests> polls_;  // the kernel's answers come here, also after this object
};

}  // namespace weir::detail

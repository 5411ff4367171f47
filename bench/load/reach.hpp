// How a load reaches its target: an address or a name, a Unix socket, secured or not. One for each
// shard, as TLS contexts are.
#pragma once

#include <memory>

#include "load/plan.hpp"
#include "weir/stream.hpp"

namespace weir::load {

class way_there {
 public:
  explicit way_there(const plan& of);
  ~way_there();
  way_there(const way_there&) = delete;
  way_there& operator=(const way_there&) = delete;

  /// Throws io_error.
  task<any_stream> open(shard& here);

 private:
  task<any_stream> open_tcp(shard& here);

  struct trust;
  const plan& plan_;
  std::unique_ptr<trust> trust_;
};

/// The address of a target whose host is one, or a name. Throws io_error.
task<endpoint> address_of(const target& to);

}  // namespace weir::load

// A descriptor that somebody handed in, behind which the guest is: a connected Unix stream that
// carries frames (frame_stream.hpp), or a TUN or TAP device of whatever namespace.
#pragma once

#include <cstdint>

#include "runtime/tools/gate/guest.hpp"

namespace weir::gate {

struct handed_in {
  unique_fd stream;     ///< or:
  guest_device device;  ///< which may be a TUN device, without
  bool ethernet = true;
};

/// Takes it over. Throws config_error with what it is not. The device's own MTU is not known here:
/// `mtu` has to be it.
handed_in take_in(int fd, std::uint16_t mtu);

}  // namespace weir::gate

// Many datagrams in one call, with what their headers say beside the bytes: recvmmsg(2) and
// sendmmsg(2) on a UDP socket of the kernel, without waiting and without allocating.
#pragma once

#include <cstddef>
#include <span>

#include "weir/datagram.hpp"
#include "weir/detail/datagram.hpp"
#include "weir/stack/result.hpp"

namespace weir::detail::kernel {

/// Has the kernel tell, from now on, what an incoming_datagram shows; gro as udp_options has it.
std::error_code show_details(int fd, ip_family family, bool gro);
/// Whether somebody else asked for gro.
bool joins(int fd);

/// Takes what waits, udp_socket::max_batch at most. What others sent to a connected socket before
/// it was connected is dropped. operation_would_block when there is nothing.
result<std::size_t> receive_batch(int fd, const datagram_socket& socket,
                                  std::span<incoming_datagram> into);

/// Sends what there is room for, udp_socket::max_batch at most, one at least: an error
/// (operation_would_block among them) is about the first.
result<std::size_t> send_batch(int fd, const datagram_socket& socket,
                               std::span<const outgoing_datagram> batch);

/// What a batch's operation has come to: over, with `error`, or it waits for readiness.
struct batch_step {
  bool over = false;
  std::error_code error = {};
  unsigned calls = 0;     ///< of the system, that it took
  std::size_t bytes = 0;  ///< that they moved
};
batch_step go_on(int fd, receive_datagram_operation& op);
batch_step go_on(int fd, send_datagram_operation& op);

}  // namespace weir::detail::kernel

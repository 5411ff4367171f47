// Kernel clients: plain sockets. Many at once through poll(2), each sending its pattern and
// comparing what comes back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/transport/kernel/kernel_socket.hpp"

namespace kernel_test {

using fd = weir::detail::kernel::unique_fd;

/// The kernel's congestion control of one socket (tcp(7), TCP_CONGESTION); throws.
void use_congestion(int socket, const std::string& name);
/// A blocking socket, connected; throws std::runtime_error. `congestion` empty: the kernel's
/// choice.
fd connect_to(const char* address, std::uint16_t port, const std::string& congestion = {});
/// The same over UDP.
fd udp_to(const char* address, std::uint16_t port);
void send_all(int socket, const void* data, std::size_t size);
/// Reads until the end of the stream; throws on a reset.
std::string read_all(int socket);

/// One connection for each size, all at once: sends that many bytes of its pattern, shuts down, and
/// compares what comes back byte by byte. An error text, or nothing.
std::string exchange_all(const char* address, std::uint16_t port,
                         const std::vector<std::uint64_t>& sizes,
                         const std::string& congestion = {});

}  // namespace kernel_test

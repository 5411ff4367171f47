// io_uring's constants that the installed header may be too old to know (liburing 2.3 describes
// Linux 6.0). The values are those of the kernel's include/uapi/linux/io_uring.h; they are ABI and
// never change. Whether the running kernel knows a feature is asked of the kernel (see
// uring_probe.hpp), never of a header.
#pragma once

#include <liburing.h>

// Linux 6.0: multishot receive came together with the operation number 47, by which it is detected.
#ifndef IORING_RECV_MULTISHOT
#define IORING_RECV_MULTISHOT (1U << 1)
#endif

// Linux 6.15: a wait for completions is not accounted as waiting for a disk.
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

namespace weir::detail::uring {

// Enumerators there, so they cannot be tested for with the preprocessor: names of our own.
inline constexpr unsigned op_msg_ring = 40;             // IORING_OP_MSG_RING, Linux 5.18
inline constexpr unsigned op_send_zc = 47;              // IORING_OP_SEND_ZC, Linux 6.0
inline constexpr unsigned op_socket = 45;               // IORING_OP_SOCKET, Linux 5.19
inline constexpr unsigned op_read_multishot = 49;       // IORING_OP_READ_MULTISHOT, Linux 6.7
inline constexpr unsigned op_ftruncate = 55;            // IORING_OP_FTRUNCATE, Linux 6.9
inline constexpr unsigned register_send_msg_ring = 31;  // IORING_REGISTER_SEND_MSG_RING, Linux 6.13
inline constexpr unsigned msg_data = 0;                 // IORING_MSG_DATA

}  // namespace weir::detail::uring

// What weir uses of io_uring where the kernel has it. Each feature has a fallback, the name by
// which `uring.hide` and weir-probe know it, and the Linux release that brought it. Knows no ring:
// what is there is found out in driver/uring.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace weir::detail {

/// A Linux release as a number that can be compared: 6.13 is 613.
constexpr unsigned linux_release(unsigned major, unsigned minor) { return major * 100 + minor; }

struct uring_features {
  bool bounded_workers = false;    ///< the kernel's own threads for files can be bounded
  bool make_directory = false;     ///< directories are made by the ring
  bool cqe_skip = false;           ///< a request may leave no completion when all went well
  bool submit_all = false;         ///< a request that is refused does not hold up the others
  bool registered_ring = false;    ///< the ring's descriptor needs no lookup in each call
  bool coop_taskrun = false;       ///< completions do not interrupt the shard
  bool taskrun_flag = false;       ///< the ring says when there is something to ask for
  bool buffer_rings = false;       ///< buffers are offered to the kernel through shared memory
  bool multishot_accept = false;   ///< one request brings many connections
  bool multishot_receive = false;  ///< one request brings many chunks
  bool single_issuer = false;      ///< the kernel knows that one thread submits
  bool defer_taskrun = false;      ///< completions are found only when the shard asks for them
  bool multishot_read = false;     ///< one request brings many frames of a device
  bool resize_file = false;        ///< files are cut and filled up by the ring
  bool send_msg_ring = false;      ///< a wake-up from a thread without a ring
  bool no_iowait = false;          ///< waiting is not accounted as waiting for a disk
};

struct uring_feature {
  std::string_view name;
  bool uring_features::* member;
  unsigned since;
  const char* without;  ///< what is done instead, or what it costs
};

// In the order of release.
inline constexpr auto uring_feature_table = std::to_array<uring_feature>({
    {"bounded_workers", &uring_features::bounded_workers, linux_release(5, 15),
     "the kernel has up to four threads for each core to wait for a ring's files"},
    {"make_directory", &uring_features::make_directory, linux_release(5, 15),
     "directories are made by the pool of offload()"},
    {"cqe_skip", &uring_features::cqe_skip, linux_release(5, 17),
     "a completion for each cancellation and close"},
    {"submit_all", &uring_features::submit_all, linux_release(5, 18),
     "a request that is refused holds up those behind it until the next call"},
    {"registered_ring", &uring_features::registered_ring, linux_release(5, 18),
     "each call looks the ring's descriptor up"},
    {"coop_taskrun", &uring_features::coop_taskrun, linux_release(5, 19),
     "completions interrupt the shard"},
    {"taskrun_flag", &uring_features::taskrun_flag, linux_release(5, 19),
     "completions interrupt the shard"},
    {"buffer_rings", &uring_features::buffer_rings, linux_release(5, 19),
     "a buffer for each waiting reader"},
    {"multishot_accept", &uring_features::multishot_accept, linux_release(5, 19),
     "a request for each connection"},
    {"multishot_receive", &uring_features::multishot_receive, linux_release(6, 0),
     "a request for each receive"},
    {"single_issuer", &uring_features::single_issuer, linux_release(6, 0),
     "the kernel locks the ring for each call"},
    {"defer_taskrun", &uring_features::defer_taskrun, linux_release(6, 1),
     "completions are handled when the kernel likes"},
    {"multishot_read", &uring_features::multishot_read, linux_release(6, 7),
     "a poll, then a system call for each packet of a TUN device"},
    {"resize_file", &uring_features::resize_file, linux_release(6, 9),
     "files are resized by the pool of offload()"},
    {"send_msg_ring", &uring_features::send_msg_ring, linux_release(6, 13),
     "shards are woken by an eventfd"},
    {"no_iowait", &uring_features::no_iowait, linux_release(6, 15), "waiting counts as I/O load"},
});

struct uring_profile {
  std::string_view name;
  unsigned release;
};
/// What `uring.profile` can be, beside the kernel's own.
inline constexpr auto uring_profiles = std::to_array<uring_profile>(
    {{"5.19", linux_release(5, 19)}, {"6.1", linux_release(6, 1)}, {"6.6", linux_release(6, 6)}});

}  // namespace weir::detail

// The echo servers that weir is measured against, each written plainly with what its interface does
// best. They know nothing of weir. Each serves on one thread until it is killed, and announces
// itself like weir's own servers do.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "../endpoint.hpp"

namespace weir::bench {

struct baseline_settings {
  endpoint where;
  unsigned busy_poll_us = 0;        // spin this long before sleeping (raw-epoll, raw-uring)
  std::size_t buffer_bytes = 4096;  // one provided buffer (raw-uring)
  std::vector<std::string> services{"echo"};  // the next ones on the next ports (raw-epoll)
};

[[noreturn]] void serve_raw_epoll(const baseline_settings& settings);
[[noreturn]] void serve_raw_uring(const baseline_settings& settings);
[[noreturn]] void serve_asio(const baseline_settings& settings);
[[noreturn]] void serve_libuv(const baseline_settings& settings);
/// The raw epoll loop in a network namespace of its own, joined to ours by a veth pair: kernel TCP
/// on both sides of a link.
[[noreturn]] void serve_veth_epoll(const baseline_settings& settings);
/// Answers TCP segments on a TUN device without keeping any state: what no user-space stack on TUN
/// can beat.
[[noreturn]] void serve_tun_reflector(const baseline_settings& settings);

/// Which reactor this translation unit's Asio was built on: "asio-epoll" or "asio-uring".
std::string_view asio_flavour() noexcept;

/// Names that `serve` takes in this build.
std::vector<std::string> baseline_names();
/// Serves the baseline called `name`; throws std::invalid_argument when there is none,
/// std::system_error when it cannot start.
[[noreturn]] void serve_baseline(std::string_view name, const baseline_settings& settings);

}  // namespace weir::bench

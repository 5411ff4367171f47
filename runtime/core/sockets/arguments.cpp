// The checks of addresses that sockets are opened with.
#include "runtime/core/sockets/arguments.hpp"

#include <algorithm>
#include <array>

namespace weir::detail {
namespace {

std::error_code code(std::errc e) { return std::make_error_code(e); }

/// ::ffff:a.b.c.d (RFC 4291 2.5.5.2): IPv4, which has a form of its own here.
bool is_mapped(const ip_address& address) {
  constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return address.is_v6() && std::ranges::equal(address.bytes().first(12), prefix);
}

bool is_dscp(std::optional<std::uint8_t> value) { return value.value_or(0) < 64; }
bool is_ttl(std::optional<std::uint8_t> value) { return value.value_or(1) != 0; }
/// What Linux takes (MAX_TCP_KEEPIDLE).
bool is_keep_alive_time(std::optional<duration> value) {
  constexpr duration longest = std::chrono::seconds(32767);
  return !value || (*value > duration{} && *value <= longest);
}

/// What Linux takes (TCP_MIN_MSS, MAX_TCP_WINDOW).
bool is_segment(std::optional<std::uint16_t> value) {
  return value.value_or(88) >= 88 && value.value_or(88) <= 32767;
}

bool is_one_host(const ip_address& address) {
  return !address.is_multicast() && !address.is_limited_broadcast() && !is_mapped(address);
}

}  // namespace

std::error_code check_local(const endpoint& local, bool allow_wildcard) {
  if (local.address.is_unspecified() && !allow_wildcard) return code(std::errc::permission_denied);
  if (!is_one_host(local.address)) return code(std::errc::invalid_argument);
  return {};
}

std::error_code check_options(const stream_options& options) {
  const auto probes = options.keep_alive_probes.value_or(1);
  const bool good = is_dscp(options.dscp) && is_ttl(options.ttl) && probes >= 1 && probes <= 127 &&
                    is_keep_alive_time(options.keep_alive_idle) &&
                    is_keep_alive_time(options.keep_alive_interval) &&
                    is_segment(options.max_segment);
  return good ? std::error_code() : code(std::errc::invalid_argument);
}

std::error_code check_open(const stream_options& options) {
  if (auto error = check_options(options)) return error;
  return options.max_segment ? code(std::errc::operation_not_supported) : std::error_code();
}

std::error_code check_listen(const listen_options& options) {
  if (options.stream.cork) return code(std::errc::invalid_argument);
  return check_options(options.stream);
}

std::error_code check_options(const udp_options& options) {
  const bool good = is_dscp(options.dscp) && is_ttl(options.ttl);
  return good ? std::error_code() : code(std::errc::invalid_argument);
}

std::error_code check_connect(const endpoint& remote, const connect_options& options) {
  if (remote.address.is_unspecified() || remote.port == 0)
    return code(std::errc::address_not_available);
  if (!is_one_host(remote.address)) return code(std::errc::invalid_argument);
  if (auto error = check_options(options.stream)) return error;
  const auto& local = options.local.address;
  if (local.is_unspecified()) return {};
  if (local.family() != remote.address.family())
    return code(std::errc::address_family_not_supported);
  return is_one_host(local) ? std::error_code() : code(std::errc::invalid_argument);
}

std::error_code check_remote(ip_family family, const endpoint& to) {
  if (to.address.family() != family) return code(std::errc::address_family_not_supported);
  if (to.port == 0 || to.address.is_unspecified() || !is_one_host(to.address))
    return code(std::errc::invalid_argument);
  return {};
}

}  // namespace weir::detail

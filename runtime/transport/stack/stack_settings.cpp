// Options and configuration as the stack takes them.
#include "runtime/transport/stack/stack_settings.hpp"

#include <algorithm>

namespace weir::detail {

stack_settings stack_settings_from(const config& settings) {
  stack_settings out;
  out.host.addresses = settings.stack_addresses();
  out.host.mtu = settings.stack.mtu;
  out.listen = settings.listen;
  auto& tcp = out.host.tcp;
  tcp.nodelay = settings.tcp.nodelay;
  if (settings.tcp.receive_buffer != 0) tcp.receive_buffer = settings.tcp.receive_buffer;
  if (settings.tcp.send_buffer != 0) tcp.send_buffer = settings.tcp.send_buffer;
  tcp.user_timeout = std::chrono::milliseconds(settings.tcp.user_timeout_ms);
  tcp.congestion = settings.tcp.congestion == "reno" ? stack::congestion_algorithm::reno
                                                     : stack::congestion_algorithm::cubic;
  return out;
}

stack::listen_options listen_options_from(const listen_options& options,
                                          const config::listen_section& defaults,
                                          const stack::tcp_options& tcp) {
  stack::listen_options out;
  out.sharing = options.sharing.value_or(defaults.sharing);
  out.policy = options.policy.value_or(defaults.policy);
  out.defer_accept =
      options.defer_accept.value_or(std::chrono::milliseconds(defaults.defer_accept_ms));
  out.owner_key = static_cast<stack::owner_key>(options.owner_key != 0 ? options.owner_key
                                                                       : defaults.owner_key);
  out.backlog = options.backlog.value_or(defaults.backlog);
  out.syn_backlog = options.syn_backlog.value_or(defaults.syn_backlog);
  out.overflow = options.overflow.value_or(defaults.overflow);
  out.ask = options.ask;
  out.answer_within = options.answer_within.value_or(out.answer_within);
  out.allow_wildcard = options.allow_wildcard.value_or(defaults.allow_wildcard);
  if (options.stream != stream_options{}) apply(options.stream, out.tcp.emplace(tcp));
  return out;
}

void apply(const stream_options& from, stack::tcp_options& to) {
  if (from.max_segment) to.max_segment = *from.max_segment;
  if (from.nodelay) to.nodelay = *from.nodelay;
  if (from.receive_buffer) to.receive_buffer = *from.receive_buffer;
  if (from.send_buffer) to.send_buffer = *from.send_buffer;
  if (from.keep_alive) to.keep_alive = *from.keep_alive;
  if (from.keep_alive_idle) to.keep_alive_idle = *from.keep_alive_idle;
  if (from.keep_alive_interval) to.keep_alive_interval = *from.keep_alive_interval;
  if (from.keep_alive_probes) to.keep_alive_probes = *from.keep_alive_probes;
  if (from.dscp) to.traffic_class = static_cast<std::uint8_t>(*from.dscp << 2);
  if (from.ttl) to.ttl = *from.ttl;
  if (from.user_timeout) to.user_timeout = std::max(*from.user_timeout, duration{});
}

stack::refusal refusal_for(std::error_code why, stack::refusal otherwise) {
  using enum stack::refusal;
  if (why == std::errc::network_unreachable) return network_unreachable;
  if (why == std::errc::host_unreachable) return host_unreachable;
  if (why == std::errc::permission_denied) return prohibited;
  return why == std::errc::timed_out ? silence : otherwise;
}

}  // namespace weir::detail

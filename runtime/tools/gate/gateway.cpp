// TCP both ways, and the listeners of it all. UDP is in datagrams.cpp.
#include "runtime/tools/gate/gateway.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "runtime/core/log.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "weir/relay.hpp"
#include "weir/timing.hpp"

namespace weir::gate {
namespace {

std::optional<std::uint16_t> port_in(std::string_view text) {
  std::uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || at != end || port == 0) return std::nullopt;
  return port;
}

void fill(std::array<std::uint8_t, 32>& secret) {
  if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
    throw io_error({errno, std::generic_category()}, "getrandom");
}

constexpr duration proxy_patience = std::chrono::seconds(60);  // for its answer to one request

/// What the guest is told of an attempt that the host could not make at all: nothing, and it tries
/// again.
std::error_code as_told(std::error_code why) {
  if (why == std::errc::too_many_files_open || why == std::errc::too_many_files_open_in_system ||
      why == std::errc::not_enough_memory || why == std::errc::no_buffer_space ||
      why == std::errc::operation_canceled)
    return std::make_error_code(std::errc::timed_out);
  return why;
}

}  // namespace

std::optional<published> published::parse(std::string_view text) {
  published out;
  if (const auto slash = text.rfind('/'); slash != std::string_view::npos) {
    const auto protocol = text.substr(slash + 1);
    if (protocol != "tcp" && protocol != "udp") return std::nullopt;
    out.udp = protocol == "udp";
    text = text.substr(0, slash);
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto inside = port_in(text.substr(colon + 1));
  auto outside = endpoint::parse(text.substr(0, colon));
  if (const auto port = port_in(text.substr(0, colon)); port && !outside)
    outside = endpoint{ip_address::v4(0x7f000001), *port};
  if (!inside || !outside || outside->port == 0) return std::nullopt;
  out.outside = *outside;
  out.inside = *inside;
  return out;
}

std::string words_of(std::error_code why) {
  if (!why) return "closed";
  if (why == std::errc::connection_refused) return "refused";
  if (why == std::errc::connection_reset || why == std::errc::broken_pipe) return "reset";
  if (why == std::errc::timed_out) return "timed out";
  if (why == std::errc::network_unreachable || why == std::errc::host_unreachable)
    return "unreachable";
  if (why == std::errc::operation_canceled) return "stopped";
  return why.message();
}

gateway::gateway(shard& here, const gateway_options& options, guest_device device, flow_log& log)
    : here_(here), options_(options), log_(log), streams_(here), others_(here) {
  offer_network(std::move(device));
}

void gateway::offer_network(guest_device device) {
  detail::stack_settings how = detail::stack_settings_from(here_.settings());
  auto& host = how.host;
  host.addresses = options_.network.gateway;
  for (const auto& each : options_.network.dns)
    host.addresses.push_back({each, static_cast<std::uint8_t>(each.is_v4() ? 32 : 128)});
  host.mtu = device.mtu;
  host.transmit_checksum_offload = device.checksum_offload;
  host.transmit_segmentation_offload = device.segmentation_offload;
  host.limits.udp_sockets = 2 * options_.max_flows + 64;
  fill(host.secret);
  if (options_.network.ethernet) {
    how.link = guest_link(device.mtu);
    how.link->addresses = host.addresses;
  }
  how.open_port = std::move(device.open_port);
  how.device = device.fd.get();
  how.device_owner = std::make_shared<unique_fd>(std::move(device.fd));
  auto kept = std::make_shared<detail::stack_settings>(std::move(how));
  here_.offer_network(network_name, [&here = here_, kept] {
    return std::make_unique<detail::stack_transport>(here.driver(), std::move(*kept));
  });
}

/// Whom the guest finds on an Ethernet link, and what it is told when it asks.
stack::link_options gateway::guest_link(std::uint16_t mtu) const {
  const auto& network = options_.network;
  stack::link_options out;
  out.mac = stack::mac_for(network.gateway.front().address);
  for (const auto& each : network.guest)
    (each.address.is_v4() ? out.router_v4 : out.router_v6) = each.address;
  if (!network.asks) return out;
  for (const auto& each : network.gateway)
    if (each.address.is_v4()) {
      auto& pool = out.dhcp.emplace();
      pool.server = each;
      pool.first = guest_at(ip_family::v4, 0).address;
      pool.mtu = mtu;
    } else {
      auto& facts = out.advertised.emplace();
      facts.prefix = each;
      facts.mtu = mtu;
      auto& pool = out.dhcpv6.emplace();
      pool.network = each;
      pool.first = network.leased_v6.value();
    }
  for (const auto& each : network.dns)
    (each.is_v4() ? out.dhcp->name_servers : out.advertised->name_servers).push_back(each);
  out.dhcpv6->name_servers = out.advertised->name_servers;
  return out;
}

endpoint gateway::guest_at(ip_family family, std::uint16_t port) const {
  for (const auto& each : options_.network.guest)
    if (each.address.family() == family) return {each.address, port};
  return {options_.network.guest.front().address, port};
}

void gateway::open() {
  for (const auto& each : options_.publish) open_port(each);
  if (!options_.api_socket.empty())
    others_.spawn(serve_api(here_.listen(unix_endpoint(options_.api_socket), {.mode = 0600})));
  listen_options asking;
  asking.syn_backlog = options_.max_flows;
  asking.ask = true;
  asking.network = network_name;
  udp_flow_options flows;
  flows.flows = options_.max_flows;
  flows.idle = options_.udp_idle;
  flows.network = network_name;
  const bool carries_echoes = !options_.upstream && may_carry_echoes();
  for (const auto& all : {any_destination::v4(), any_destination::v6()}) {
    others_.spawn(accept_requests(here_.listen_any(all, asking)));
    others_.spawn(accept_flows(here_.listen_any_udp(all, flows)));
    flows.echo = true;
    if (carries_echoes) others_.spawn(accept_echoes(here_.listen_any_udp(all, flows)));
    flows.echo = false;
  }
}

task<> gateway::close(duration linger) {
  co_await streams_.drain(linger);
  others_.cancel();
  co_await others_.join();
  co_await close_ports();
}

// --- Outwards.

task<> gateway::accept_requests(tcp_listener listener) {
  for (;;) {
    auto asked = co_await listener.accept_request();
    if (!asked) break;
    if (flows_ < options_.max_flows) streams_.spawn(begin(std::move(*asked), place(flows_)));
  }
}

// What is needed until both sides are connected goes before the bytes flow: a flow that is idle
// costs little.
task<> gateway::begin(connection_request asked, place own) {
  flow_line line{"tcp", asked.source(), asked.destination(), here_.now()};
  tcp_stream inside, outside;
  const bool both = co_await connect_both(std::move(asked), line, inside, outside);
  if (!both) co_return;
  if (!options_.policy.is_resolver(line.to) || !options_.policy.has_names())
    co_return carry(std::move(inside), std::move(outside), line, std::move(own));
  auto carried = co_await carry_answers(std::move(inside), std::move(outside));
  line.out = carried.a_to_b;
  line.in = carried.b_to_a;
  log_.over(line, here_.now(), words_of(carried.ec));
}

/// Until both ends: no coroutine waits for that, and the line is kept only where it will be
/// written.
void gateway::carry(tcp_stream inside, tcp_stream outside, const flow_line& line, place own) {
  auto kept = log_.wanted() ? std::make_unique<flow_line>(line) : nullptr;
  if (!streams_.spawn(
          detail::carry_both_ways(std::move(inside), std::move(outside), {}, *this, kept.get())))
    return;
  kept.release();  // relay_over()'s
  own.pass_on();
}

void gateway::relay_over(const relay_result& result, void* note) noexcept {
  const std::unique_ptr<flow_line> line(static_cast<flow_line*>(note));
  --flows_;
  if (line == nullptr) return;
  line->out = result.a_to_b;
  line->in = result.b_to_a;
  log_.over(*line, here_.now(), words_of(result.ec));
}

/// False: the guest was told, and a line written.
task<bool> gateway::connect_both(connection_request asked, flow_line& line, tcp_stream& inside,
                                 tcp_stream& outside) {
  const auto judged = options_.policy.judge(line.to, names_, here_.now());
  if (judged.what == verdict::kind::denied) {
    asked.refuse(std::make_error_code(judged.by != nullptr ? std::errc::permission_denied
                                                           : std::errc::connection_refused));
    log_.over(line, here_.now(), judged.by != nullptr ? "denied by " + judged.by->text : "denied");
    co_return false;
  }
  if (judged.what == verdict::kind::unreachable) {
    asked.refuse();
    log_.over(line, here_.now(), "refused");
    co_return false;
  }
  auto failed = co_await leave(judged.real, outside);
  if (failed) {
    asked.refuse(as_told(failed));
    log_.over(line, here_.now(), words_of(failed));
    co_return false;
  }
  auto accepted = co_await asked.accept().nothrow();
  if (!accepted) {
    outside.abort();
    log_.over(line, here_.now(), words_of(accepted.error()));
    co_return false;
  }
  inside = std::move(*accepted);
  co_return true;
}

/// By the proxy where there is one. Its own address is of no concern to the guest: that it cannot
/// be reached is that nobody can.
task<std::error_code> gateway::leave(endpoint to, tcp_stream& outside) {
  const auto* proxy = options_.upstream ? &*options_.upstream : nullptr;
  auto connected = co_await here_.connect(proxy != nullptr ? proxy->where : to).nothrow();
  if (!connected)
    co_return proxy != nullptr ? std::make_error_code(std::errc::network_unreachable)
                               : connected.error();
  outside = std::move(*connected);
  if (proxy == nullptr) co_return std::error_code();
  std::error_code failed;
  try {
    failed = co_await with_timeout(proxy_patience, proxy->ask(outside, to));
  } catch (const io_error& error) {
    failed = error.code();
  }
  if (failed) outside.abort();
  co_return failed;
}

// --- Inwards.

task<> gateway::publish_tcp(tcp_listener listener, published how) {
  for (;;) {
    auto client = co_await listener.accept();
    if (!client) break;
    if (flows_ < options_.max_flows)
      streams_.spawn(begin_inwards(std::move(*client), how, place(flows_)));
  }
}

task<> gateway::begin_inwards(tcp_stream outside, published how, place own) {
  const auto to = guest_at(how.outside.address.family(), how.inside);
  const flow_line line{"tcp", outside.remote_endpoint(), to, here_.now()};
  auto inside = co_await here_.connect(to, {.network = network_name}).nothrow();
  if (inside) co_return carry(std::move(*inside), std::move(outside), line, std::move(own));
  outside.abort();
  log_.over(line, here_.now(), words_of(inside.error()));
}

}  // namespace weir::gate

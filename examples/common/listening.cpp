// See listening.hpp.
#include "common/listening.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>

#include <fmt/format.h>
#include <weir/admin.hpp>

namespace examples {
namespace {

bool on_kernel_sockets(weir::shard& shard) {
  return shard.backend() == "uring" || shard.backend() == "asio";
}

std::string remedy(weir::shard& shard, const weir::endpoint& where, std::error_code error) {
  if (error == std::errc::address_in_use)
    return " (another program, or another listener of this one, has it)";
  if (error == std::errc::address_not_available) {
    if (on_kernel_sockets(shard)) return " (no interface of this machine has this address)";
    std::string ours;
    for (auto& a : shard.settings().stack_addresses())
      ours += (ours.empty() ? "" : ", ") + a.address.to_string();
    return fmt::format(" (the stack's own address is {}; see --stack.address)", ours);
  }
  if (error == std::errc::permission_denied) {
    if (where.address.is_unspecified())
      return " (listening on every address takes --listen.allow_wildcard)";
    if (where.port < 1024)
      return " (a port below 1024 takes root, CAP_NET_BIND_SERVICE, or sysctl "
             "net.ipv4.ip_unprivileged_port_start)";
  }
  if (error == std::errc::operation_not_supported)
    return fmt::format(" (back end {} cannot do what listen.* asks for, with {} shards)",
                       shard.backend(), shard.settings().shard_count());
  return "";
}

}  // namespace

std::string add_offer(std::vector<offer>& offers, const std::string& service,
                      std::string_view text) {
  auto where = weir::endpoint::parse(text);
  if (!where)
    return "must be an address and a port, such as 127.0.0.1:7 or [::1]:7 (names are not looked "
           "up)";
  auto same = [&](const offer& other) {
    return !other.on_unix() && other.where == *where && where->port != 0;
  };
  if (auto other = std::find_if(offers.begin(), offers.end(), same); other != offers.end())
    return "is given to " + other->service + " already";
  offers.push_back({service, *where});
  return "";
}

std::string add_stream_offer(std::vector<offer>& offers, const std::string& service,
                             std::string_view text) {
  if (!text.starts_with("unix:")) {
    const auto refused = add_offer(offers, service, text);
    return refused.starts_with("must be") ? refused + ", or unix:/PATH or unix:@NAME" : refused;
  }
  const auto local = weir::unix_endpoint::parse(text);
  if (!local || local->is_unnamed())
    return "must be unix:/PATH or unix:@NAME, of at most 107 characters";
  auto same = [&](const offer& other) { return other.local == *local; };
  if (auto other = std::find_if(offers.begin(), offers.end(), same); other != offers.end())
    return "is given to " + other->service + " already";
  offers.push_back({service, {}, *local});
  return "";
}

namespace {

/// What listeners and UDP sockets have in common: how several shards share a pair, and what an
/// error says.
std::optional<weir::sharing> sharing_for(weir::shard& shard, const offer& what) {
  auto shards = shard.settings().shard_count();
  if (shards > 1 && what.where.port == 0)
    throw listen_error(
        fmt::format("{} {}: {} shards cannot each choose a port of their own: name one",
                    what.service, what.where.to_string(), shards));
  if (shards > 1 && shard.settings().listen.sharing == weir::sharing::exclusive)
    return weir::sharing::sharded;
  return std::nullopt;
}

listen_error cannot_listen(weir::shard& shard, const offer& what, std::error_code error) {
  return listen_error(fmt::format("{} {}: cannot listen: {}{}", what.service, what.place(),
                                  error.message(),
                                  what.on_unix() ? "" : remedy(shard, what.where, error)));
}

}  // namespace

weir::tcp_listener listen_for(weir::shard& shard, const offer& what, std::string_view network) {
  auto listener =
      shard.try_listen(what.where, {.sharing = sharing_for(shard, what), .network = network});
  if (!listener && !network.empty())
    throw listen_error(fmt::format("{} {} on network {}: {}{}", what.service, what.place(), network,
                                   listener.error().message(), shard.networks_hint(network)));
  if (!listener) throw cannot_listen(shard, what, listener.error());
  shard.local<weir::admin_pages>().name_socket(listener->local_endpoint(), what.service);
  return std::move(*listener);
}

weir::unix_listener listen_on_unix(weir::shard& shard, const offer& what) {
  const bool several = shard.settings().shard_count() > 1;
  auto listener = shard.try_listen(
      what.local, {.sharing = several ? weir::sharing::shared : weir::sharing::exclusive});
  if (listener) return std::move(*listener);
  throw cannot_listen(shard, what, listener.error());
}

weir::udp_socket bind_for(weir::shard& shard, const offer& what) {
  auto socket = shard.try_bind_udp(what.where, {.sharing = sharing_for(shard, what)});
  if (!socket) throw cannot_listen(shard, what, socket.error());
  shard.local<weir::admin_pages>().name_socket(socket->local_endpoint(), what.service);
  return std::move(*socket);
}

void announcement::shard_listens(weir::shard& shard, const std::vector<offer>& offers) {
  auto shards = shard.settings().shard_count();
  if (++shards_ready_ != shards) return;
  for (const auto& each : offers) {
    fmt::print("listening {} {} backend={} shards={}\n", each.service, each.place(),
               shard.backend(), shards);
    if (on_kernel_sockets(shard) && !each.on_unix() && !each.where.address.is_loopback())
      fmt::print(stderr, "{}: {} {} can be reached by other machines\n", program_, each.service,
                 each.place());
  }
  std::fflush(stdout);
}

}  // namespace examples

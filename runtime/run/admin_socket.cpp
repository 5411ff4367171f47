// Opening the admin endpoint's socket: what is refused, and in which words; and the endpoint of a
// program without run().
#include "runtime/run/admin_socket.hpp"

#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "runtime/core/log.hpp"
#include "runtime/core/sockets/arguments.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "weir/admin.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
namespace {

constexpr std::uint32_t backlog = 64;

std::string remedy(const endpoint& where, std::error_code error) {
  if (error == std::errc::address_in_use) return "; another program has it: choose another port";
  if (error == std::errc::address_not_available) return "; no interface of this machine has it";
  if (error == std::errc::permission_denied && where.address.is_unspecified())
    return "; listening on every address takes listen.allow_wildcard";
  if (error == std::errc::permission_denied) return "; a port below 1024 takes root";
  return "";
}

endpoint where_to_listen(const config& settings) {
  const auto where = endpoint::parse(settings.observe.listen);
  if (!where)
    throw config_error(fmt::format("observe.listen = '{}': must be an address and a port",
                                   settings.observe.listen));
  return *where;
}

void say_where(const endpoint& where) {
  log_line(fmt::format("observing on http://{}/ (/metrics, /sockets, /tasks, /recorder)",
                       where.to_string()));
  if (!where.address.is_loopback())
    log_line(
        fmt::format("observe.listen {} can be reached by other machines: it shows the "
                    "addresses and numbers of every connection to whoever asks",
                    where.to_string()));
}

}  // namespace

std::optional<admin_socket> open_admin_socket(const config& settings) {
  if (settings.observe.listen.empty() || !settings.observe.network.empty()) return {};
  const auto where = where_to_listen(settings);
  const auto open = [&]() -> result<unique_fd> {
    if (auto error = check_local(where, settings.listen.allow_wildcard)) return error;
    config own;  // nothing of the program's wishes
    own.listen.backlog = backlog;
    return kernel::open_listener(where, {}, own, kernel::mode::non_blocking);
  };
  auto fd = open();
  if (!fd)
    throw config_error(fmt::format("observe.listen = '{}': cannot listen: {}{}",
                                   settings.observe.listen, fd.error().message(),
                                   remedy(where, fd.error())));
  admin_socket out{std::move(*fd), {}};
  out.where = kernel::local_endpoint_of(out.fd.get());
  say_where(out.where);
  return out;
}

std::optional<tcp_listener> open_admin_listener(shard& on) {
  const auto& settings = on.settings();
  if (settings.observe.listen.empty() || settings.observe.network.empty()) return {};
  auto listener = on.try_listen(where_to_listen(settings),
                                {.backlog = backlog, .network = settings.observe.network});
  if (!listener)
    throw config_error(fmt::format("observe.listen = '{}': cannot listen on network {}: {}{}",
                                   settings.observe.listen, settings.observe.network,
                                   listener.error().message(),
                                   on.networks_hint(settings.observe.network)));
  say_where(listener->local_endpoint());
  return std::move(*listener);
}

}  // namespace weir::detail

namespace weir {

struct admin_server::impl {
  endpoint where;
  detail::admin_endpoint serving;
};

admin_server::admin_server(const config& settings, std::vector<shard*> shards) {
  auto socket = detail::open_admin_socket(settings);
  if (!socket) throw config_error("observe.listen is empty: there is nowhere to serve on");
  const auto where = socket->where;
  impl_ = std::unique_ptr<impl>(
      new impl{where, detail::admin_endpoint(std::move(*socket), std::move(shards))});
}

admin_server::~admin_server() = default;

const endpoint& admin_server::where() const { return impl_->where; }

}  // namespace weir

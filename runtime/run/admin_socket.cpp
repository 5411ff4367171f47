// Opening the admin endpoint's socket: what is refused, and in which words; and the endpoint of a
// program without run().
#include "run/admin_socket.hpp"

#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/log.hpp"
#include "core/sockets/arguments.hpp"
#include "transport/kernel/kernel_socket.hpp"
#include "weir/admin.hpp"

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

}  // namespace

std::optional<admin_socket> open_admin_socket(const config& settings) {
  if (settings.observe.listen.empty()) return {};
  const auto where = endpoint::parse(settings.observe.listen);
  if (!where)
    throw config_error(fmt::format("observe.listen = '{}': must be an address and a port",
                                   settings.observe.listen));
  const auto open = [&]() -> result<unique_fd> {
    if (auto error = check_local(*where, settings.listen.allow_wildcard)) return error;
    config own;  // nothing of the program's wishes
    own.listen.backlog = backlog;
    return kernel::open_listener(*where, {}, own, kernel::mode::non_blocking);
  };
  auto fd = open();
  if (!fd)
    throw config_error(fmt::format("observe.listen = '{}': cannot listen: {}{}",
                                   settings.observe.listen, fd.error().message(),
                                   remedy(*where, fd.error())));
  admin_socket out{std::move(*fd), {}};
  out.where = kernel::local_endpoint_of(out.fd.get());
  log_line(fmt::format("observing on http://{}/ (/metrics, /sockets, /tasks, /recorder)",
                       out.where.to_string()));
  if (!out.where.address.is_loopback())
    log_line(
        fmt::format("observe.listen {} can be reached by other machines: it shows the "
                    "addresses and numbers of every connection to whoever asks",
                    out.where.to_string()));
  return out;
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

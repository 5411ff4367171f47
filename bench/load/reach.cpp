// See reach.hpp.
#include "load/reach.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "weir/net.hpp"
#include "weir/unix.hpp"
#if WEIR_LOAD_WITH_TLS
#include "weir/tls.hpp"
#endif
#if WEIR_LOAD_WITH_NAMES
#include "weir/resolve.hpp"
#endif

namespace weir::load {

#if WEIR_LOAD_WITH_TLS
struct way_there::trust {
  explicit trust(const plan& of)
      : context({.authorities = of.authorities,
                 .verify = of.verify ? tls::verification::chain_and_name
                                     : tls::verification::none_insecure}) {}
  tls::client_context context;
};
#else
struct way_there::trust {
  explicit trust(const plan&) {
    throw std::invalid_argument("https:// and h2:// were not built in: they need libssl-dev");
  }
};
#endif

way_there::way_there(const plan& of) : plan_(of) {
  if (of.to.secure() && !of.connect) trust_ = std::make_unique<trust>(of);
}
way_there::~way_there() = default;

task<endpoint> address_of(const target& to) {
  const auto address = ip_address::parse(to.host == "localhost" ? "127.0.0.1" : to.host);
  if (address) co_return endpoint(*address, to.port);
#if WEIR_LOAD_WITH_NAMES
  shard& here = co_await this_shard();
  auto found = co_await resolver_of(here).addresses(to.host);
  if (!found.empty()) co_return endpoint(found.front(), to.port);
#endif
  throw io_error(std::make_error_code(std::errc::address_not_available),
                 fmt::format("{} is no address", to.host));
}

task<any_stream> way_there::open_tcp(shard& here) {
#if WEIR_LOAD_WITH_NAMES
  if (!ip_address::parse(plan_.to.host)) {
    any_stream made =
        co_await weir::connect(plan_.to.host, plan_.to.port).timeout(plan_.connect_timeout);
    co_return made;
  }
#endif
  const auto where = co_await address_of(plan_.to);
  any_stream made = co_await here.connect(where).timeout(plan_.connect_timeout);
  co_return made;
}

task<any_stream> way_there::open(shard& here) {
  if (plan_.connect) {
    auto made = co_await plan_.connect(here);
    co_return made;
  }
  if (plan_.to.kind == scheme::unix_socket) {
    any_stream made =
        co_await weir::connect(unix_endpoint(plan_.to.path)).timeout(plan_.connect_timeout);
    co_return made;
  }
  any_stream made = co_await open_tcp(here);
#if WEIR_LOAD_WITH_TLS
  if (trust_) {
    const tls::connect_options how{.name = plan_.to.host,
                                   .alpn = plan_.to.kind == scheme::h2 ? "h2" : "http/1.1"};
    any_stream secured =
        co_await tls::connect(std::move(made), trust_->context, how).timeout(plan_.connect_timeout);
    co_return secured;
  }
#endif
  co_return made;
}

}  // namespace weir::load

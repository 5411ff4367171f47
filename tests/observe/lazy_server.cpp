// A server that listens and never accepts: lazy_server --lazy ADDR:PORT. Its accept queue fills
// and stays full, for tests that look at it. With --hostile its names and pages are markup.
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <weir/admin.hpp>
#include <weir/metrics.hpp>
#include <weir/weir.hpp>

#include "common/listening.hpp"

namespace {

void be_hostile(weir::shard& shard, const weir::endpoint& at) {
  auto& pages = shard.local<weir::admin_pages>();
  pages.name_socket(at, "<img src=x onerror=\"window.hostile=1\">");
  pages.add("hostile", [](std::string_view) {
    return weir::admin_answer{200, "text/html", "<script>window.hostile = 1</script>"};
  });
  pages.add("thrown",
            [](std::string_view) -> weir::admin_answer { throw std::runtime_error("no"); });
  pages.add("asked", [](std::string_view query) {
    return weir::admin_answer{200, "text/plain", std::string(query)};
  });
  shard.local<weir::metrics>().counter("hostile", "</td><script>window.hostile = 1</script>",
                                       {{"kind", "\"><script>window.hostile = 1</script>"}});
}

weir::task<> serve(weir::shard& shard, const std::vector<examples::offer>& offers,
                   examples::announcement& announce, bool hostile) {
  std::vector<weir::tcp_listener> listeners;
  std::vector<examples::offer> got;  // with the ports that they have got
  for (auto& one : offers) {
    listeners.push_back(examples::listen_for(shard, one));
    got.push_back({one.service, listeners.back().local_endpoint()});
  }
  if (hostile) be_hostile(shard, got[0].where);
  announce.shard_listens(shard, got);
  while (!shard.stop_requested()) co_await weir::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<examples::offer> offers;
  weir::config_parser parser("lazy_server", "Listens, and never accepts.");
  parser.repeated("--lazy", "ADDR:PORT", "any number of times",
                  [&](std::string_view text) { return examples::add_offer(offers, "lazy", text); });
  bool hostile = false;
  parser.flag("--hostile", "names and pages that are markup", hostile);
  auto settings = parser.parse_or_exit(argc, argv);
  examples::announcement announce("lazy_server");
  return weir::run(settings,
                   [&](weir::shard& shard) { return serve(shard, offers, announce, hostile); });
}

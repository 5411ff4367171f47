// See admin_endpoint.hpp.
#include "runtime/observe/admin_endpoint.hpp"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <exception>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "runtime/backend/adopts_sockets.hpp"
#include "runtime/backend/transport.hpp"
#include "runtime/core/log.hpp"
#include "runtime/observe/admin_session.hpp"
#include "runtime/observe/page.hpp"
#include "weir/net.hpp"
#include "weir/runtime.hpp"
#include "weir/scope.hpp"
#include "weir/timing.hpp"

namespace weir::detail {
namespace {

/// Settings of the endpoint's own shard: kernel sockets, and nothing of the program's wishes.
config own_settings() {
  config out;
#if WEIR_WITH_ASIO
  out.backend = "asio";
#else
  out.backend = "uring";
#endif
  out.observe.recorder = 0;  // nobody shows it
  return out;
}

/// The page's text with its style, its script and its charts' library put in.
std::string live_page() {
  const auto joined = [](const auto& pieces) {
    std::string out;
    for (const auto piece : pieces) out += piece;
    return out;
  };
  auto out = joined(page_html);
  const auto put = [&out](std::string_view place, const std::string& what) {
    if (const auto at = out.find(place); at != std::string::npos)
      out.replace(at, place.size(), what);
  };
  put("/*CHART_CSS*/", joined(dygraph_css));
  put("/*CSS*/", joined(page_css));
  put("/*CHART_JS*/", joined(dygraph_js));
  put("/*JS*/", joined(page_js));
  put("/*TABLES_JS*/", joined(tables_js));
  put("/*TURN_JS*/", joined(turn_js));
  return out;
}

task<> serve_clients(shard& mine, tcp_listener listener, std::vector<shard*> targets,
                     process_facts facts, const stall_watch* stalls, bool loopback) {
  admin_site here(mine, std::move(targets));
  here.facts = std::move(facts);
  here.stalls = stalls;
  here.loopback = loopback;
  here.page = live_page();
  scope sessions(mine, {.max = admin_site::most_clients + admin_site::most_departing});
  sessions.on_failure([](const std::exception_ptr&) {});  // a client's own; the next one is served
  for (;;) {
    // Its end is a cancellation like any other: the sessions are waited for, which refer to `here`.
    auto peer = co_await listener.accept().nothrow();
    if (!peer || !*peer) break;
    bool room = here.make_room();
    if (!room) {
      co_await yield();  // those that came in the same burst have not begun to wait yet
      room = here.make_room();
    }
    if (room) ++here.clients;
    const bool taken = sessions.spawn(room ? admin_session(std::move(**peer), here)
                                           : admin_refusal(std::move(**peer), here));
    if (room && !taken) --here.clients;
    if (!room || !taken) ++here.facts.refused_clients;
  }
  listener.close();
  co_await sessions.drain(duration(0));
}

task<> serve(shard& mine, unique_fd& listening, std::vector<shard*> targets, process_facts facts,
             const stall_watch* stalls, bool loopback) {
  auto& sockets = dynamic_cast<adopts_sockets&>(mine.transport());
  auto adopted = sockets.adopt_listener(listening);
  if (!adopted) throw io_error(adopted.error(), "observe.listen");
  co_await serve_clients(mine, tcp_listener(**adopted), std::move(targets), std::move(facts),
                         stalls, loopback);
}

process_facts facts_of_this_process() {
  process_facts out;
  out.program = program_invocation_short_name;
  out.version = WEIR_VERSION;
  out.pid = ::getpid();
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const auto milliseconds = now.tv_nsec / 1'000'000;
  out.started = static_cast<double>(now.tv_sec) + static_cast<double>(milliseconds) / 1e3;
  return out;
}

}  // namespace

task<> serve_admin(shard& on, tcp_listener listener, std::vector<shard*> targets,
                   const stall_watch* stalls) {
  const bool loopback = listener.local_endpoint().address.is_loopback();
  co_await serve_clients(on, std::move(listener), std::move(targets), facts_of_this_process(),
                         stalls, loopback);
}

struct admin_endpoint::impl {
  explicit impl(unique_fd fd) : listening(std::move(fd)), thread(own_settings()) {}

  unique_fd listening;
  shard_thread thread;  // last: it ends before what it uses goes
};

admin_endpoint::admin_endpoint(admin_socket listening, std::vector<shard*> targets,
                               const stall_watch* stalls)
    : impl_(std::make_unique<impl>(std::move(listening.fd))) {
  auto& mine = impl_->thread.shard();
  const bool loopback = listening.where.address.is_loopback();
  mine.post([&mine, &fd = impl_->listening, targets = std::move(targets),
             facts = facts_of_this_process(), stalls, loopback] {
    ::pthread_setname_np(::pthread_self(), "weir-observe");
    mine.start(serve(mine, fd, targets, facts, stalls, loopback),
               [](const std::exception_ptr& failure) {
                 try {
                   if (failure) std::rethrow_exception(failure);
                 } catch (const std::system_error& error) {
                   if (error.code() == std::errc::operation_canceled) return;  // the server ends
                   log_line(fmt::format("the admin endpoint ended: {}", error.what()));
                 } catch (const std::exception& error) {
                   log_line(fmt::format("the admin endpoint ended: {}", error.what()));
                 }
               });
  });
}

admin_endpoint::~admin_endpoint() = default;

}  // namespace weir::detail

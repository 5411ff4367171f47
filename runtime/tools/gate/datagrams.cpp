// UDP: a flow of the guest's has a connected socket of the host's; a published port a socket of the
// stack's for each peer outside.
#include <array>
#include <map>
#include <memory>
#include <span>

#include "tools/gate/gateway.hpp"
#include "weir/timing.hpp"

namespace weir::gate {
namespace {

using buffer = std::unique_ptr<std::byte[]>;
buffer room() { return std::make_unique_for_overwrite<std::byte[]>(udp_socket::max_payload); }
std::span<std::byte> all_of(const buffer& bytes) { return {bytes.get(), udp_socket::max_payload}; }

/// One direction, until the socket that it reads from is over. Errors of single datagrams are
/// theirs alone: UDP loses some.
task<> pass_on(udp_socket& from, udp_socket& to, std::uint64_t& carried, std::error_code& over,
               scope& both) {
  const auto bytes = room();
  for (;;) {
    auto got = co_await from.receive(all_of(bytes)).nothrow();
    if (!got && got.ec != std::errc::message_size) {
      if (!over) over = got.ec;
      break;
    }
    carried += got.n;
    auto sent = co_await to.send(all_of(bytes).first(got.n)).nothrow();
    if (sent.ec == std::errc::timed_out) break;
    if (sent.ec != std::errc::connection_refused) continue;
    if (!over) over = sent.ec;
    break;
  }
  both.cancel();
}

}  // namespace

task<> gateway::accept_flows(udp_flow_listener listener) {
  for (;;) {
    auto flow = co_await listener.accept();
    if (!flow) break;
    others_.spawn(carry_datagrams(std::move(*flow)));
  }
}

task<> gateway::carry_datagrams(udp_socket inside) {
  flow_line line{"udp", inside.remote_endpoint(), inside.local_endpoint(), here_.now()};
  const auto judged = options_.policy.judge(line.to);
  if (judged.what != verdict::kind::allowed) {
    const auto* by = judged.by;
    inside.refuse(std::make_error_code(by != nullptr ? std::errc::permission_denied
                                                     : std::errc::connection_refused));
    co_return log_.over(line, here_.now(), by != nullptr ? "denied by " + by->text : "denied");
  }
  auto outside = here_.try_connect_udp(judged.real);
  if (!outside) {
    inside.refuse(outside.error());
    co_return log_.over(line, here_.now(), words_of(outside.error()));
  }
  std::error_code over;
  {
    scope both(here_);
    both.spawn(pass_on(inside, *outside, line.out, over, both));
    both.spawn(pass_on(*outside, inside, line.in, over, both));
    co_await both.join();
  }
  if (over == std::errc::connection_refused || over == std::errc::host_unreachable ||
      over == std::errc::network_unreachable)
    inside.refuse(over);
  log_.over(line, here_.now(), over == std::errc::timed_out ? "idle" : words_of(over));
}

// --- Inwards.

namespace {

/// What comes from the guest goes to the peer whose flow this is.
task<> answer(udp_socket& inside, udp_socket& outside, endpoint peer, instant& used) {
  const auto bytes = room();
  for (;;) {
    auto got = co_await inside.receive(all_of(bytes)).nothrow();
    if (got.ec == std::errc::connection_refused) continue;  // nobody listens there yet
    if (!got && got.ec != std::errc::message_size) break;
    used = inside.owner().now();
    (void)co_await outside.send_to(all_of(bytes).first(got.n), peer).nothrow();
  }
}

struct inward_flow {
  inward_flow(shard& here, udp_socket to) : inside(std::move(to)), parts(here) {}
  udp_socket inside;
  scope parts;
  instant used;
};

using inward_flows = std::map<endpoint, std::unique_ptr<inward_flow>>;

task<> end_idle(shard& here, inward_flows& flows, duration idle) {
  for (;;) {
    co_await sleep_for(idle / 2);
    const auto now = here.now();
    for (auto each = flows.begin(); each != flows.end();) {
      if (now - each->second->used < idle) {
        ++each;
        continue;
      }
      auto flow = std::move(each->second);
      each = flows.erase(each);
      flow->parts.cancel();
      co_await flow->parts.join();
      each = flows.begin();
    }
  }
}

}  // namespace

task<> gateway::publish_udp(udp_socket outside, published how) {
  const auto to = guest_at(how.outside.address.family(), how.inside);
  const auto bytes = room();
  inward_flows flows;
  scope ending(here_);
  ending.spawn(end_idle(here_, flows, options_.udp_idle));
  for (;;) {
    auto got = co_await outside.receive_from(all_of(bytes)).nothrow();
    if (got.ec == weir::error::closed || got.ec == std::errc::operation_canceled) break;
    if (!got) continue;
    auto found = flows.find(got.from);
    if (found == flows.end()) {
      if (flows.size() >= options_.max_flows) continue;  // as any full queue of UDP
      auto inside = here_.try_connect_udp(to, {}, {.network = network_name});
      if (!inside) continue;
      found =
          flows.emplace(got.from, std::make_unique<inward_flow>(here_, std::move(*inside))).first;
      auto& flow = *found->second;
      flow.parts.spawn(answer(flow.inside, outside, got.from, flow.used));
    }
    found->second->used = here_.now();
    (void)co_await found->second->inside.send(all_of(bytes).first(got.n)).nothrow();
  }
  ending.cancel();
  co_await ending.join();
  for (auto& [peer, flow] : flows) {
    flow->parts.cancel();
    co_await flow->parts.join();
  }
}

}  // namespace weir::gate

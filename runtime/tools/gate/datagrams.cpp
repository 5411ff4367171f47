// UDP: a flow of the guest's has a connected socket of the host's; a published port a socket of the
// stack's for each peer outside.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <span>

#include "runtime/tools/gate/gateway.hpp"
#include "runtime/tools/gate/outside_errors.hpp"
#include "weir/timing.hpp"

namespace weir::gate {
namespace {

/// Room for the largest datagram. Its pages are there while they are used: it is mapped by itself,
/// since what an allocator notes beside it would keep one.
class datagram_room {
 public:
  datagram_room()
      : bytes_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (bytes_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~datagram_room() { ::munmap(bytes_, size); }
  datagram_room(const datagram_room&) = delete;
  datagram_room& operator=(const datagram_room&) = delete;

  std::span<std::byte> all() const {
    return {static_cast<std::byte*>(bytes_), udp_socket::max_payload};
  }
  /// What it holds is forgotten.
  void give_pages_back() const { (void)::madvise(bytes_, size, MADV_DONTNEED); }

 private:
  static constexpr std::size_t size = std::size_t{64} * 1024;
  void* bytes_;
};

/// Without a datagram for so long, a flow keeps no pages.
constexpr duration quiet_after = std::chrono::seconds(1);

/// A flow of the guest's.
struct guest_flow {
  udp_socket& inside;
  udp_socket& outside;
  scope& both;
  std::error_code over = {};
};

/// Whether an operation on the outside's socket failed by what the outside said of the flow. The
/// guest is told of a path that takes less; anything else is the flow's end.
bool ends_flow(guest_flow& flow, std::error_code error) {
  const bool too_long = error == std::errc::message_size;
  if (!too_long && error != std::errc::connection_refused && error != std::errc::host_unreachable &&
      error != std::errc::network_unreachable && error != std::errc::no_protocol_option &&
      error != std::errc::permission_denied)
    return false;
  forget_errors(flow.outside);
  if (!too_long) {
    if (!flow.over) flow.over = error;
    return true;
  }
  if (const auto mtu = path_mtu(flow.outside)) flow.inside.tell_too_long(*mtu);
  return false;
}

using passing = std::function<void(std::span<const std::byte>)>;

/// One direction, until the socket that it reads from is over. Errors of single datagrams are
/// theirs alone: UDP loses some.
task<> pass_on(guest_flow& flow, bool outwards, std::uint64_t& carried, passing seen) {
  auto& from = outwards ? flow.inside : flow.outside;
  auto& to = outwards ? flow.outside : flow.inside;
  const datagram_room room;
  auto patience = quiet_after;
  for (;;) {
    auto got = co_await from.receive(room.all()).timeout(patience).nothrow();
    if (got.ec == std::errc::timed_out && patience != no_limit) {
      room.give_pages_back();
      patience = no_limit;  // a flow that is over says so again
      continue;
    }
    patience = quiet_after;
    if (!got && (outwards || got.ec != std::errc::message_size)) {
      if (!outwards) (void)ends_flow(flow, got.ec);
      if (!flow.over) flow.over = got.ec;
      break;
    }
    if (!got) {  // no room is too small here: it is what a router said
      (void)ends_flow(flow, got.ec);
      continue;
    }
    carried += got.n;
    if (seen) seen(room.all().first(got.n));
    auto sent = co_await to.send(room.all().first(got.n)).nothrow();
    if (sent.ec == std::errc::timed_out) break;
    if (outwards && sent.ec && ends_flow(flow, sent.ec)) break;
    if (!outwards && sent.ec == std::errc::connection_refused) {
      if (!flow.over) flow.over = sent.ec;
      break;
    }
  }
  flow.both.cancel();
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
  const auto judged = options_.policy.judge(line.to, names_, here_.now());
  if (judged.what != verdict::kind::allowed) {
    const auto* by = judged.by;
    inside.refuse(std::make_error_code(by != nullptr ? std::errc::permission_denied
                                                     : std::errc::connection_refused));
    co_return log_.over(line, here_.now(), by != nullptr ? "denied by " + by->text : "denied");
  }
  if (options_.upstream) {
    const bool asks_for_names =
        std::count(options_.policy.dns.begin(), options_.policy.dns.end(), line.to.address) != 0;
    if (asks_for_names) {
      co_await carry_names(std::move(inside), judged.real, line);
      co_return log_.over(line, here_.now(), "idle");
    }
    inside.refuse();
    co_return log_.over(line, here_.now(), "no datagrams by the proxy");
  }
  auto outside = here_.try_connect_udp(judged.real);
  if (!outside) {
    inside.refuse(outside.error());
    co_return log_.over(line, here_.now(), words_of(outside.error()));
  }
  hear_errors(*outside);
  std::error_code over;
  {
    scope both(here_);
    guest_flow flow{inside, *outside, both};
    passing seen;
    if (options_.policy.is_resolver(line.to) && options_.policy.has_names())
      seen = [this](std::span<const std::byte> answer) { note_answer(answer); };
    both.spawn(pass_on(flow, true, line.out, {}));
    both.spawn(pass_on(flow, false, line.in, std::move(seen)));
    co_await both.join();
    over = flow.over;
  }
  // What an end of the flow's own has to say: it was idle, or the gate ends.
  if (over && over != std::errc::timed_out && over != std::errc::operation_canceled &&
      over != weir::error::closed)
    inside.refuse(over);
  log_.over(line, here_.now(), over == std::errc::timed_out ? "idle" : words_of(over));
}

// --- Names by way of a proxy.

namespace {

constexpr std::size_t dns_header = 12;
constexpr std::size_t largest_answer = 1232;       // that no path breaks up, with EDNS
constexpr std::size_t largest_plain_answer = 512;  // RFC 1035 4.2.1
constexpr duration resolver_patience = std::chrono::seconds(10);

/// RFC 7766 8: a message with its length before it. What came, in `room`; 0: nothing did.
task<std::size_t> ask_by_tcp(any_stream& resolver, std::span<const std::byte> question,
                             std::span<std::byte> room) {
  std::array<std::byte, 2> length{std::byte(question.size() >> 8), std::byte(question.size())};
  const std::array<std::span<const std::byte>, 2> parts{length, question};
  auto wrote = co_await resolver.write_all(parts).timeout(resolver_patience).nothrow();
  if (wrote.ec) co_return std::size_t{0};
  auto read = co_await resolver.read_exactly(length).timeout(resolver_patience).nothrow();
  if (read.ec) co_return std::size_t{0};
  const auto size =
      std::to_integer<std::size_t>(length[0]) << 8 | std::to_integer<std::size_t>(length[1]);
  if (size < dns_header || size > room.size()) co_return std::size_t{0};
  auto answer = room.first(size);
  read = co_await resolver.read_exactly(answer).timeout(resolver_patience).nothrow();
  co_return read.ec ? std::size_t{0} : size;
}

/// The question as an answer that says: too long, ask by TCP (which leads there as well).
void make_truncated(std::span<std::byte> question) {
  question[2] |= std::byte{0x82};  // QR, TC
  question[3] |= std::byte{0x80};  // RA
}

}  // namespace

/// Each question goes to `resolver` on a connection of its own: a proxy carries no datagrams.
task<> gateway::carry_names(udp_socket inside, endpoint resolver, flow_line& line) {
  const datagram_room question, answer;
  for (;;) {
    auto got = co_await inside.receive(question.all()).nothrow();
    if (!got) break;
    line.out += got.n;
    if (got.n < dns_header) continue;
    const auto asked = question.all().first(got.n);
    const bool has_edns = asked[10] != std::byte{0} || asked[11] != std::byte{0};
    tcp_stream stream;
    auto failed = co_await leave(resolver, stream);
    if (failed) continue;  // as any datagram that is lost
    auto size = co_await ask_by_tcp(stream, asked, answer.all());
    if (size == 0) continue;
    auto said = std::span<const std::byte>(answer.all().first(size));
    note_answer(said);
    if (size > (has_edns ? largest_answer : largest_plain_answer)) {
      make_truncated(asked);
      said = asked;
    }
    line.in += said.size();
    (void)co_await inside.send(said).nothrow();
  }
}

// --- Inwards.

namespace {

/// What comes from the guest goes to the peer whose flow this is.
task<> answer(udp_socket& inside, udp_socket& outside, endpoint peer, instant& used) {
  const datagram_room room;
  auto patience = quiet_after;
  for (;;) {
    auto got = co_await inside.receive(room.all()).timeout(patience).nothrow();
    if (got.ec == std::errc::timed_out && patience != no_limit) {
      room.give_pages_back();
      patience = no_limit;
      continue;
    }
    patience = quiet_after;
    if (got.ec == std::errc::connection_refused) continue;  // nobody listens there yet
    if (!got && got.ec != std::errc::message_size) break;
    used = inside.owner().now();
    (void)co_await outside.send_to(room.all().first(got.n), peer).nothrow();
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
      each = flows.erase(each);  // nobody else erases, so it stays good during the wait
      flow->parts.cancel();
      co_await flow->parts.join();
    }
  }
}

}  // namespace

task<> gateway::publish_udp(udp_socket outside, published how) {
  const auto to = guest_at(how.outside.address.family(), how.inside);
  const datagram_room room;
  inward_flows flows;
  scope ending(here_);
  ending.spawn(end_idle(here_, flows, options_.udp_idle));
  for (;;) {
    auto got = co_await outside.receive_from(room.all()).nothrow();
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
    (void)co_await found->second->inside.send(room.all().first(got.n)).nothrow();
  }
  ending.cancel();
  co_await ending.join();
  for (auto& [peer, flow] : flows) {
    flow->parts.cancel();
    co_await flow->parts.join();
  }
}

}  // namespace weir::gate

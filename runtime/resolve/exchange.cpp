// One question to the name servers: over UDP, each query from a socket of its own (a fresh port)
// with a fresh id (RFC 5452), to one server after the other; over TCP where an answer was cut short
// (RFC 7766) or the back end has no UDP.
#include <algorithm>
#include <array>

#include "runtime/resolve/resolver_state.hpp"
#include "weir/udp.hpp"

namespace weir::detail {
namespace {

constexpr int rounds = 3;                // through all servers
constexpr std::size_t receives = 4096;   // bytes; without EDNS no honest answer has over 512
constexpr std::size_t longest = 65'535;  // bytes of an answer over TCP

/// What asking one server once came to.
struct attempt {
  verdict what = verdict::failed;
  std::error_code error;  // where no answer came
  answer got;
};

duration left_until(const resolver_state& r, instant end) {
  return std::max(end - r.owner.now(), duration(0));
}

task<attempt> ask_over_tcp(resolver_state& r, endpoint server, const question& q, instant end) {
  attempt out;
  const auto query = encode_query(q, static_cast<std::uint16_t>(r.draw()));
  ++r.counters.queries;
  ++r.counters.over_tcp;
  const connect_options from{.network = r.settings.network};
  auto stream = co_await weir::connect(server, from).timeout(left_until(r, end)).nothrow();
  if (!stream) {
    out.error = stream.error();
    co_return out;
  }
  const auto size = query.size();
  std::array<std::byte, 2> length{static_cast<std::byte>(size >> 8),
                                  static_cast<std::byte>(size & 0xff)};
  const std::array<std::span<const std::byte>, 2> parts{length, query};
  auto sent = co_await stream->write_all(parts).timeout(left_until(r, end)).nothrow();
  out.error = sent.ec;
  if (out.error) co_return out;
  auto head = co_await stream->read_exactly(length).timeout(left_until(r, end)).nothrow();
  out.error = head.ec;
  if (out.error) co_return out;
  std::vector<std::byte> message(std::to_integer<std::size_t>(length[0]) << 8 |
                                 std::to_integer<std::size_t>(length[1]));
  static_assert(longest == 0xffff, "what two bytes can say");
  if (message.empty()) co_return out;
  auto body = co_await stream->read_exactly(message).timeout(left_until(r, end)).nothrow();
  out.error = body.ec;
  if (out.error) co_return out;
  out.what = read_answer(message, query, q, out.got);
  // Nobody but the server can have sent it: there is nothing to wait on for.
  if (out.what != verdict::answered) out.what = verdict::failed;
  co_return out;
}

task<attempt> ask_over_udp(resolver_state& r, endpoint server, const question& q, instant end) {
  attempt out;
  auto socket = r.owner.try_connect_udp(server, {}, {.network = r.settings.network});
  if (!socket) {
    out.error = socket.error();
    co_return out;
  }
  const auto query = encode_query(q, static_cast<std::uint16_t>(r.draw()));
  ++r.counters.queries;
  auto sent = co_await socket->send(query).timeout(left_until(r, end)).nothrow();
  out.error = sent.ec;
  if (out.error) co_return out;
  std::vector<std::byte> buffer(receives);
  for (;;) {
    auto got = co_await socket->receive(buffer).timeout(left_until(r, end)).nothrow();
    // Anybody may send to this port in the server's name: what answers nothing is passed over.
    if (got.ec && got.ec != std::errc::message_size) {
      out.error = got.ec;
      co_return out;
    }
    if (!got.ec) out.what = read_answer(std::span(buffer).first(got.n), query, q, out.got);
    if (!got.ec && out.what != verdict::foreign) co_return out;
    ++r.counters.ignored;
    if (left_until(r, end) == duration(0)) {
      out.error = timeout_error();
      co_return out;
    }
  }
}

/// Ends a flight.
class landing {
 public:
  landing(resolver_state& r, const std::string& key, flight& of) : r_(r), key_(key), of_(of) {}
  landing(const landing&) = delete;
  landing& operator=(const landing&) = delete;
  ~landing() {
    r_.flights.erase(key_);
    of_.done.set();
  }

 private:
  resolver_state& r_;
  const std::string& key_;
  flight& of_;
};

task<attempt> ask_server(resolver_state& r, endpoint server, const question& q, instant end) {
  auto out = co_await ask_over_udp(r, server, q, end);
  if (out.error == std::errc::operation_not_supported ||
      (!out.error && out.what == verdict::truncated))
    out = co_await ask_over_tcp(r, server, q, end);
  co_return out;
}

}  // namespace

task<result<known_answer>> ask_servers(resolver_state& r, const question& q, std::string& words) {
  const auto end = r.owner.now() + r.settings.timeout;
  // Five seconds for one server are one, two and two.
  duration share = std::min<duration>(r.settings.timeout / 5, std::chrono::seconds(1));
  std::error_code last = name_error::server_failed;
  if (r.settings.servers.empty()) words = "no name server is known";
  for (int round = 0; round < rounds; ++round, share *= 2) {
    std::string said;
    for (const auto& server : r.settings.servers) {
      if (left_until(r, end) == duration(0)) break;
      auto got = co_await ask_server(r, server, q, std::min(r.owner.now() + share, end));
      if (got.error == std::errc::operation_canceled) co_return got.error;
      if (!got.error && got.what == verdict::answered) {
        auto known = std::make_shared<const answer>(std::move(got.got));
        r.cache.keep(q, known, r.owner.now());
        r.counters.cache_drops = r.cache.dropped();
        co_return known;
      }
      if (got.error == std::errc::timed_out) ++r.counters.timeouts;
      const bool silent = got.error == std::errc::timed_out;
      last = silent ? timeout_error() : make_error_code(name_error::server_failed);
      said += (said.empty() ? "" : "; ") + server.to_string() + ": " +
              (got.error ? got.error.message() : "the server failed");
    }
    if (!said.empty()) words = std::move(said);  // of the last round
  }
  co_return last;
}

task<result<known_answer>> ask(resolver_state& r, question q, std::string& words) {
  const auto key = q.name + ' ' + std::to_string(static_cast<unsigned>(q.type));
  for (;;) {
    if (auto known = r.cache.find(q, r.owner.now())) {
      ++r.counters.cache_hits;
      co_return known;
    }
    const auto other = r.flights.find(key);
    if (other == r.flights.end()) break;
    const auto awaited = other->second;
    ++r.counters.joined;
    auto error = co_await awaited->done.wait().nothrow();
    if (error) co_return error;
    if (awaited->got) co_return awaited->got;
    words = awaited->words;
    // Whoever asked was cancelled, and is no reason for others to fail.
    if (awaited->error != std::errc::operation_canceled) co_return awaited->error;
  }
  const auto mine = std::make_shared<flight>();
  r.flights.emplace(key, mine);
  const landing at_the_end(r, key, *mine);  // whatever is thrown: others wait for it
  auto got = co_await ask_servers(r, q, mine->words);
  if (got)
    mine->got = *got;
  else
    mine->error = got.error();
  words = mine->words;
  co_return got;
}

}  // namespace weir::detail

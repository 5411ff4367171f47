// What is not TCP: tasks that other shards run, datagrams, and programs that are started.
#include <signal.h>

#include "soak/life.hpp"

namespace soak {
namespace {

task<std::uint64_t> remote_answer(std::uint64_t question) {
  if (question % 3 == 0) co_await weir::yield();
  if (question % 3 == 1) co_await weir::sleep_for(std::chrono::microseconds(question % 700));
  co_return question * 3;
}

task<std::uint64_t> ask(shard& there, std::uint64_t question) {
  auto answer = co_await weir::submit_to(there, remote_answer(question));
  co_return answer;
}

/// What stands in a datagram: its key, then the key's bytes.
constexpr std::size_t key_size = 8;

void write_datagram(std::uint64_t key, std::span<std::byte> into) {
  for (std::size_t i = 0; i < key_size; ++i) into[i] = static_cast<std::byte>(key >> (8 * i));
  fill_pattern(key, 0, into.subspan(key_size));
}

void check_datagram(life& l, std::span<const std::byte> bytes) {
  if (bytes.size() < key_size) return;  // the empty and the tiny carry nothing
  std::uint64_t key = 0;
  for (std::size_t i = 0; i < key_size; ++i)
    key |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << (8 * i);
  ++l.count.datagrams;
  check(l, "datagram", key, 0, bytes.subspan(key_size));
}

bool expected_of_datagrams(std::error_code ec) {
  return waited_out(ec) || ec == std::errc::connection_refused ||
         ec == std::errc::no_buffer_space || ec == std::errc::message_size ||
         ec == weir::error::closed;
}

/// A while with one pair of sockets. False when the actor is cancelled.
task<bool> exchange_datagrams(life& l, shard& s, weir::udp_socket& server, dice& d) {
  auto client = s.try_connect_udp(server.local_endpoint());
  if (!client) {
    l.fault("connect_udp: " + client.error().message());
    co_return false;
  }
  std::vector<std::byte> out(2000), in(2000);
  for (auto rounds = d.below(30); rounds > 0; --rounds) {
    co_await pace(l, d);
    std::span<std::byte> bytes(out.data(), key_size + d.below(out.size() - key_size));
    write_datagram(d.next(), bytes);
    if (d.one_in(10)) bytes = bytes.first(d.below(2));
    auto sent = co_await client->send(bytes).timeout(d.up_to_us(500)).nothrow();
    if (sent.ec && !expected_of_datagrams(sent.ec))
      l.fault("a datagram's send ended with " + sent.ec.message());
    std::span<std::byte> into(in.data(), 1 + d.below(in.size()));
    auto got = co_await server.receive_from(into).timeout(d.up_to_us(500)).nothrow();
    if (got.ec == std::errc::operation_canceled || got.ec == weir::error::closed) co_return false;
    if (got.ec && !expected_of_datagrams(got.ec))
      l.fault("a datagram's receive ended with " + got.ec.message());
    if (!got.ec || got.ec == std::errc::message_size)
      check_datagram(l, into.first(std::min<std::size_t>(got.n, into.size())));
    if (!got.ec && d.one_in(2)) {  // what comes back goes unread, or with the socket
      auto back = co_await server.send_to(into.first(got.n), got.from).nothrow();
      if (back.ec && !expected_of_datagrams(back.ec))
        l.fault("a datagram's answer ended with " + back.ec.message());
    }
  }
  co_return true;
}

/// What becomes of one that runs.
task<> live_with(life& l, weir::child_process& child, dice& d) {
  const auto key = d.next();
  std::vector<std::byte> bytes(d.size(20'000));  // fewer than its pipes hold
  fill_pattern(key, 0, bytes);
  auto sent = co_await child.input.write_all(bytes).timeout(d.up_to_us(20'000)).nothrow();
  if (sent.ec && !waited_out(sent.ec)) l.fault("a child's input ended with " + sent.ec.message());
  std::span into(bytes.data(), sent.n);
  auto got = co_await child.output.read_exactly(into).timeout(d.up_to_us(20'000)).nothrow();
  if (got.ec && !waited_out(got.ec)) l.fault("a child's output ended with " + got.ec.message());
  check(l, "child", key, 0, into.first(got.n));
  if (d.one_in(3)) co_return;  // forgotten: killed
  const bool killed = d.one_in(2);
  if (killed) child.kill(SIGTERM);
  child.input.close();
  child.output.close();
  auto status = co_await child.wait().timeout(d.up_to_us(50'000)).nothrow();
  // (A cat that has not written all dies of that.)
  if (!status && !waited_out(status.error()))
    l.fault("a child's end is " + status.error().message());
  if (status && status->code != 0) l.fault("a child ended with " + status->to_string());
}

}  // namespace

task<> submitters(life& l, shard& s, std::vector<shard*> others, unsigned number) {
  auto d = l.actor(number);
  while (l.going(s)) {
    const auto question = d.next();
    auto& there = *others[d.below(others.size())];
    try {
      const auto answer = co_await weir::with_timeout(d.up_to_us(800), ask(there, question));
      if (answer != question * 3) l.fault("another shard's answer is wrong");
      ++l.count.submits;
    } catch (const weir::io_error& e) {
      if (e.code() == std::errc::operation_canceled) co_return;
      if (e.code() != std::errc::timed_out) l.fault(std::string("submit_to: ") + e.what());
      ++l.count.timeouts;
    }
  }
}

task<> datagrams(life& l, shard& s, endpoint at, unsigned number) {
  auto d = l.actor(number);
  while (l.going(s)) {
    co_await pace(l, d);
    auto server = s.try_bind_udp({at.address, 0});
    if (!server) {
      l.fault("bind_udp: " + server.error().message());
      co_return;
    }
    const bool more = co_await exchange_datagrams(l, s, *server, d);
    if (!more) co_return;
  }
}

task<> children(life& l, shard& s, unsigned number) {
  auto d = l.actor(number);
  while (l.going(s)) {
    weir::command copy{.arguments = {"cat"}, .own_group = d.one_in(3)};
    copy.input = copy.output = weir::stdio::pipe();
    auto child = co_await weir::spawn_process(copy).timeout(d.up_to_us(50'000)).nothrow();
    if (!child && child.error() == std::errc::operation_canceled) co_return;
    if (!child && !waited_out(child.error())) l.fault("spawn: " + child.error().message());
    if (child) {
      ++l.count.children;
      co_await live_with(l, *child, d);
    }
    const bool slept = co_await nap(d.up_to_us(20'000));
    if (!slept) co_return;
  }
}

}  // namespace soak

// A device that goes from program to program while the kernel's TCP uses it. The programs are
// shards of one process here, which ask each other as processes do; those are tested in
// tests/programs.
#include <doctest/doctest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernel/clients.hpp"
#include "kernel/dedicated_world.hpp"
#include "kernel/namespace_test.hpp"
#include "runtime/transport/stack/handover/device_handover.hpp"

using namespace kernel_test;
using namespace std::chrono_literals;

namespace {

weir::config handed_over() {
  weir::config settings;
  settings.stack.handover = "unix:@weir-kernel-handover-" + std::to_string(::getpid());
  return settings;
}

weir::task<> echo(weir::tcp_stream peer) {
  std::array<std::byte, 16 * 1024> buffer;
  for (;;) {
    auto got = co_await peer.read_some(buffer).nothrow();
    if (got.ec || got.n == 0) co_return;
    auto sent = co_await peer.write_all(std::span(buffer).first(got.n)).nothrow();
    if (sent.ec) co_return;
  }
}

weir::task<> serve(weir::shard& s, std::atomic<int>& accepted, std::latch& listening) {
  auto listener = s.listen({address, 7}, {.sharing = weir::sharing::sharded});
  listening.count_down();
  weir::scope sessions(s);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    ++accepted;
    sessions.spawn(echo(std::move(*peer)));
  }
  co_await sessions.join();
}

/// A program: an echo server on each of its shards.
struct program {
  explicit program(unsigned shards, weir::placement where = weir::placement::inline_)
      : all(shards, handed_over(), where), listening(shards), size(shards) {
    for (unsigned i = 0; i < shards; ++i)
      all.start(i, [this](weir::shard& s) { return serve(s, accepted, listening); });
    listening.wait();
  }
  std::uint64_t count(std::string_view name) {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < size; ++i)
      if (const auto n = all.count(all.shard(i), name); n != ~std::uint64_t{0}) sum += n;
    return sum;
  }

  world all;
  std::latch listening;
  std::atomic<int> accepted{0};
  unsigned size;
};

constexpr std::size_t piece = 50'000;

/// A piece of the stream from `offset` on, there and back on each connection.
std::string talk(std::vector<fd>& clients, std::size_t offset) {
  std::string sent(piece, '\0'), back(piece, '\0');
  for (std::size_t i = 0; i < clients.size(); ++i) {
    for (std::size_t at = 0; at < piece; ++at)
      sent[at] = static_cast<char>('a' + (offset + at * 7 + i) % 23);
    send_all(clients[i].get(), sent.data(), sent.size());
    if (::recv(clients[i].get(), back.data(), piece, MSG_WAITALL) != static_cast<ssize_t>(piece) ||
        back != sent)
      return "connection " + std::to_string(i) + " broke after " + std::to_string(offset);
  }
  return {};
}

/// Where programs ask.
weir::unix_endpoint place() { return *weir::unix_endpoint::parse(handed_over().stack.handover); }

/// A socket of the test's own there, which listens or connects.
fd raw_socket(int type, bool listens, const weir::unix_endpoint& where = place()) {
  const weir::detail::unix_address at(where);
  fd out(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (listens)
    REQUIRE(::bind(out.get(), at.data(), at.size) == 0);
  else
    REQUIRE(::connect(out.get(), at.data(), at.size) == 0);
  if (listens) REQUIRE(::listen(out.get(), 1) == 0);
  return out;
}

/// What taking the device over there throws.
std::string refusal(const weir::unix_endpoint& where = place()) {
  try {
    (void)weir::detail::take_device(where, {});
  } catch (const weir::config_error& error) {
    return error.what();
  }
  return "nothing";
}

std::vector<fd> connected(int n) {
  std::vector<fd> out;
  for (int i = 0; i < n; ++i) out.push_back(connect_to(address, 7));
  return out;
}

}  // namespace

TEST_CASE("connections go on byte for byte while the device goes from program to program") {
  for (const unsigned shards : {1u, 3u}) {
    CAPTURE(shards);
    run_in_private_network([&]() -> std::string {
      program first(shards);
      auto of_first = connected(20);
      if (auto wrong = talk(of_first, 0); !wrong.empty()) return wrong;
      program second(shards);
      if (auto wrong = talk(of_first, piece); !wrong.empty()) return "second: " + wrong;
      auto of_second = connected(20);
      if (auto wrong = talk(of_second, 0); !wrong.empty()) return wrong;
      program third(shards);
      for (std::size_t i = 2; i < 5; ++i) {
        if (auto wrong = talk(of_first, i * piece); !wrong.empty()) return "third: " + wrong;
        if (auto wrong = talk(of_second, i * piece); !wrong.empty()) return "third: " + wrong;
      }
      auto of_third = connected(20);
      if (auto wrong = talk(of_third, 0); !wrong.empty()) return wrong;
      if (first.accepted != 20 || second.accepted != 20 || third.accepted != 20)
        return "a connection begun elsewhere than in the newest program";
      if (second.count("handover_forwarded") < 100 || third.count("handover_forwarded") < 200)
        return "too little was forwarded";
      // The last acknowledgements may be on their way.
      const auto until = std::chrono::steady_clock::now() + patience;
      while (first.count("handover_received") != second.count("handover_forwarded"))
        if (std::chrono::steady_clock::now() > until) return "what was sent by a link did not come";
      return {};
    });
  }
}

TEST_CASE("a link whose reader stands still is full, and what it loses is sent again") {
  run_in_private_network([]() -> std::string {
    program first(1);
    auto clients = connected(150);
    if (auto wrong = talk(clients, 0); !wrong.empty()) return wrong;
    program second(1);
    const std::string sent(30'000, 'x');
    {
      standstill still(first.all.shard(0));
      for (auto& each : clients) send_all(each.get(), sent.data(), sent.size());
      if (!second.all.reaches(second.all.shard(0), "handover_full", 1)) return "never full";
    }
    std::string back(sent.size(), '\0');
    for (auto& each : clients)
      if (::recv(each.get(), back.data(), back.size(), MSG_WAITALL) !=
              static_cast<ssize_t>(back.size()) ||
          back != sent)
        return "bytes got lost";
    return {};
  });
}

TEST_CASE("a device that a program gave away is read again when the other one has gone") {
  for (const auto where : {weir::placement::inline_, weir::placement::dedicated})
    run_in_private_network([=]() -> std::string {
      program first(1, where);
      auto clients = connected(5);
      for (std::size_t i = 0; i < 6; i += 2) {
        {
          program second(1, where);
          if (auto wrong = talk(clients, i * piece); !wrong.empty()) return wrong;
        }
        if (auto wrong = talk(clients, (i + 1) * piece); !wrong.empty()) return wrong;
      }
      return {};
    });
}

TEST_CASE("programs that drain are bounded: one more is given nothing until one has gone") {
  run_in_private_network([]() -> std::string {
    constexpr std::size_t most = 16;  // device_handover::most_predecessors
    std::vector<std::unique_ptr<world>> line;
    const auto grow = [&] {
      line.push_back(std::make_unique<world>(1, handed_over(), weir::placement::inline_));
    };
    while (line.size() <= most) grow();
    std::string refused;
    try {
      grow();
    } catch (const std::exception& error) {
      refused = error.what();
    }
    if (refused.find("16 programs before this one") == std::string::npos)
      return "not refused: " + refused;
    line.erase(line.begin());
    grow();
    return {};
  });
}

TEST_CASE("who says nothing makes way for the next one who asks for the device") {
  run_in_private_network([]() -> std::string {
    program first(1);
    auto clients = connected(2);
    const auto silent = raw_socket(SOCK_SEQPACKET, false);
    char text[4096];
    if (::recv(silent.get(), text, sizeof text, 0) <= 0) return "not answered";
    program second(1);
    if (auto wrong = talk(clients, 0); !wrong.empty()) return wrong;
    while (::recv(silent.get(), text, sizeof text, 0) > 0) {
    }
    if (second.count("handover_forwarded") == 0) return "not handed over";
    return {};
  });
}

TEST_CASE("what does not hand a device over is refused in words") {
  CHECK(refusal() == "nothing");  // nobody is there
  {
    const weir::unix_endpoint path("/tmp/weir-no-handover-" + std::to_string(::getpid()));
    const auto stream = raw_socket(SOCK_STREAM, true, path);
    CHECK(refusal(path).find("no program that hands a device over") != std::string::npos);
    ::unlink(std::string(path.name()).c_str());
  }
  const auto there = raw_socket(SOCK_SEQPACKET, true);
  const std::pair<std::string, std::string> said[] = {
      {"what?", "what it says is not understood"},
      {"weir device 1\nqueues 1\n", "what it says is not understood"},
      {"full", "16 programs before this one have connections still"},
      {"", "the program there ended, or gives its device to nobody now"}};
  for (const auto& [word, why] : said) {
    CAPTURE(word);
    std::thread answering([&, &text = word] {
      const fd asker(::accept4(there.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!text.empty()) (void)::send(asker.get(), text.data(), text.size(), 0);
    });
    CHECK(refusal().find(why) != std::string::npos);
    answering.join();
  }
}

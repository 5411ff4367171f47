// Between the shards of one run: siblings, objects spread over shards, channels, broadcasts.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "unit/back_ends.hpp"
#include "unit/doc_blocks.hpp"
#include "weir/broadcast.hpp"
#include "weir/shard_channel.hpp"
#include "weir/sharded.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using weir::shard;
using weir::task;

namespace {

constexpr unsigned shards = 3;

/// Runs `serve` on three shards of each back end on kernel sockets.
void run_everywhere(
    const std::function<task<>(shard&)>& serve, const std::function<void()>& before = [] {},
    const std::function<void()>& after = [] {}) {
  for (std::string name : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = name;
    settings.shards = shards;
    if (const auto found = weir::probe_backend(name, settings); !found.usable) {
      std::printf("SKIPPED: %s: %s\n", name.c_str(), found.reason.c_str());
      continue;
    }
    CAPTURE(name);
    before();
    CHECK(weir::run(settings, serve) == 0);
    after();
  }
}

/// Waits until every shard has come here.
class meeting {
 public:
  task<> wait() {
    const auto mine = ++arrived_;
    const auto all = (mine + shards - 1) / shards * shards;
    while (arrived_ < all) co_await weir::sleep_for(1ms);
  }

 private:
  std::atomic<unsigned> arrived_ = 0;
};

/// doctest's checks are for one thread at a time: what a shard finds wrong ends its run() with 1.
void expect(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

struct counted {
  explicit counted(shard& s) : here(s), made_by(std::this_thread::get_id()) { ++alive; }
  ~counted() {
    if (std::this_thread::get_id() != made_by) ++strangers;
    --alive;
  }
  shard& here;
  std::thread::id made_by;
  unsigned calls = 0;
  static inline std::atomic<int> alive = 0, strangers = 0;
};

}  // namespace

TEST_CASE("shards_of_a_run_know_each_other") {
  std::array<std::atomic<shard*>, shards> seen{};
  meeting all;
  run_everywhere([&](shard& here) -> task<> {
    seen[here.index()] = &here;
    co_await all.wait();
    const auto siblings = here.siblings();
    expect(siblings.size() == shards, "siblings");
    for (unsigned i = 0; i < shards; ++i) expect(siblings[i] == seen[i], "by index");
    co_await all.wait();
  });
  back_ends::on_kernel_back_ends([](shard& lone) -> task<> {
    CHECK(lone.siblings().size() == 1);
    CHECK(lone.siblings()[0] == &lone);
    co_return;
  });
}

TEST_CASE("each_shard_has_an_object_of_its_own_made_and_destroyed_there") {
  meeting all;
  auto spread = std::make_unique<weir::sharded<counted>>();
  run_everywhere(
      [&](shard& here) -> task<> {
        auto& mine = spread->local(here);
        expect(&mine.here == &here && &spread->local(here) == &mine, "local");
        for (unsigned i = 0; i < shards; ++i) {
          auto index = co_await spread->invoke_on(i, [](counted& there) {
            ++there.calls;
            expect(there.made_by == std::this_thread::get_id(), "on its shard");
            return there.here.index();
          });
          expect(index == i, "a value comes back");
        }
        co_await all.wait();
        expect(mine.calls == shards, "calls of all");
      },
      [] {},
      [&] {
        CHECK(counted::alive == 0);
        CHECK(counted::strangers == 0);
        spread = std::make_unique<weir::sharded<counted>>();  // a second one is another one
      });
}

TEST_CASE("an_object_that_nobody_asked_for_on_its_shard_is_made_for_a_call") {
  weir::sharded<counted> spread;
  run_everywhere([&](shard& here) -> task<> {
    if (here.index() != 0) co_return;
    auto made_on = co_await spread.invoke_on(2, [](counted& there) { return there.here.index(); });
    expect(made_on == 2, "made there");
  });
}

TEST_CASE("a_call_on_a_shard_may_be_a_task_and_its_exception_comes_back") {
  weir::sharded<counted> spread;
  run_everywhere([&](shard& here) -> task<> {
    const auto other = (here.index() + 1) % shards;
    auto text = co_await spread.invoke_on(other, [](counted& there) -> task<std::string> {
      co_await weir::sleep_for(1ms);
      co_return "from " + std::to_string(there.here.index());
    });
    expect(text == "from " + std::to_string(other), "a task's value");
    std::string failed;
    try {
      co_await spread.invoke_on(other, [](counted&) { throw std::runtime_error("over there"); });
    } catch (const std::runtime_error& error) {
      failed = error.what();
    }
    expect(failed == "over there", "an exception");
  });
}

TEST_CASE("a_call_on_all_shards_runs_on_each_and_waits_for_all") {
  weir::sharded<counted> spread;
  std::atomic<unsigned> ran = 0;
  run_everywhere(
      [&](shard& here) -> task<> {
        if (here.index() != 1) co_return;
        co_await spread.invoke_on_all([&](counted& each) -> task<> {
          co_await weir::sleep_for(duration_cast<weir::duration>(each.here.index() * 2ms));
          ++ran;
        });
        expect(ran == shards, "all have run");
        std::string failed;
        try {
          co_await spread.invoke_on_all([](counted& each) -> task<> {
            if (each.here.index() == 2) throw std::runtime_error("the third");
            co_await weir::sleep_for(1h);
          });
        } catch (const std::runtime_error& error) {
          failed = error.what();
        }
        expect(failed == "the third", "the first failure cancels the others");
      },
      [&] { ran = 0; });
}

namespace {

struct note {
  unsigned from;
  unsigned number;
};
constexpr unsigned notes = 3'000;
constexpr std::size_t room = 16;

struct channel_world {
  std::unique_ptr<weir::shard_channel<note>> line;
  weir::channel_sender<note> to;
  std::atomic<bool> ready = false;

  task<> until_ready() {
    while (!ready) co_await weir::sleep_for(1ms);
  }
  void open(shard& here) {
    line = std::make_unique<weir::shard_channel<note>>(here, room);
    to = line->sender();
    ready = true;
  }
};

}  // namespace

TEST_CASE("a_channel_brings_what_all_shards_send_to_one_in_order_and_is_bounded") {
  channel_world w;
  std::atomic<unsigned> senders = 0;
  run_everywhere(
      [&](shard& here) -> task<> {
        if (here.index() == 0) w.open(here);
        co_await w.until_ready();
        weir::scope parts(here);
        parts.spawn([&]() -> task<> {
          auto mine = w.to;
          for (unsigned i = 0; i < notes; ++i) co_await mine.send({here.index(), i});
          if (++senders == shards) mine.close();
        });
        if (here.index() == 0) {
          std::array<unsigned, shards> next{};
          std::size_t most = 0;
          for (;;) {
            most = std::max(most, w.line->size());
            auto got = co_await w.line->receive();
            if (!got) break;
            expect(got->number == next[got->from]++, "in order");
          }
          for (auto each : next) expect(each == notes, "all of them");
          expect(most <= room, "bounded");
          expect(w.line->waited() > 0, "somebody had to wait, and was counted");
        }
        co_await parts.join();
        if (here.index() == 0) w.line.reset();
      },
      [&] { w.ready = false, senders = 0; }, [&] { w.to = {}; });
}

TEST_CASE("every_send_that_succeeded_before_the_close_is_received_and_no_other") {
  channel_world w;
  std::atomic<unsigned> sent = 0, refused = 0;
  run_everywhere(
      [&](shard& here) -> task<> {
        if (here.index() == 0) w.open(here);
        co_await w.until_ready();
        if (here.index() == 0) {
          unsigned received = 0;
          for (;;) {
            auto got = co_await w.line->receive();
            if (!got) break;
            if (++received == 500) w.line->close();
          }
          while (refused != shards - 1) co_await weir::sleep_for(1ms);
          expect(received == sent, "what was sent was received");
          w.line.reset();
        } else {
          for (;;) {
            auto ec = co_await w.to.send({here.index(), 0}).nothrow();
            if (ec) {
              expect(ec == weir::error::closed, "closed");
              break;
            }
            ++sent;
          }
          ++refused;
        }
      },
      [&] { w.ready = false, sent = 0, refused = 0; }, [&] { w.to = {}; });
}

TEST_CASE("a_send_that_times_out_was_not_sent") {
  channel_world w;
  std::atomic<unsigned> sent = 0, ended = 0;
  run_everywhere(
      [&](shard& here) -> task<> {
        if (here.index() == 0) w.open(here);
        co_await w.until_ready();
        if (here.index() != 0) {
          unsigned late = 0;
          for (unsigned i = 0; late < 20; ++i) {
            auto ec = co_await w.to.send({here.index(), i}).timeout(1ms).nothrow();
            if (!ec) ++sent;
            if (ec == std::errc::timed_out) ++late;
          }
          ++ended;
          co_return;
        }
        unsigned received = 0;
        while (ended != shards - 1) {  // slower than they send
          co_await weir::sleep_for(3ms);
          if (w.line->try_receive()) ++received;
        }
        w.line->close();
        for (;;) {
          auto got = co_await w.line->receive();
          if (!got) break;
          ++received;
        }
        expect(received == sent, "neither lost nor twice");
        w.line.reset();
      },
      [&] { w.ready = false, sent = 0, ended = 0; }, [&] { w.to = {}; });
}

TEST_CASE("senders_that_wait_learn_that_the_channel_has_gone") {
  channel_world w;
  std::atomic<unsigned> waiting = 0;
  run_everywhere(
      [&](shard& here) -> task<> {
        if (here.index() == 0) w.open(here);
        co_await w.until_ready();
        if (here.index() == 0) {
          while (w.line->waited() != shards - 1) co_await weir::sleep_for(1ms);
          w.line.reset();
          co_return;
        }
        auto mine = w.to;
        note value{here.index(), 0};
        while (mine.try_send(value)) {
        }
        auto ec = co_await mine.send(value).nothrow();
        expect(ec == weir::error::closed, "closed");
        expect(!mine.try_send(value) && mine.closed(), "for good");
      },
      [&] { w.ready = false, waiting = 0; }, [&] { w.to = {}; });
}

TEST_CASE("a_broadcast_reaches_every_listener_of_every_shard_in_order") {
  auto said = std::make_unique<weir::broadcast<unsigned>>(8);
  meeting all;
  run_everywhere(
      [&](shard& here) -> task<> {
        weir::subscription<unsigned> one(*said, here, notes), other(*said, here, notes);
        co_await all.wait();
        if (here.index() == 1)
          for (unsigned i = 0; i < notes; ++i) co_await said->send(i);
        for (auto* each : {&one, &other})
          for (unsigned i = 0; i < notes; ++i) {
            auto got = co_await each->receive();
            expect(got == i, "in order");
          }
        expect(one.missed() == 0, "nothing is missed");
        co_await all.wait();
      },
      [] {}, [&] { said = std::make_unique<weir::broadcast<unsigned>>(8); });
}

TEST_CASE("a_listener_that_is_too_slow_is_told_and_nobody_waits_for_him") {
  auto said = std::make_unique<weir::broadcast<unsigned>>(8);
  meeting all;
  run_everywhere(
      [&](shard& here) -> task<> {
        weir::subscription<unsigned> slow(*said, here, 4);
        co_await all.wait();
        if (here.index() == 0)
          for (unsigned i = 0; i < 10; ++i) co_await said->send(i);
        co_await all.wait();
        while (slow.size() + slow.missed() < 10) co_await weir::sleep_for(1ms);
        co_await slow.loss();  // there is one
        for (unsigned i = 0; i < 4; ++i) {
          auto got = co_await slow.receive();
          expect(got == i, "what it had room for");
        }
        auto told = co_await slow.receive().nothrow();
        expect(!told && told.error() == weir::error::limit_exceeded, "told");
        expect(slow.missed() == 6, "and counted");
        co_await all.wait();
        if (here.index() == 2) co_await said->send(99u);
        auto next = co_await slow.receive();
        expect(next == 99, "and goes on");
        co_await all.wait();
      },
      [] {}, [&] { said = std::make_unique<weir::broadcast<unsigned>>(8); });
}

// --- docs/between.md, whose code stands here.

namespace {

class visits {
 public:
  void add() { ++count_; }
  std::uint64_t count() const { return count_; }

 private:
  std::uint64_t count_ = 0;  // no atomic: each is used by its own shard alone
};

weir::task<std::uint64_t> all_visits(weir::sharded<visits>& each) {
  auto& here = co_await weir::this_shard();
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < here.siblings().size(); ++i)
    sum += co_await each.invoke_on(i, [](visits& there) { return there.count(); });
  co_return sum;
}

weir::task<> work(weir::shard_channel<std::string>& jobs, std::vector<std::string>& done) {
  for (;;) {
    auto job = co_await jobs.receive();
    if (!job) co_return;  // closed, and everything that was sent has come
    done.push_back(std::move(*job));
  }
}

weir::task<> hand_in(weir::channel_sender<std::string> to, std::string job) {
  co_await to.send(std::move(job));  // waits while the channel is full
}

weir::task<> listen(weir::broadcast<std::string>& news, std::vector<std::string>& heard) {
  auto& here = co_await weir::this_shard();
  weir::subscription<std::string> mine(news, here, 256);
  while (heard.size() < 2) {
    auto next = co_await mine.receive().nothrow();
    if (next) heard.push_back(std::move(*next));  // else limit_exceeded: some were missed
  }
}

/// Says which shard has it, once for each byte that comes.
weir::task<> session(weir::tcp_stream peer) {
  const auto mine = static_cast<std::byte>(peer.owner().index());
  std::array<std::byte, 1> byte;
  for (;;) {
    auto n = co_await peer.read_some(byte);
    if (n == 0) co_return;
    byte[0] = mine;
    co_await peer.write_all(byte);
  }
}

using connection = weir::detached<weir::tcp_stream>;

// On one shard: the others in turn.
weir::task<> hand_out(weir::tcp_listener& listener,
                      std::vector<weir::channel_sender<connection>>& to) {
  for (std::size_t next = 0;; ++next) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    auto moving = co_await weir::detach(std::move(*peer));
    co_await to[next % to.size()].send(std::move(moving));
  }
  for (auto& each : to) each.close();
}

// On every shard.
weir::task<> serve_what_comes(weir::shard& here, weir::shard_channel<connection>& coming) {
  weir::scope sessions(here, {.max = 10'000});
  for (;;) {
    auto moving = co_await coming.receive();
    if (!moving) break;
    auto peer = weir::try_attach(here, *moving);
    if (peer) sessions.spawn(session(std::move(*peer)));  // else the shard stops: it closes
  }
  co_await sessions.drain(5s);
}

/// Two connections for each shard, which answer for the shards in turn.
weir::task<> ask_who_has_them(weir::shard& s, weir::endpoint server) {
  std::vector<weir::tcp_stream> all;
  for (unsigned i = 0; i < 2 * shards; ++i) {
    auto peer = co_await s.connect(server);
    std::array<std::byte, 1> answer;
    co_await peer.write_all("?");
    co_await peer.read_exactly(answer);
    expect(static_cast<unsigned>(answer[0]) == i % shards, "in turn");
    all.push_back(std::move(peer));
  }
}

}  // namespace

TEST_CASE("connections_that_one_shard_accepts_are_served_by_all_in_turn") {
  std::vector<weir::channel_sender<connection>> to;
  meeting all;
  run_everywhere(
      [&](shard& s) -> task<> {
        weir::shard_channel<connection> coming(s, 16);
        weir::scope parts(s);
        to[s.index()] = coming.sender();
        co_await all.wait();
        parts.spawn(serve_what_comes(s, coming));
        if (s.index() == 0) {
          auto listener = s.listen({"127.0.0.1", 0});
          parts.spawn(hand_out(listener, to));
          co_await ask_who_has_them(s, listener.local_endpoint());
          s.request_stop();
          co_await parts.join();
        }
        co_await parts.join();
      },
      [&] { to.assign(shards, {}); }, [&] { to.clear(); });
}

TEST_CASE("what_docs_between_shows_is_compiled_here_and_does_what_it_says") {
  const auto blocks =
      doc_blocks::cpp_blocks(doc_blocks::read_file(WEIR_SOURCE_DIR "/docs/between.md"));
  const auto here = doc_blocks::without_space(
      doc_blocks::read_file(WEIR_SOURCE_DIR "/tests/unit/between_shards_test.cpp"));
  CHECK(blocks.size() == 4);
  for (const auto& block : blocks)
    CHECK_MESSAGE(here.find(doc_blocks::without_space(block)) != std::string::npos, block);

  weir::sharded<visits> each;
  meeting all;
  run_everywhere([&](shard& s) -> task<> {
    const auto before = co_await all_visits(each);
    co_await all.wait();
    each.local(s).add();
    co_await all.wait();
    const auto after = co_await all_visits(each);
    expect(before == 0 && after == shards, "visits of all");
  });
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    weir::shard_channel<std::string> jobs(s, 1);
    std::vector<std::string> done, heard;
    weir::broadcast<std::string> news;
    weir::scope parts(s);
    parts.spawn(work(jobs, done));
    parts.spawn(listen(news, heard));
    for (const auto* job : {"one", "two", "three"}) co_await hand_in(jobs.sender(), job);
    jobs.close();
    for (const auto* text : {"first", "second"}) co_await news.send(text);
    co_await parts.join();
    CHECK(done == std::vector<std::string>{"one", "two", "three"});
    CHECK(heard == std::vector<std::string>{"first", "second"});
  });
}

#ifndef NDEBUG
namespace {

task<> read_a_byte(weir::tcp_stream& stream) {
  std::array<std::byte, 1> byte;
  (void)co_await stream.read_some(byte).timeout(1ms).nothrow();
}

/// Shard 1 reads from a stream of shard 0: in a process that may die of it.
void read_on_another_shard(const char* backend) {
  ::signal(SIGABRT, SIG_DFL);
  ::dup2(::open("/dev/null", O_WRONLY), 2);
  weir::config settings;
  settings.backend = backend;
  settings.shards = 2;
  weir::run(settings, [](shard& s) -> task<> {
    if (s.index() != 0) co_return;
    auto listener = s.listen({weir::ip_address::loopback_v4(), 0});
    auto stream = co_await s.connect(listener.local_endpoint());
    co_await weir::submit_to(*s.siblings()[1], read_a_byte(stream));
  });
}

}  // namespace

TEST_CASE("a_stream_used_on_another_shard_is_an_assertion") {
  for (const char* name : {"uring", "asio"}) {
    if (!weir::probe_backend(name, {}).usable) continue;
    CAPTURE(name);
    const auto child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      read_on_another_shard(name);
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
  }
}
#endif

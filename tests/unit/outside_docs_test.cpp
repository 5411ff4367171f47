// The snippets of docs/outside.md, compiled and run; and a check that the page shows nothing that
// does not stand here.
#include <doctest/doctest.h>

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <coroutine>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "unit/back_ends.hpp"
#include "unit/doc_blocks.hpp"
#include "weir/sim.hpp"

using namespace std::chrono_literals;
using doc_blocks::cpp_blocks;
using doc_blocks::read_file;
using doc_blocks::without_space;
using weir::shard;
using weir::task;

namespace {

std::uint64_t largest_factor(std::uint64_t n) {
  std::uint64_t largest = 1;
  for (std::uint64_t f = 2; n > 1; ++f)
    for (; n % f == 0; n /= f) largest = f;
  return largest;
}

weir::task<> answer(weir::tcp_stream& peer, std::uint64_t number) {
  auto factor = co_await weir::offload([&] { return largest_factor(number); });
  co_await peer.write_all(std::to_string(factor) + "\n");
}

task<> serve(shard& here) {
  auto listener = here.listen({"127.0.0.1", 0});
  while (auto peer = co_await listener.accept()) peer->close();
}

int serve_in_this_loop(weir::config settings, int stop_pipe) {
  weir::embedded_shard here(std::move(settings));  // on the loop's thread
  here.serve(serve);
  while (!here.ended()) {
    std::array<pollfd, 2> watched{{{stop_pipe, POLLIN, 0}, {here.descriptor(), POLLIN, 0}}};
    ::poll(watched.data(), watched.size(), here.poll_timeout());
    if ((watched[0].revents & POLLIN) != 0) here.shard().request_stop();
    here.turn();
  }
  return here.failed() ? 1 : 0;
}

/// Some library that calls back from a thread of its own.
class foreign_library {
 public:
  void ask(int question, std::function<void(int)> callback) {
    thread_ = std::thread([=] { callback(question * 2); });
  }
  ~foreign_library() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::thread thread_;
};

class foreign_answer {
 public:
  foreign_answer(foreign_library& library, int question, weir::shard& here)
      : library_(library), question_(question), home_(here.poster()) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    library_.ask(question_, [this, waiter](int got) {  // on a thread of the library's
      home_.post([this, waiter, got] {                 // on the shard again
        answer_ = got;
        waiter.resume();
      });
    });
  }
  int await_resume() const { return answer_; }

 private:
  foreign_library& library_;
  int question_;
  weir::poster home_;
  int answer_ = 0;
};

weir::task<> shout(weir::any_stream& terminal, weir::tcp_listener& listener) {
  CHECK(terminal);
  CHECK(listener.local_endpoint().port != 0);
  co_return;
}

[[maybe_unused]] weir::task<> serve_inherited(weir::shard& shard) {
  weir::unique_fd inherited(3);  // of whoever started us
  auto listener = weir::adopt_listener(shard, std::move(inherited));
  auto terminal = weir::adopt_pipe(shard, weir::unique_fd(::dup(STDIN_FILENO)));
  co_await shout(terminal, listener);
}

weir::task<> ask_the_daemon(weir::shard& shard) {
  auto listener = shard.listen(weir::unix_endpoint("@daemon"), {.backlog = 16});
  auto client = co_await weir::connect(weir::unix_endpoint("@daemon"));
  auto peer = co_await listener.accept();
  if (peer->peer_credentials().uid != ::getuid()) co_return;  // whom the kernel vouches for
  peer->expect_descriptors(1);
  const int passed = STDERR_FILENO;
  co_await client.write_with(std::as_bytes(std::span("log here", 8)), std::span(&passed, 1));
  std::array<std::byte, 8> request;
  co_await peer->read_exactly(request);
  auto log = peer->take_descriptors();  // one, or none where the peer sent none
}

weir::task<> take_notes(weir::shard& shard, std::vector<std::string>& notes) {
  auto socket = weir::bind_datagrams(shard, weir::unix_endpoint("@notes"));
  std::array<std::byte, 4096> buffer;
  while (auto got = co_await socket.receive_from(buffer)) {  // ends once the shard stops
    if (got.from.credentials.uid != ::getuid()) continue;    // whom the kernel vouches for
    notes.emplace_back(weir::as_text(std::span(buffer).first(got.n)));
    (void)co_await socket.send_to("noted", got.from.name).nothrow();
  }
}

weir::task<> reload_on_hangup(weir::shard& shard, unsigned& reloads) {
  weir::signal_watch hangups(shard, {SIGHUP});
  for (;;) {
    const auto came = co_await hangups.next().until_stop().nothrow();
    if (!came) co_return;  // stopping
    ++reloads;
  }
}

weir::task<> managed(weir::shard& shard, weir::service_manager& manager) {
  auto inherited = manager.take("web");
  auto listener = inherited ? weir::adopt_listener(shard, std::move(inherited))
                            : shard.listen({"127.0.0.1", 0});
  weir::scope watched(shard);
  watched.spawn(weir::keep_watchdog(manager));  // of this shard
  (void)manager.notify("READY=1");
  while (auto peer = co_await listener.accept()) peer->close();
  (void)manager.notify("STOPPING=1");
  watched.cancel();
  co_await watched.join();
}

weir::task<> accept_all(weir::tcp_listener& listener) {
  while (auto peer = co_await listener.accept()) co_await peer->write_all("served");
}

/// Whether the shard was asked to stop before somebody took over.
weir::task<bool> until_replaced(weir::handover& next) {
  try {
    co_await next.done();
  } catch (const weir::io_error&) {
    co_return true;
  }
  co_return false;
}

weir::task<> replaceable(weir::shard& shard, weir::unix_endpoint where) {
  auto before = co_await weir::take_over(where);  // empty: nobody runs
  auto listener =
      before ? weir::adopt_listener(shard, before->take("web")) : shard.listen({"127.0.0.1", 0});
  weir::scope sessions(shard);
  sessions.spawn(accept_all(listener));    // serve...
  if (before) co_await before->serving();  // ...and only then the old one stops
  weir::handover next(shard, where);
  next.add("web", listener);
  const auto stopped = co_await until_replaced(next);
  if (!stopped) shard.request_stop();
  co_await sessions.drain(5s);
}

weir::task<std::string> sorted(std::string_view lines) {
  weir::command sort{.arguments = {"sort", "-n"}, .environment = {"LC_ALL=C"}};
  sort.input = sort.output = weir::stdio::pipe();
  auto child = co_await weir::spawn_process(sort);
  co_await child.input.write_all(lines);
  child.input.close();  // its end of input
  std::string text;
  std::array<std::byte, 1024> buffer;
  while (auto n = co_await child.output.read_some(buffer))
    text.append(reinterpret_cast<const char*>(buffer.data()), n);
  auto status = co_await child.wait();
  co_return status.success() ? text : "sort: " + status.to_string();
}

weir::task<> keep_note(std::string_view text) {
  auto notes = co_await weir::open_file("notes.txt.new", {.write = true, .create = true});
  co_await notes.append(text);
  co_await notes.sync();  // survives a loss of power
  co_await weir::rename_file("notes.txt.new", "notes.txt");
}

}  // namespace

TEST_CASE("the_page_shows_only_code_that_is_compiled_here") {
  const std::string root = WEIR_SOURCE_DIR;
  auto here = without_space(read_file(root + "/tests/unit/outside_docs_test.cpp"));
  auto blocks = cpp_blocks(read_file(root + "/docs/outside.md"));
  CHECK(!blocks.empty());
  for (auto& block : blocks)
    CHECK_MESSAGE(here.find(without_space(block)) != std::string::npos, block);
}

TEST_CASE("offloaded_work_answers_a_client") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    auto client = co_await weir::connect(listener.local_endpoint());
    auto peer = co_await listener.accept();
    co_await answer(*peer, 3ull * 5 * 7919);
    std::array<std::byte, 5> line;
    co_await client.read_exactly(line);
    CHECK(std::string(reinterpret_cast<char*>(line.data()), line.size()) == "7919\n");
  });
}

TEST_CASE("a_loop_as_the_page_shows_it") {
  weir::config settings;
  settings.backend = "uring";
  if (!weir::probe_backend("uring", settings).usable) return;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const weir::unique_fd read_end(ends[0]), write_end(ends[1]);
  REQUIRE(::write(write_end.get(), "x", 1) == 1);
  CHECK(serve_in_this_loop(settings, read_end.get()) == 0);
}

TEST_CASE("unix_sockets_as_the_page_shows_them") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> { co_await ask_the_daemon(s); });
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    std::vector<std::string> notes;
    weir::scope tasks(s);
    tasks.spawn(take_notes(s, notes));
    co_await weir::yield();
    auto client = weir::connect_datagrams(s, weir::unix_endpoint("@notes"));
    co_await client.send("remember");
    std::array<std::byte, 8> answer;
    co_await client.receive(answer);
    CHECK(notes == std::vector<std::string>{"remember"});
    tasks.cancel();
    co_await tasks.join();
  });
}

TEST_CASE("signals_the_manager_and_stops_as_the_page_shows_them") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    unsigned reloads = 0;
    weir::service_manager nobody;
    weir::scope tasks(s);
    tasks.spawn(reload_on_hangup(s, reloads));
    tasks.spawn(managed(s, nobody));
    co_await weir::yield();
    ::kill(::getpid(), SIGHUP);
    while (reloads == 0) co_await weir::sleep_for(1ms);
    s.request_stop();
    co_await tasks.join();
    CHECK(tasks.io_errors() == 0);
  });
}

TEST_CASE("two_generations_as_the_page_shows_them") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    const weir::unix_endpoint where("@weir-docs-handover-" + std::to_string(::getpid()));
    weir::shard_thread other(s.settings(), 1);
    bool ended = false;
    other.shard().post([&] {
      auto& there = other.shard();
      there.start(replaceable(there, where),
                  [&](std::exception_ptr) { s.post([&] { ended = true; }); });
    });
    weir::scope tasks(s);
    while (!ended) {  // the first one ends once this shard has taken over
      auto before = co_await weir::take_over(where);
      if (!before) {
        co_await weir::sleep_for(1ms);
        continue;
      }
      auto listener = weir::adopt_listener(s, before->take("web"));
      const auto at = listener.local_endpoint();
      tasks.spawn(accept_all(listener));
      co_await before->serving();
      while (!ended) co_await weir::sleep_for(1ms);
      auto client = co_await weir::connect(at);
      std::array<std::byte, 6> answer;
      co_await client.read_exactly(answer);
      tasks.cancel();
      co_await tasks.join();
    }
  });
}

TEST_CASE("lines_are_sorted_as_the_page_shows_it") {
  back_ends::on_kernel_back_ends([](shard&) -> task<> {
    auto lines = co_await sorted("10\n9\n");
    CHECK(lines == "9\n10\n");
  });
}

TEST_CASE("a_note_is_kept_as_the_page_shows_it") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard&) -> task<> { co_await keep_note("to keep"); });
  net.run();
  CHECK(*host.disk().contents("notes.txt") == "to keep");
}

TEST_CASE("an_awaiter_of_ones_own_resumes_on_the_shard") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    foreign_library library;
    foreign_answer pending(library, 21, s);
    auto got = co_await pending;
    CHECK(got == 42);
    CHECK(s.on_this_thread());
  });
}

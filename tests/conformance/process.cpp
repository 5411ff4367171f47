// Processes: alike on every back end that runs on a machine; refused in a simulation.
#include "conformance/harness.hpp"

#include <signal.h>

namespace conformance {

namespace {

using weir::command;
using weir::shard;
using weir::stdio;

/// Whether this back end starts processes; says the typed error where not.
task<bool> starts_processes(shard& s) {
  const command nothing{.arguments = {"true"}};
  auto started = co_await weir::spawn_process(nothing).nothrow();
  const bool simulated = s.backend() == "sim";
  CHECK(started.has_value() != simulated);
  if (simulated) CHECK(started.error() == std::errc::operation_not_supported);
  if (started) co_await started->wait();
  co_return !simulated;
}

task<> feed(weir::any_stream& into, std::span<const std::byte> bytes) {
  co_await into.write_all(bytes);
  into.close();
}

task<> wait_for(weir::child_process& child, int& ended) {
  co_await child.wait();
  ++ended;
}

/// Holds one until it is cancelled.
task<> hold(weir::event& started, int& id) {
  const command sleeper{.arguments = {"sleep", "1000"}};
  auto child = co_await weir::spawn_process(sleeper);
  id = child.id();
  started.set();
  co_await child.wait();
}

}  // namespace

task<> process_is_written_read_and_awaited(shard& s) {
  auto able = co_await starts_processes(s);
  if (!able) co_return;
  command upper{.arguments = {"sh", "-c", "tr a-z A-Z; echo $WORD >&2; exit 3"},
                .environment = {"WORD=said"}};
  upper.input = upper.output = upper.errors = stdio::pipe();
  auto child = co_await weir::spawn_process(upper);
  CHECK(child.id() > 0);
  co_await child.input.write_all("quiet");
  child.input.close();
  auto loud = co_await read_text(child.output);
  CHECK(loud == "QUIET");
  auto said = co_await read_text(child.errors);
  CHECK(said == "said\n");
  auto status = co_await child.wait();
  CHECK(status.code == 3);
  CHECK_FALSE(status.success());
  status = co_await child.wait();  // as often as one likes
  CHECK(status.code == 3);
  CHECK_FALSE(child.kill(SIGTERM));
}
UNIX_CONFORMANCE(process_is_written_read_and_awaited);

task<> process_takes_more_than_its_pipes_hold(shard& s) {
  auto able = co_await starts_processes(s);
  if (!able) co_return;
  command copy{.arguments = {"cat"}};
  copy.input = copy.output = stdio::pipe();
  auto child = co_await weir::spawn_process(copy);
  const auto bytes = pattern(1'000'000);
  weir::scope tasks(s);
  tasks.spawn(feed(child.input, bytes));
  auto back = co_await read_text(child.output);
  co_await tasks.join();
  const bool same = back == text_of(bytes);
  CHECK(same);
  auto status = co_await child.wait();
  CHECK(status.success());
}
UNIX_CONFORMANCE(process_takes_more_than_its_pipes_hold);

task<> process_that_cannot_start_says_why(shard& s) {
  auto able = co_await starts_processes(s);
  if (!able) co_return;
  const command none{.arguments = {"weir-no-such-program"}};
  const command folder{.arguments = {"/"}};
  const command nowhere{.arguments = {"true"}, .directory = "/nowhere"};
  const command closed{.arguments = {"true"}, .descriptors = {1'000'000}};
  const command empty{.arguments = {}};
  const command unnamed{.arguments = {"true"}, .environment = {"=x"}};
  auto got = co_await weir::spawn_process(none).nothrow();
  CHECK(got.error() == std::errc::no_such_file_or_directory);
  got = co_await weir::spawn_process(folder).nothrow();
  CHECK(got.error() == std::errc::permission_denied);
  got = co_await weir::spawn_process(nowhere).nothrow();
  CHECK(got.error() == std::errc::no_such_file_or_directory);
  got = co_await weir::spawn_process(closed).nothrow();
  CHECK(got.error() == std::errc::bad_file_descriptor);
  got = co_await weir::spawn_process(empty).nothrow();
  CHECK(got.error() == std::errc::invalid_argument);
  got = co_await weir::spawn_process(unnamed).nothrow();
  CHECK(got.error() == std::errc::invalid_argument);
  std::string said;
  try {
    (void)co_await weir::spawn_process(nowhere);
  } catch (const io_error& error) {
    said = error.what();
  }
  CHECK(said.find("spawn true (its working directory)") != std::string::npos);
}
UNIX_CONFORMANCE(process_that_cannot_start_says_why);

task<> process_end_is_awaited_by_several_and_within_a_time(shard& s) {
  auto able = co_await starts_processes(s);
  if (!able) co_return;
  const command sleeper{.arguments = {"sleep", "1000"}};
  auto child = co_await weir::spawn_process(sleeper);
  auto late = co_await child.wait().timeout(1ms).nothrow();
  CHECK(late.error() == std::errc::timed_out);
  int ended = 0;
  weir::scope tasks(s);
  tasks.spawn(wait_for(child, ended));
  tasks.spawn(wait_for(child, ended));
  co_await weir::yield();
  CHECK(child.kill(SIGTERM));
  co_await tasks.join();
  CHECK(ended == 2);
  auto status = co_await child.wait();
  CHECK(status.signal == SIGTERM);
  CHECK(status.to_string() == "SIGTERM");
}
UNIX_CONFORMANCE(process_end_is_awaited_by_several_and_within_a_time);

task<> process_is_killed_with_its_scope(shard& s) {
  auto able = co_await starts_processes(s);
  if (!able) co_return;
  weir::event started;
  int id = 0;
  weir::scope tasks(s);
  tasks.spawn(hold(started, id));
  co_await started.wait();
  REQUIRE(::kill(id, 0) == 0);
  tasks.cancel();
  co_await tasks.join();
  while (::kill(id, 0) == 0) co_await sleep_for(1ms);  // also a zombie is there
}
UNIX_CONFORMANCE(process_is_killed_with_its_scope);

}  // namespace conformance

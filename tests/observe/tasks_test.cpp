// Planted faults: each is named, by file and line, by one command or one line on stderr.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <string>
#include <thread>

#include "observe/admin_client.hpp"
#include "programs/harness.hpp"

using namespace observe_test;
using namespace programs;

namespace {

/// faulty_server with this fault, which has begun.
struct faulty : observed {
  explicit faulty(const std::string& fault, std::vector<std::string> more = {})
      : observed(backend_called(kernel_backend), WEIR_FAULTY_SERVER, arguments(fault, more)) {}

  static std::vector<std::string> arguments(const std::string& fault,
                                            std::vector<std::string> more) {
    more.insert(more.end(), {"--lazy", "127.0.0.1:0", "--fault", fault});
    return more;
  }
  /// "faulty_server.cpp:57".
  std::string place() { return program.wait_line("fault ").substr(6); }
  std::string ps(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), WEIR_PS);
    arguments.push_back(address);
    const auto done = run(std::move(arguments));
    CHECK(done.code == 0);
    return done.out;
  }
  /// Asks until this is said.
  std::string ps_until(const std::vector<std::string>& arguments, const std::string& said) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
      auto out = ps(arguments);
      if (out.find(said) != std::string::npos) return out;
      INFO("looked for: ", said, "\nin:\n", out);
      REQUIRE_MESSAGE(std::chrono::steady_clock::now() < until, "never said");
    }
  }
};

/// Opening it blocks.
struct pipe_without_writer {
  pipe_without_writer() {
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    path = folder + "/fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  }
  ~pipe_without_writer() {
    ::unlink(path.c_str());
    ::rmdir(folder.c_str());
  }
  std::string folder = "/tmp/weir-tasks-XXXXXX";
  std::string path;
};

bool says(const std::string& text, const std::string& part) {
  INFO("looked for: ", part, "\nin:\n", text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("lock_that_is_never_released_is_named_by_where_it_was_taken") {
  faulty server("lock");
  const auto place = server.place();
  server.ps_until({}, "mutex lock, taken at " + place);
}

TEST_CASE("read_without_a_limit_on_a_silent_peer_is_named_with_the_peer") {
  faulty server("peer");
  const auto place = server.place();
  const auto out = server.ps_until({"--stuck", "200ms"}, place);
  says(out, "read_some " + server.where.address + ":" + std::to_string(server.where.port));
}

TEST_CASE("computation_is_reported_while_it_lasts") {
  faulty server("computation");
  const auto place = server.place();
  const auto line = server.program.wait_error_line("weir: shard 0 has not turned for ");
  says(line, "which had waited at " + place);
  says(line, "computation");
  says(line, "crunch");
  says(server.program.wait_error_line("weir: shard 0 turns again, after some "), "ms");
}

TEST_CASE("full_channel_is_named_with_its_bound") {
  faulty server("channel");
  const auto place = server.place();
  says(server.ps_until({}, place), "channel send (4 of 4)");
}

TEST_CASE("wait_for_the_wrong_event_is_named") {
  faulty server("event");
  const auto place = server.place();
  says(server.ps_until({"--group"}, place), "event wait");
  says(server.ps({"--tree"}), "scope faults of faulty_server.cpp:");
}

TEST_CASE("drain_that_one_session_blocks_says_who_is_left") {
  faulty server("drain");
  const auto place = server.place();
  server.program.wait_error_line("weir: a scope waits for 1 task(s) that were cancelled");
  says(server.program.wait_error_line("weir:   1 x "), place + ": offload, asked to end");
  server.program.signal(SIGTERM);
  CHECK(server.program.wait() == 0);
}

TEST_CASE("leaked_scope_is_named_by_where_it_was_made") {
  faulty server("scope");
  const auto place = server.place();
  says(server.ps_until({"--tree"}, "scope leaked of " + place), "sleep");
}

TEST_CASE("blocked_disk_is_named_by_the_call_that_waits") {
  const pipe_without_writer pipe;
  faulty server("disk", {"--fifo", pipe.path});
  const auto place = server.place();
  says(server.ps_until({"--stuck", "100ms"}, place), "offload");
}

TEST_CASE("task_that_was_never_started_is_named_when_it_goes") {
  faulty server("start");
  says(server.program.wait_error_line("weir: a task went without having run"), "never_run");
}

#if WEIR_TEST_RESOLVE
TEST_CASE("slow_resolver_is_named_by_the_line_that_asks_it") {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  const int silent = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(::bind(silent, reinterpret_cast<sockaddr*>(&at), size) == 0);
  REQUIRE(::getsockname(silent, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  faulty server("resolver",
                {"--resolve.servers", "127.0.0.1:" + std::to_string(::ntohs(at.sin_port)),
                 "--resolve.timeout_ms", "60000"});
  const auto place = server.place();
  server.ps_until({"--stuck", "100ms"}, place);
  ::close(silent);
}
#endif

TEST_CASE("sigquit_prints_what_everything_waits_for_and_the_program_goes_on") {
  faulty server("event");
  const auto place = server.place();
  for (int i = 0; i < 2; ++i) {
    server.program.signal(SIGQUIT);
    server.program.wait_error_line("weir: SIGQUIT: what the coroutines wait for:");
    server.program.wait_error_line("weir: shard 0: ");
  }
  says(server.ps({}), place);
  server.program.signal(SIGTERM);
  CHECK(server.program.wait() == 0);
  says(server.program.err(), place + ": event wait");
}

TEST_CASE("exception_out_of_serve_prints_who_is_left") {
  faulty server("throw");
  const auto place = server.place();
  CHECK(server.program.wait() == 1);
  says(server.program.err(), "thrown on purpose");
  says(server.program.err(), "shard 0 is left with:");
  says(server.program.err(), place + ": a turn of its shard");
}

TEST_CASE("promtool_finds_nothing_wrong_with_the_metrics") {
  if (run({"/bin/sh", "-c", "command -v promtool"}).code != 0) {
    std::puts("SKIPPED: promtool is not installed (prometheus)");
    return;
  }
  faulty server("computation");
  server.program.wait_error_line("weir: shard 0 turns again, after some ");
  const auto text = server.metrics();
  says(text, "faults_total{which=\"computation\"} 1");
  says(text, "fault_seconds_bucket{le=\"0.1\"} 1");
  says(text, "weir_stalls_total{shard=\"0\"");
  says(text, "weir_shard_turn_seconds_count{shard=\"0\"}");
  const auto checked = run({"/bin/sh", "-c", "promtool check metrics <<'END'\n" + text + "END\n"});
  INFO(checked.out, checked.err);
  CHECK(checked.code == 0);
}

TEST_CASE("readiness_ends_when_draining_begins_and_health_does_not") {
  const pipe_without_writer pipe;
  faulty server("disk", {"--fifo", pipe.path});  // its drain does not end
  server.place();
  CHECK(server.get("/healthz").status == 200);
  CHECK(server.get("/readyz").status == 200);
  // Before a thread has it, the drain would take it back.
  const auto begun = std::regex(R"(offload_running\{[^}]*\} 1\n)");
  const auto until_begun = std::chrono::steady_clock::now() + patience;
  while (!std::regex_search(server.get("/metrics").body, begun) &&
         std::chrono::steady_clock::now() < until_begun) {
  }
  server.program.signal(SIGTERM);
  server.program.wait_error_line("weir: SIGTERM: no more connections are accepted");
  const auto until = std::chrono::steady_clock::now() + patience;
  while (server.get("/readyz").status == 200 && std::chrono::steady_clock::now() < until) {
  }
  CHECK(server.get("/readyz").status == 503);
  CHECK(server.get("/healthz").status == 200);
}

TEST_CASE("many_tasks_are_counted_in_pieces_and_listed_up_to_a_bound") {
  faulty server("crowd");
  server.program.wait_line("fault crowd");
  const auto tasks = server.sockets("/tasks?listed=10");
  CHECK(tasks["shards"][0]["tasks"] == 100'002);  // with serve() and the crowd's owner
  CHECK(tasks["shards"][0]["pieces"].get<int>() > 10);
  CHECK(tasks["tasks"].size() == 10);
  CHECK(tasks["tasks_left_out"] == 99'992);
  CHECK(tasks["groups"][0]["count"] == 100'000);
  CHECK(tasks["groups"][0]["belongs"]["name"] == "crowd");
  const auto few = run({WEIR_PS, "--most", "10", server.address});
  CHECK(few.code == 0);
  CHECK(few.err == "weir-ps: 99992 more are not shown; --group counts them all\n");
  const auto counted = run({WEIR_PS, "--most", "10", "--group", server.address});
  CHECK(counted.code == 0);
  CHECK(counted.err == "");
}

TEST_CASE("bad_questions_are_refused_and_a_server_without_tasks_is_no_error") {
  faulty server("event");
  CHECK(server.get("/tasks?listed=100001").status == 400);
  CHECK(server.get("/tasks?stuck_ms=x").status == 400);
  CHECK(server.get("/tasks?listed=1&stuck_ms=5").status == 200);
  CHECK(run({WEIR_PS, server.address}).err == "");  // all are shown
  const auto wrong = run({WEIR_PS, "--stuck", "5 days", server.address});
  CHECK(wrong.code == 2);
  says(wrong.err, "must be a time: 10s, 200ms, 5m");
}

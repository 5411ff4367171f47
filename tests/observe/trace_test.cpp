// The last events of a running server, from outside: as a trace, on SIGQUIT, and when it dies. And
// the probes that tracers find in its program.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "observe/admin_client.hpp"
#include "programs/harness.hpp"

using namespace observe_test;
using namespace programs;

namespace {

std::string at(const backend& on, int port) { return on.address + ":" + std::to_string(port); }

bool says(const std::string& text, const std::string& part) {
  INFO("looked for: ", part, "\nin:\n", text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

const json* named(const json& trace, const std::string& name) {
  for (const auto& one : trace["traceEvents"])
    if (one["name"] == name) return &one;
  return nullptr;
}

/// Asks until this is there.
json trace_with(observed& server, const std::string& name) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto trace = server.sockets("/recorder");
    if (named(trace, name) != nullptr) return trace;
    INFO(trace.dump(1));
    REQUIRE_MESSAGE(std::chrono::steady_clock::now() < until, "never recorded: ", name);
  }
}

/// A server that dies as `how` says; what it printed on stderr.
std::string last_words(const std::string& how, int number) {
  observed server(backend_called(kernel_backend), WEIR_FAULTY_SERVER,
                  {"--lazy", "127.0.0.1:0", "--fault", how}, {.before_exec = [] {
                    const rlimit none{0, 0};
                    ::setrlimit(RLIMIT_CORE, &none);
                  }});
  CHECK(server.program.wait() == 1000 + number);
  says(server.program.err(), "weir: the last events of shard 0:\nweir:   -");
  says(server.program.err(),
       " s connect 127.0.0.1:" + std::to_string(server.where.port) + ", socket ");
  return server.program.err();
}

/// Of readelf: how many arguments each of weir's probes has in this program, "4@%edi 8@%rax".
std::map<std::string, std::size_t> probes_of(const std::string& program) {
  const auto notes = run({"/bin/sh", "-c", "readelf --notes --wide " + program});
  REQUIRE(notes.code == 0);
  std::map<std::string, std::size_t> out;
  for (auto from = notes.out.find("Provider: weir\n"); from != std::string::npos;
       from = notes.out.find("Provider: weir\n", from + 1)) {
    const auto after = [&](const std::string& key) {
      const auto begin = notes.out.find(key, from) + key.size();
      return notes.out.substr(begin, notes.out.find('\n', begin) - begin);
    };
    const auto arguments = after("Arguments: ");
    out[after("Name: ")] =
        static_cast<std::size_t>(std::count(arguments.begin(), arguments.end(), '@'));
  }
  return out;
}

}  // namespace

ON_EVERY_BACKEND(recorder_shows_who_came_and_what_became_of_them) {
  observed server(on, services(), {"--echo", at(on, 7)});
  {
    client first(on.address, 7);
    first.send("hello");
    CHECK(first.receive(5) == "hello");
    first.vanish();
  }
  const auto trace = trace_with(server, "close");
  const auto* accepted = named(trace, "accept");
  REQUIRE(accepted != nullptr);
  INFO(trace.dump(1));
  CHECK((*accepted)["args"]["port"] == 7);
  CHECK((*accepted)["args"]["peer"].is_string());
  CHECK((*accepted)["ph"] == "i");
  const auto* broke = named(trace, "connection broke");
  REQUIRE(broke != nullptr);
  CHECK((*broke)["args"]["error"] == "Connection reset by peer");
  CHECK((*broke)["args"]["peer"] == (*accepted)["args"]["peer"]);
  CHECK((*broke)["ts"] >= (*accepted)["ts"]);
  CHECK(trace["otherData"]["shards"][0]["kept"] == 1000);

  CHECK(server.get("/recorder?events=100001").status == 400);
  CHECK(server.get("/recorder?x=1").status == 400);
  CHECK(server.sockets("/recorder?events=1")["otherData"]["shards"][0]["shown"] == 1);
}

TEST_CASE("sigquit_prints_the_last_events") {
  if (!usable(kernel_backend)) return;
  observed server(backend_called(kernel_backend), services(), {"--echo", "127.0.0.1:0"});
  {
    client gone("127.0.0.1", server.where.port);
  }
  trace_with(server, "close");
  server.program.signal(SIGQUIT);
  server.program.wait_error_line("weir: the last events of shard 0:");
  says(server.program.wait_error_line("weir:   -"), " s accept 127.0.0.1:");
  server.program.signal(SIGTERM);
  CHECK(server.program.wait() == 0);
}

TEST_CASE("stall_is_recorded_with_its_place_and_time") {
  observed server(backend_called(kernel_backend), WEIR_FAULTY_SERVER,
                  {"--lazy", "127.0.0.1:0", "--fault", "computation"});
  const auto trace = trace_with(server, "stall");
  const auto& stall = *named(trace, "stall");
  INFO(stall.dump(1));
  CHECK(stall["ph"] == "X");
  CHECK(stall["dur"].get<int>() >= 20'000);
  if (WEIR_WITH_TASKS != 0)
    CHECK(stall["args"]["place"].get<std::string>().starts_with("faulty_server.cpp:"));
}

TEST_CASE("program_that_aborts_prints_its_last_events") { last_words("abort", SIGABRT); }

#if WEIR_TEST_FAULTS
TEST_CASE("program_that_dies_of_a_fault_prints_its_last_events") { last_words("fault", SIGSEGV); }
#endif

TEST_CASE("recorder_that_is_off_leaves_signals_alone_and_shows_nothing") {
  observed server(backend_called(kernel_backend), services(),
                  {"--echo", "127.0.0.1:0", "--observe.recorder", "off"});
  CHECK(server.sockets("/recorder")["otherData"]["shards"].empty());
  server.program.signal(SIGQUIT);
  server.program.wait_error_line("weir: shard 0: ");
  server.program.signal(SIGABRT);
  CHECK(server.program.wait() == 1000 + SIGABRT);
  CHECK(server.program.err().find("the last events") == std::string::npos);
}

#if WEIR_TEST_PROBES
TEST_CASE("program_has_each_probe_with_its_arguments") {
  const auto found = probes_of(services());
  const std::map<std::string, std::size_t> documented = {
      {"accept", 4}, {"connect", 4}, {"read", 4}, {"write", 4},          {"close", 3},
      {"detach", 2}, {"attach", 3},  {"drop", 2}, {"retransmission", 5}, {"stall", 3}};
  for (const auto& [name, arguments] : found) INFO(name, ": ", arguments);
  CHECK(found == documented);
}
#endif

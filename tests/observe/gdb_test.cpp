// weir_gdb.py on a server with ten thousand sessions: a process that stands still, and a core of
// it. Skipped where gdb is not installed.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "observe/admin_client.hpp"

using namespace programs;
using namespace observe_test;

namespace {

constexpr const char* gdb = "/usr/bin/gdb";
constexpr std::size_t sessions = 10'000;

bool ready() {
  if (::access(gdb, X_OK) != 0) {
    std::printf("SKIPPED: no gdb is installed (apt-get install gdb)\n");
    return false;
  }
  rlimit most{};
  ::getrlimit(RLIMIT_NOFILE, &most);
  if (most.rlim_max < sessions + 200) {
    std::printf("SKIPPED: descriptors are limited to %llu\n",
                static_cast<unsigned long long>(most.rlim_max));
    return false;
  }
  most.rlim_cur = most.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &most);
  return own_network() && usable(kernel_backend);
}

struct folder {
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-gdb-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

std::string line_of(const std::string& words) {
  std::ifstream in(std::string(WEIR_TEST_SOURCES) + "/observe/parked_server.cpp");
  std::string line;
  for (int number = 1; std::getline(in, line); ++number)
    if (line.ends_with("// " + words)) return "parked_server.cpp:" + std::to_string(number);
  FAIL("no line ", words);
  return {};
}

/// What gdb prints of these commands.
std::string ask(std::vector<std::string> what, const std::vector<std::string>& commands) {
  std::vector<std::string> command = {gdb,      "-q",   "-nx",
                                      "-batch", "-iex", "set debuginfod enabled off"};
  command.insert(command.end(), what.begin(), what.end());
  for (const auto& one : commands) command.insert(command.end(), {"-ex", one});
  auto done = run(std::move(command));
  INFO(done.err);
  REQUIRE(done.code == 0);
  return done.out;
}

void check_what_is_told(const std::string& told) {
  INFO(told.substr(0, 4000));
  // All of them, at the line that is the author's, below the scope.
  const auto inner = line_of("the inner line"), outer = line_of("the outer line");
  const auto group = told.find("10000 ");
  REQUIRE(group != std::string::npos);
  const auto line = told.substr(group, told.find('\n', group) - group);
  CHECK(line.find(inner) != std::string::npos);
  CHECK(line.find("read") != std::string::npos);
  CHECK(line.find("(parked::wait_for_more)") != std::string::npos);
  CHECK(told.find("(parked::serve)") != std::string::npos);
  CHECK(told.find("accept") != std::string::npos);
  // One of them with its chain and its locals.
  const auto chain = told.find("in parked::wait_for_more " + inner);
  REQUIRE(chain != std::string::npos);
  CHECK(told.find("awaited by parked::session " + outer, chain) != std::string::npos);
  const auto locals = told.find("parked::session  " + outer);
  REQUIRE(locals != std::string::npos);
  CHECK(told.find("remembered = 70000", locals) != std::string::npos);
}

}  // namespace

TEST_CASE("every_session_of_a_process_and_of_its_core_is_shown_with_place_chain_and_locals") {
  if (!ready()) return;
  folder here;
  process server(command_line(WEIR_PARKED_SERVER, backend_called(kernel_backend),
                              {"--park", "127.0.0.1:0", "--listen.backlog", "4096"}));
  const auto pid = server.wait_line("pid ").substr(4);
  const auto where = place_of(server.wait_line("listening "));
  const auto allowed = run({gdb, "-q", "-nx", "-batch", "-p", pid});
  if (allowed.err.find("not permitted") != std::string::npos) {
    std::printf("SKIPPED: gdb may not look at a process here\n");
    return;
  }
  std::vector<client> clients;
  clients.reserve(sessions);
  for (std::size_t i = 0; i < sessions; ++i) clients.emplace_back(where.address, where.port);
  server.wait_line("sessions " + std::to_string(sessions));
  const std::vector<std::string> questions = {"weir-ps --group", "weir-ps --chain --most 5",
                                              "weir-locals 3"};
  const auto core = here.path + "/core";
  auto live = questions;
  live.insert(live.begin(), std::string("source ") + WEIR_GDB_SCRIPT);
  live.push_back("generate-core-file " + core);
  check_what_is_told(ask({"-p", pid}, live));
  check_what_is_told(ask({"-x", WEIR_GDB_SCRIPT, WEIR_PARKED_SERVER, core}, questions));
  // It went on, and still serves.
  clients.front().end_of_stream();
  CHECK(clients.front().receive_all().empty());
}

TEST_CASE("gdb_without_a_program_or_its_types_is_told_what_is_missing") {
  if (!ready()) return;
  const auto none = run({gdb, "-q", "-nx", "-batch", "-x", WEIR_GDB_SCRIPT, "-ex", "weir-ps"});
  CHECK(none.err.find("no program is there") != std::string::npos);
  process other({"/bin/sh", "-c", "echo pid $$; exec sleep 60"});
  const auto pid = other.wait_line("pid ").substr(4);
  const auto strange = run({gdb, "-q", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p",
                            pid, "-x", WEIR_GDB_SCRIPT, "-ex", "weir-ps"});
  CHECK(strange.err.find("build the program with -g") != std::string::npos);
}

// examples/redis with other people's: redis-cli against its server, its client against
// redis-server, and each of them asked the same.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "programs/harness.hpp"

using namespace programs;

namespace {

bool there(const char* program) {
  if (::access(program, X_OK) == 0) return true;
  std::printf("SKIPPED: no %s\n", program);
  return false;
}

std::string told_by(const std::string& where, const std::string& command) {
  const auto done =
      run({WEIR_REDIS, "--backend", kernel_backend, "--to", where, "--command", command});
  CHECK_MESSAGE(done.code == 0, done.err);
  return done.out;
}

const std::vector<std::string> commands = {"PING",          "SET a hello", "GET a", "GET none",
                                           "MGET a none a", "DEL a",       "DEL a", "GET a"};

std::string all_told_by(const std::string& where) {
  std::string out;
  for (const auto& command : commands) out += told_by(where, command);
  return out;
}
constexpr const char* expected = "PONG\nOK\nhello\n(nil)\nhello\n(nil)\nhello\n1\n0\n(nil)\n";

}  // namespace

ON_EVERY_BACKEND(redis_answers_its_own_client_and_redis_cli) {
  process server(command_line(WEIR_REDIS, on, {"--redis", on.address + ":6379"}));
  const auto where = place_of(server.wait_line("listening redis "));
  const auto text = where.address + ":" + std::to_string(where.port);
  CHECK(all_told_by(text) == expected);
  CHECK(told_by(text, "NOSUCH x").starts_with("ERR "));
  if (there("/usr/bin/redis-cli")) {
    const auto cli = [&](std::vector<std::string> words) {
      words.insert(words.begin(),
                   {"/usr/bin/redis-cli", "-h", where.address, "-p", std::to_string(where.port)});
      return run(words).out;
    };
    const std::string binary = "x y\r\n\"z";
    CHECK(cli({"SET", "b", binary}) == "OK\n");
    CHECK(cli({"GET", "b"}) == binary + "\n");
    CHECK(cli({"SET", "big", std::string(60'000, 'b')}) == "OK\n");
    CHECK(cli({"GET", "big"}) == std::string(60'000, 'b') + "\n");
  }
  if (there("/usr/bin/redis-benchmark")) {
    const auto load =
        run({"/usr/bin/redis-benchmark", "-h", where.address, "-p", std::to_string(where.port),
             "-t", "set,get", "-n", "2000", "-P", "16", "-c", "20", "-q"});
    CHECK(load.code == 0);
    CHECK(load.out.find("GET:") != std::string::npos);
  }
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

TEST_CASE("its_client_understands_redis_server") {
  if (!own_network() || !usable(kernel_backend) || !there("/usr/bin/redis-server")) return;
  process server({"/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", ""});
  for (int tries = 0; tries < 500; ++tries) {  // until it listens
    const auto done = run(
        {WEIR_REDIS, "--backend", kernel_backend, "--to", "127.0.0.1:6379", "--command", "PING"});
    if (done.code == 0) break;
    ::usleep(20'000);
  }
  CHECK(all_told_by("127.0.0.1:6379") == expected);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

TEST_CASE("what_is_no_command_is_told_so_and_ends_its_connection_alone") {
  if (!own_network() || !usable(kernel_backend)) return;
  process server({WEIR_REDIS, "--backend", kernel_backend, "--redis", "127.0.0.1:6379"});
  server.wait_line("listening redis ");
  for (const std::string bytes :
       {"hello\\r\\n", "*-5\\r\\n", "*99999999\\r\\n", "*1\\r\\n$-7\\r\\n",
        "*1\\r\\n$99999999\\r\\n", "*1\\r\\n:5\\r\\n", "*1\\r\\n$2\\r\\nabcd", "\\r\\n"}) {
    CAPTURE(bytes);
    const auto said =
        run({"/bin/bash", "-c",
             "exec 3<>/dev/tcp/127.0.0.1/6379; printf '" + bytes + "' >&3; timeout 5 cat <&3"});
    CHECK(said.out.starts_with("-ERR Protocol error"));
  }
  CHECK(told_by("127.0.0.1:6379", "PING") == "PONG\n");
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

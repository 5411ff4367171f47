// Examples of a shard among others, run from outside.
#include <doctest/doctest.h>
#include <signal.h>

#include <string>

#include "programs/harness.hpp"

using namespace programs;

ON_EVERY_BACKEND(factors_answers_easy_questions_while_it_thinks_about_hard_ones) {
  process p(command_line(WEIR_FACTORS, on, {"--factors", on.address + ":7010"}));
  const auto where = place_of(p.wait_line("listening factors "));
  client hard(where.address, where.port), easy(where.address, where.port);
  hard.send("100000000000067\n");  // a prime: ten million divisions
  easy.send("1024\n15\n");
  CHECK(easy.receive(4) == "2\n5\n");
  CHECK(hard.receive(16) == "100000000000067\n");
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

// What weir-ps prints of counts, from the JSON that a server would give.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "runtime/tools/task_tables.hpp"

using nlohmann::json;

namespace {

json group(const char* place, const char* operation, int count, int waited_us,
           const char* waits_for = "") {
  return {{"place", place}, {"operation", operation}, {"function", "serve"},
          {"count", count}, {"waited_us", waited_us}, {"waits_for", waits_for}};
}

std::string counts_of(std::vector<json> groups) {
  return ps::to_text(json{{"groups", std::move(groups)}}, ps::form::groups, false);
}

}  // namespace

TEST_CASE("the_same_place_on_several_shards_is_one_line_with_the_longest_wait") {
  CHECK(counts_of({group("a.cpp:1", "read", 2, 5), group("a.cpp:1", "read", 3, 900),
                   group("a.cpp:1", "read", 1, 70)}) ==
        "        6      900 us  a.cpp:1                   read  (serve)\n");
}

TEST_CASE("tasks_that_have_not_waited_yet_are_counted_too") {
  CHECK(counts_of({group("a.cpp:1", "read", 2, 0), group("a.cpp:1", "read", 1, 0)}) ==
        "        3        0 us  a.cpp:1                   read  (serve)\n");
  // One alone is told with all that it waits for.
  CHECK(counts_of({group("a.cpp:1", "read", 1, 0, "read 10.0.0.1:7")}) ==
        "        1        0 us  a.cpp:1                   read 10.0.0.1:7  (serve)\n");
}

TEST_CASE("most_tasks_come_first_and_of_equally_many_the_longest_wait") {
  CHECK(ps::to_text(json{{"groups",
                          {group("a.cpp:1", "read", 2, 5), group("a.cpp:2", "read", 2, 1500),
                           group("a.cpp:2", "write", 3, 1), group("b.cpp:1", "read", 2, 7)}}},
                    ps::form::groups, true) ==
        "    COUNT     LONGEST  PLACE                     WAITS FOR  (FUNCTION)\n"
        "        3        1 us  a.cpp:2                   write  (serve)\n"
        "        2      1.5 ms  a.cpp:2                   read  (serve)\n"
        "        2        7 us  b.cpp:1                   read  (serve)\n"
        "        2        5 us  a.cpp:1                   read  (serve)\n");
  CHECK(counts_of({}).empty());
}

// Where lines go.
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/core/log.hpp"
#include "weir/log.hpp"

namespace {

/// Takes the lines for as long as it lives.
struct taken_lines {
  std::vector<std::string> lines;
  weir::log_sink before;

  taken_lines() {
    before = weir::set_log_sink([this](const weir::log_record& r) {
      std::string line(to_string(r.level));
      line += r.of_weir ? " weir " : " program ";
      line += r.text;
      for (const auto& [key, value] : r.values)
        line += " " + std::string(key) + "=" + std::string(value);
      lines.push_back(line);
      if (!r.of_weir) {
        CHECK(r.file.ends_with("core_log_test.cpp"));
        CHECK(r.line != 0);
      }
      weir::log(weir::log_level::error, "from inside a sink");  // is dropped
    });
  }
  ~taken_lines() { weir::set_log_sink(std::move(before)); }
};

}  // namespace

TEST_CASE("a_sink_gets_the_lines_of_weir_and_of_the_program_with_level_place_and_keys") {
  taken_lines taken;
  weir::detail::log_line("a scope is full");
  weir::log(weir::log_level::info, "order", {{"kind", "book"}, {"id", "7"}});
  REQUIRE(taken.lines.size() == 2);
  CHECK(taken.lines[0] == "warning weir a scope is full");
  CHECK(taken.lines[1] == "info program order kind=book id=7");
}

TEST_CASE("a_sink_that_throws_loses_its_line_only") {
  auto before = weir::set_log_sink([](const weir::log_record&) { throw std::runtime_error("x"); });
  weir::log(weir::log_level::info, "lost");
  weir::set_log_sink(std::move(before));
  taken_lines taken;
  weir::log(weir::log_level::info, "kept");
  CHECK(taken.lines.size() == 1);
}

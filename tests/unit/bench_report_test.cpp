// What weir-bench makes of its figures: the comparison of two saved results, the page that needs
// nothing but itself, and the ratios of its table.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "bench/report.hpp"
#include "bench/targets.hpp"

using namespace weir::bench;

namespace {

class scratch_folder {
 public:
  scratch_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-report-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~scratch_folder() { std::filesystem::remove_all(path_); }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

server_outcome server(const char* label, std::initializer_list<double> requests_per_s) {
  server_outcome out;
  out.spec.label = out.spec.name = label;
  for (const double value : requests_per_s) {
    measurement& m = out.rounds.emplace_back();
    m[metric::requests_per_s] = value;
    m[metric::cpu_us] = 1e6 / value;
    out.latency.record(static_cast<std::uint64_t>(1e9 / value));
  }
  return out;
}

run_outcome run_with(std::initializer_list<server_outcome> servers) {
  run_outcome out;
  cell_outcome& c = out.cells.emplace_back();
  for (const auto& s : servers) c.servers.push_back(s);
  return out;
}

std::string line_with(const std::string& text, const std::string& what) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.find(what) != std::string::npos) return line;
  return "";
}

}  // namespace

TEST_CASE("a_comparison_calls_what_exceeds_the_spread_and_nothing_else") {
  const scratch_folder folder;
  save_json(run_with({server("a", {100, 104, 96}), server("b", {100, 104, 96})}),
            folder.file("before"));
  save_json(run_with({server("a", {120, 125, 118}), server("b", {103, 108, 99})}),
            folder.file("after"));
  const std::string text = compare_files(folder.file("before"), folder.file("after"));
  const auto second = text.find("  b\n");
  REQUIRE(second != std::string::npos);
  CHECK(line_with(text.substr(0, second), "requests_per_s").find("better") != std::string::npos);
  CHECK(line_with(text.substr(0, second), "server_cpu_us").find("better") != std::string::npos);
  CHECK(line_with(text.substr(second), "requests_per_s").find("within the spread") !=
        std::string::npos);
}

TEST_CASE("a_comparison_refuses_what_is_no_result") {
  const scratch_folder folder;
  std::ofstream(folder.file("other")) << "{\"weir_bench\": 99}";
  save_json(run_with({}), folder.file("good"));
  CHECK_THROWS_AS(compare_files(folder.file("other"), folder.file("good")), std::runtime_error);
  CHECK_THROWS_AS(compare_files(folder.file("missing"), folder.file("good")), std::runtime_error);
}

TEST_CASE("the_page_is_one_file_that_needs_no_network") {
  const scratch_folder folder;
  std::string why_not;
  save_page_with_plots(run_with({server("a<b", {100, 104, 96})}), folder.file("page"), "in & short",
                       why_not);
  std::stringstream all;
  all << std::ifstream(folder.file("page")).rdbuf();
  const std::string page = all.str();
  CHECK(page.find("in &amp; short") != std::string::npos);
  CHECK(page.find("a&lt;b") != std::string::npos);
  CHECK(page.find("<script src") == std::string::npos);
  CHECK(page.find("<link") == std::string::npos);
  CHECK(page.find("href=\"http") == std::string::npos);
  if (why_not.empty()) CHECK(page.find("<svg") != std::string::npos);
}

TEST_CASE("a_target_is_compared_with_the_best_of_its_rivals") {
  const run_outcome run = run_with({server("ours", {110, 120, 130}), server("slow", {50, 50, 50}),
                                    server("fast", {100, 100, 100})});
  target t;
  t.of = "ours";
  t.to = {"slow", "fast", "absent"};
  t.what = metric::requests_per_s;
  std::string best;
  CHECK(ratio_of(run, t, best).median == doctest::Approx(1.2));
  CHECK(best == "fast");
  t.what = metric::cpu_us;
  CHECK(ratio_of(run, t, best).median == doctest::Approx(100.0 / 120));
  CHECK(best == "fast");
  t.of = "absent";
  CHECK(ratio_of(run, t, best).rounds == 0);
}

// weir-bench load as a person runs it, against weir's own servers on this machine's loopback. No
// figure is judged: a busy machine may spoil any of them, and then the program says so.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "programs/harness.hpp"

using namespace programs;
using nlohmann::json;

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class folder {
 public:
  folder() {
    path_ = std::filesystem::temp_directory_path() / ("weir-load-" + std::to_string(::getpid()));
    std::filesystem::create_directories(path_);
  }
  ~folder() { std::filesystem::remove_all(path_); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  std::string file(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

finished load(std::vector<std::string> more) {
  std::vector<std::string> command{WEIR_BENCH, "load", "--duration", "0.2",
                                   "--warmup", "0.05", "--backend",  kernel_backend};
  command.insert(command.end(), more.begin(), more.end());
  return run(std::move(command));
}

/// Measured; whether the figures stand is the machine's to decide.
bool measured(const finished& run) { return run.code == 0 || run.code == 3; }

std::string url(const char* scheme, const place& at, const char* path = "") {
  return std::string(scheme) + "://" + at.address + ":" + std::to_string(at.port) + path;
}

}  // namespace

TEST_CASE("every kind of service of weir's own is loaded, and its answers are counted") {
  if (!own_network() || !usable(kernel_backend)) return;
  const folder here;
  process services({WEIR_SERVICES, "--backend", kernel_backend, "--echo", "127.0.0.1:0",
                    "--discard", "127.0.0.1:0", "--chargen", "127.0.0.1:0", "--udp-echo",
                    "127.0.0.1:0", "--echo", "unix:" + here.file("e.sock")});
  const auto echo = place_of(services.wait_line("listening echo 127"));
  const auto discard = place_of(services.wait_line("listening discard"));
  const auto chargen = place_of(services.wait_line("listening chargen"));
  const auto udp = place_of(services.wait_line("listening udp-echo"));
  for (const auto& target :
       {url("tcp", echo), url("tcp", discard, "/discard"), url("tcp", chargen, "/chargen"),
        url("udp", udp), "unix:" + here.file("e.sock")}) {
    CAPTURE(target);
    const auto got = load({target, "-c", "3", "--anyway", "--json", here.file("a.json")});
    CAPTURE(got.out);
    CAPTURE(got.err);
    CHECK(measured(got));
    const auto saved = json::parse(read_file(here.file("a.json")));
    const auto& round = saved["targets"][0]["rounds"][0];
    CHECK(round["answers"].get<std::uint64_t>() > 0);
    CHECK(round["valid"].get<bool>() == (got.code == 0));
    CHECK(saved["targets"][0]["url"] == target);
  }
}

TEST_CASE("HTTP: figures in every form; statuses from 400 on are no answers") {
  if (!own_network() || !usable(kernel_backend)) return;
  const folder here;
  process server({WEIR_HTTP_SERVER, "--backend", kernel_backend, "--http", "127.0.0.1:0"});
  const auto at = place_of(server.wait_line("listening http"));
  const auto got =
      load({url("http", at, "/plaintext"), "-c", "4", "--anyway", "--rate", "500", "--json",
            here.file("a.json"), "--csv", here.file("a.csv"), "--hdr", here.file("a.hlog"),
            "--prometheus", here.file("a.prom"), "--page", here.file("a.html")});
  CAPTURE(got.out);
  CHECK(measured(got));
  CHECK(got.out.find("the load     late by p50") != std::string::npos);
  CHECK(read_file(here.file("a.csv")).find("\n\"http://") != std::string::npos);
  CHECK(read_file(here.file("a.hlog")).starts_with("#[Histogram log format version 1.3]"));
  CHECK(read_file(here.file("a.prom")).find("weir_load_valid{url=") != std::string::npos);
  const auto page = read_file(here.file("a.html"));
  for (const auto* outside : {"<link", " src=", "@import", "url("}) {
    CAPTURE(outside);  // it needs no network
    CHECK(page.substr(0, page.find("<script>")).find(outside) == std::string::npos);
  }

  const auto with_options = load(
      {"-H", "X-A: b", "--key", "tcp.nodelay=true", url("http", at, "/plaintext"), "--anyway"});
  CHECK(measured(with_options));
  CHECK(with_options.err == "");

  const auto missing =
      load({url("http", at, "/nothing"), "-c", "4", "--json", here.file("b.json")});
  CHECK(missing.code == 3);
  CHECK(missing.out.find("not shown: 100.00% of the requests failed: status 404") !=
        std::string::npos);
  const auto saved = json::parse(read_file(here.file("b.json")));
  CHECK(!saved["targets"][0]["rounds"][0].contains("figures"));
  CHECK(saved["targets"][0]["rounds"][0]["errors"]["status 404"].get<std::uint64_t>() > 0);
}

TEST_CASE("what cannot be measured is said, with a status of its own") {
  if (!own_network() || !usable(kernel_backend)) return;
  const folder here;
  const auto nobody = load({"tcp://127.0.0.1:9"});
  CHECK(nobody.code == 1);
  CHECK(nobody.out.find("refused") != std::string::npos);
  const auto nothing = load({"127.0.0.1:9"});
  CHECK(nothing.code == 1);
  CHECK(nothing.err.find("has to begin with tcp://") != std::string::npos);
  std::ofstream(here.file("mix.json")) << R"([{"wieght": 1}])";
  const auto typo = load({"http://127.0.0.1:9/", "--mix", here.file("mix.json")});
  CHECK(typo.code == 1);
  CHECK(typo.err.find("`wieght` is no part of a request") != std::string::npos);
  CHECK(run({WEIR_BENCH, "load"}).code != 0);
  CHECK(run({WEIR_BENCH, "examples"}).out.find("weir-bench load http://") != std::string::npos);
  CHECK(run({WEIR_BENCH, "doctor"}).out.find("governor") != std::string::npos);
  CHECK(run({WEIR_BENCH, "--version"}).out.starts_with("weir-bench (weir "));
}

TEST_CASE("a run is compared with one that was saved; two targets with each other") {
  if (!own_network() || !usable(kernel_backend)) return;
  const folder here;
  process server({WEIR_HTTP_SERVER, "--backend", kernel_backend, "--http", "127.0.0.1:0"});
  const auto at = place_of(server.wait_line("listening http"));
  const auto one = url("http", at, "/plaintext"), other = url("http", at, "/json");
  const auto first = load({one, other, "--rounds", "2", "--json", here.file("a.json")});
  CHECK(measured(first));
  CHECK(first.out.find(other + " against " + one) != std::string::npos);
  const auto second = load({one, "--rounds", "2", "--baseline", here.file("a.json")});
  CHECK(measured(second));
  process idle({WEIR_HTTP_SERVER, "--backend", kernel_backend, "--http", "127.0.0.1:0"});
  idle.wait_line("listening http");
  const auto busy_pid = std::to_string(server.pid()), idle_pid = std::to_string(idle.pid());
  REQUIRE(measured(load({one, other, "--pid", busy_pid, "--pid", idle_pid, "--anyway", "--json",
                         here.file("b.json")})));
  const auto watched = json::parse(read_file(here.file("b.json")))["targets"];
  const auto cpu = [&](int i) {
    return watched[i]["rounds"][0]["figures"]["server_cpu_us_per_request"].get<double>();
  };
  CHECK(cpu(1) < cpu(0) / 2);
  const auto too_few = load({one, other, one, "--pid", busy_pid, "--pid", idle_pid});
  CHECK(too_few.code == 1);
  CHECK(too_few.err.find("--pid: one for all targets, or one for each of the 3") !=
        std::string::npos);
  std::ofstream(here.file("c.json")) << "{}";
  const auto foreign = load({one, "--baseline", here.file("c.json")});
  CHECK(foreign.code == 1);
  CHECK(foreign.err.find("is no result of weir-bench load") != std::string::npos);
}

TEST_CASE("the report page shows verdict, table and charts, and fits a wide and a narrow window") {
  if (::access("/usr/bin/chromium", X_OK) != 0) {
    std::puts("SKIPPED: there is no chromium here");
    return;
  }
  if (!own_network() || !usable(kernel_backend)) return;
  const folder here;
  process server({WEIR_HTTP_SERVER, "--backend", kernel_backend, "--http", "127.0.0.1:0"});
  const auto at = place_of(server.wait_line("listening http"));
  const auto got = load({url("http", at, "/plaintext"), url("http", at, "/json"), "--anyway",
                         "--page", here.file("a.html")});
  REQUIRE(measured(got));
  std::ofstream(here.file("b.html"))
      << read_file(here.file("a.html"))
      << "<script>document.title = 'too wide by ' + (document.documentElement.scrollWidth - "
         "innerWidth) + ', charts ' + document.querySelectorAll('.chart canvas').length + ', rows "
         "' + document.querySelectorAll('tbody tr').length;</script>";
  for (const auto* width : {"1280,900", "420,900"}) {
    CAPTURE(width);
    const auto shown =
        run({"/usr/bin/chromium", "--headless", "--no-sandbox", "--disable-gpu",
             "--user-data-dir=" + here.file("profile"), std::string("--window-size=") + width,
             "--dump-dom", "file://" + here.file("b.html")});
    const auto title = shown.out.substr(shown.out.find("<title>") + 7, 60);
    CAPTURE(title);
    CHECK(title.find("rows 2") != std::string::npos);
    const auto mark = title.find("too wide by ");
    REQUIRE(mark != std::string::npos);
    CHECK(std::atoi(title.c_str() + mark + 12) <= 0);
#ifdef WEIR_PAGE_HAS_CHARTS
    CHECK(title.find("charts 0") == std::string::npos);
#endif
    CHECK(shown.out.find("targets compared") + shown.out.find("do not stand") > 0);
  }
}

namespace {

std::string agent_command() { return std::string(WEIR_BENCH) + " agent"; }

}  // namespace

TEST_CASE("two agents load in this machine's place, and one looks at the server") {
  if (!own_network() || !usable(kernel_backend)) return;
  const folder here;
  process services({WEIR_SERVICES, "--backend", kernel_backend, "--echo", "127.0.0.1:0"});
  const auto at = place_of(services.wait_line("listening echo"));
  const auto json_file = here.file("agents.json");
  const auto seen = load({url("tcp", at), "-c", "5", "--rate", "400", "--agent", agent_command(),
                          "--agent", agent_command(), "--server-agent", agent_command(), "--pid",
                          std::to_string(services.pid()), "--anyway", "--json", json_file});
  CHECK_MESSAGE(measured(seen), seen.out, seen.err);
  CHECK(seen.out.find("2 agents loaded") != std::string::npos);
  const auto all = json::parse(read_file(json_file));
  const auto& round = all["targets"][0]["rounds"][0];
  CHECK(round["load"]["busy"].size() == 2);  // a shard of each
  CHECK(round["answers"].get<int>() > 0);
  CHECK(round["scheduled"].get<int>() > 40);
  CHECK(round["figures"]["server_cpu_us_per_request"].get<double>() > 0);
}

TEST_CASE("an agent that cannot load says why, and so does the program") {
  if (!usable(kernel_backend)) return;
  const auto said = [](std::vector<std::string> more) {
    const auto seen = load(std::move(more));
    CHECK(seen.code != 0);
    return seen.out + seen.err;
  };
  const std::string nobody = "tcp://127.0.0.1:1";
  CHECK(said({nobody, "--agent", "/nowhere/weir-bench agent"}).find("ended with status 127") !=
        std::string::npos);
  CHECK(said({nobody, "--agent", "echo welcome"}).find("agent `echo welcome`: it") !=
        std::string::npos);
  CHECK(said({nobody, "--agent", "echo '{\"says\":\"hello\",\"version\":99}'"})
            .find("it is of version 99") != std::string::npos);
  // One has nobody to connect to: the other is called off.
  const auto refused =
      said({nobody, "-c", "2", "--agent", agent_command(), "--agent", agent_command()});
  CHECK(refused.find("refused") != std::string::npos);
}

TEST_CASE("an agent answers what is no line of a leader's, and ends with its input") {
  const auto talk = [](const std::string& input) {
    return run({"/bin/sh", "-c", "printf '" + input + "' | " + agent_command()});
  };
  auto seen = talk("");
  CHECK(seen.code == 0);
  CHECK(seen.out.find("\"hello\"") != std::string::npos);
  seen = talk("{\"do\":\"dance\"}\\n{\"do\":\"measure\"}\\n{\"do\":\"clock\"}\\n");
  CHECK(seen.code == 0);
  CHECK(seen.out.find("`dance` is nothing that an agent does") != std::string::npos);
  CHECK(seen.out.find("\"clock\"") != std::string::npos);
}

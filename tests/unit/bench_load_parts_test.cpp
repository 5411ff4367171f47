// The parts of weir-bench load that do no I/O: URLs, requests as bytes, protocols cut at every
// place, judgements, histograms for others, searches, and the doctor on recorded trees.
#include <doctest/doctest.h>

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "bench/load/doctor.hpp"
#include "bench/load/judgement.hpp"
#include "bench/load/options.hpp"
#include "bench/load/protocol.hpp"
#include "bench/load/report.hpp"
#include "bench/load/search.hpp"
#include "bench/load/wire_form.hpp"

using namespace weir;

namespace {

load::plan plan_for(const char* url) {
  load::plan out;
  out.to = load::parse_target(url);
  out.requests.emplace_back();
  return out;
}

std::string said_of(const char* url) {
  try {
    load::parse_target(url);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

struct seen {
  unsigned answered = 0, refused = 0, broken = 0;
  std::string why;
};

/// Asks `asked` times and feeds `answer` in two pieces, cut at `cut`.
seen talk(const load::plan& of, unsigned asked, const std::string& answer, std::size_t cut,
          bool end = false) {
  const load::request_source requests(of);
  const auto speaks = load::make_protocol(of, requests, 0);
  std::string out;
  for (unsigned i = 0; i < asked; ++i) speaks->ask(out);
  seen got;
  const auto note = [&](const load::step& step) {
    if (step.what == load::step::kind::answered) ++got.answered;
    if (step.what == load::step::kind::refused) ++got.refused;
    if (step.what == load::step::kind::broken) ++got.broken;
    if (!step.why.empty()) got.why = step.why;
    return step.what == load::step::kind::more || step.what == load::step::kind::broken;
  };
  const auto all = std::as_bytes(std::span(answer));
  for (auto part : {all.first(cut), all.subspan(cut)})
    while (got.broken == 0)
      if (note(speaks->feed(part))) break;
  if (end && got.broken == 0) note(speaks->end());
  return got;
}

using recorded = std::map<std::string, std::string>;

class tree {
 public:
  explicit tree(const recorded& files) {
    root_ = std::filesystem::temp_directory_path() /
            ("weir-doctor-" + std::to_string(::getpid()) + "-" + std::to_string(++made));
    for (const auto& [path, text] : files) {
      std::filesystem::create_directories((root_ / path).parent_path());
      std::ofstream(root_ / path) << text << "\n";
    }
  }
  ~tree() { std::filesystem::remove_all(root_); }
  tree(const tree&) = delete;
  tree& operator=(const tree&) = delete;
  load::finding find(const std::string& subject) const {
    for (const auto& one : load::examine(load::machine(root_)))
      if (one.subject == subject) return one;
    return {};
  }

 private:
  static inline int made = 0;
  std::filesystem::path root_;
};

using level = load::finding::level;

}  // namespace

TEST_CASE("a URL says scheme, place and what is asked") {
  const auto http = load::parse_target("https://example.test/a?b=c#d");
  CHECK(http.kind == load::scheme::https);
  CHECK(http.port == 443);
  CHECK(http.path == "/a?b=c");
  CHECK(http.authority() == "example.test");
  const auto tcp = load::parse_target("tcp://[::1]:7/discard");
  CHECK(tcp.host == "::1");
  CHECK(tcp.what == load::service::discard);
  CHECK(load::place_of(tcp) == "[::1]:7");
  CHECK(load::parse_target("unix:@app").path == "@app");
  CHECK(load::parse_target("redis://h").port == 6379);
  CHECK(load::parse_target("dns://127.0.0.1/example.org").path == "example.org");
}

TEST_CASE("a URL that is none says why") {
  CHECK(said_of("127.0.0.1:7").find("begin with tcp://") != std::string::npos);
  CHECK(said_of("tcp://127.0.0.1").find("needs a port") != std::string::npos);
  CHECK(said_of("tcp://127.0.0.1:70000").find("no port") != std::string::npos);
  CHECK(said_of("tcp://127.0.0.1:7/echos").find("no service") != std::string::npos);
  CHECK(said_of("http://user@host/").find("user") != std::string::npos);
  CHECK(said_of("http://h/a b").find("blank") != std::string::npos);
  CHECK(said_of("dns://127.0.0.1").find("name to ask for") != std::string::npos);
}

TEST_CASE("places of a request are filled in without changing its length") {
  const load::rendering made("k{n}-{connection}-{random}{x}");
  std::string out;
  made.append_to(out, 42, 7, 0xabc);
  CHECK(out == "k0000000042-00007-0000000000000abc{x}");
  CHECK(out.size() == made.size());
}

TEST_CASE("requests of HTTP and redis as bytes") {
  auto plan = plan_for("http://h:8080/x");
  plan.requests[0].method = "POST";
  plan.requests[0].body = "{n}";
  std::string out;
  load::request_source(plan).at(0).bytes.append_to(out, 1, 0, 0);
  CHECK(out == "POST /x HTTP/1.1\r\nHost: h:8080\r\nContent-Length: 10\r\n\r\n0000000001");
  auto redis = plan_for("redis://h");
  redis.requests[0].command = "SET \"a b\" {n}";
  out.clear();
  load::request_source(redis).at(0).bytes.append_to(out, 5, 0, 0);
  CHECK(out == "*3\r\n$3\r\nSET\r\n$3\r\na b\r\n$10\r\n0000000005\r\n");
}

TEST_CASE("redis: answers are found wherever they are cut, errors are errors") {
  const std::string answer =
      "+OK\r\n$5\r\nhe\r\no\r\n*2\r\n:1\r\n*1\r\n$-1\r\n-ERR no such\r\n*0\r\n";
  for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
    const auto got = talk(plan_for("redis://h"), 5, answer, cut);
    CHECK(got.answered == 4);
    CHECK(got.refused == 1);
    CHECK(got.why == "redis: ERR");
  }
  CHECK(talk(plan_for("redis://h"), 1, "$5\r\nhel", 3, true).broken == 1);
  CHECK(talk(plan_for("redis://h"), 1, "HTTP\r\n", 3).broken == 1);
  CHECK(talk(plan_for("redis://h"), 1, "+OK\r\n+OK\r\n", 3).broken == 1);
}

TEST_CASE("HTTP: answers are found wherever they are cut, statuses from 400 on are errors") {
  const std::string answer =
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
      "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
  for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
    const auto got = talk(plan_for("http://h/"), 3, answer, cut);
    CHECK(got.answered == 2);
    CHECK(got.refused == 1);
    CHECK(got.why == "status 404");
  }
  const std::string cut_short = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi";
  CHECK(talk(plan_for("http://h/"), 1, cut_short, 5, true).broken == 1);
  CHECK(talk(plan_for("http://h/"), 1, "HTTP/1.1 200 OK\r\n\r\nhi", 5, true).answered == 1);
}

TEST_CASE("exchange: answers of a size, or up to a delimiter") {
  auto plan = plan_for("tcp://h:1/exchange");
  plan.requests[0].body = "ask";
  plan.answer_size = 4;
  CHECK(talk(plan, 2, "abcdefgh", 3).answered == 2);
  plan.answer_size = 0;
  plan.delimiter = "\r\n";
  const std::string answer = "a\r\n\r\r\n";
  for (std::size_t cut = 0; cut <= answer.size(); ++cut)
    CHECK(talk(plan, 2, answer, cut).answered == 2);
  CHECK(talk(plan, 1, "abc", 1, true).why == "the answer was cut short");
}

TEST_CASE("requests of a mix are chosen by weight") {
  auto plan = plan_for("http://h/");
  plan.requests.push_back(plan.requests[0]);
  plan.requests[0].weight = 3;
  const load::request_source requests(plan);
  std::uint64_t state = 1;
  unsigned first = 0;
  for (int i = 0; i < 10'000; ++i)
    if (requests.choose(load::next_random(state)) == 0) ++first;
  CHECK(first == doctest::Approx(7500).epsilon(0.03));
}

TEST_CASE("a histogram for HdrHistogram's readers is what their own encoder gives") {
  // One value of 1000 ns, twice: by the reference implementation.
  const auto payload = load::hdr_payload({{1000, 2}});
  CHECK(payload.starts_with("HISTFAAAA"));
  CHECK(load::hdr_payload({}).starts_with("HISTFAAAA"));
}

TEST_CASE("requests that stood in line are added where a closed loop waited") {
  bench::latency_histogram seen;
  for (int i = 0; i < 900; ++i) seen.record(1'000'000);
  seen.record(100'000'000);  // a hundred requests were not sent meanwhile
  const auto shown = load::corrected(seen, 1'000'000);
  CHECK(static_cast<double>(shown.count()) == doctest::Approx(1000).epsilon(0.002));
  CHECK(static_cast<double>(shown.at(0.95)) == doctest::Approx(50e6).epsilon(0.05));
}

TEST_CASE("equal programs are told apart once in a hundred comparisons at most") {
  // Rounds as a noisy machine gives them: a few percent, and now and then a bad one.
  std::uint64_t state = 11;
  const auto uniform = [&] {
    return (static_cast<double>(load::next_random(state) >> 11) + 1) * 0x1.0p-53;
  };
  const auto round = [&] {
    const double normal = std::sqrt(-2 * std::log(uniform())) * std::cos(6.2831853 * uniform());
    return 100'000 * (1 + 0.05 * normal) * (uniform() < 0.1 ? 0.6 : 1);
  };
  for (const std::size_t rounds : {6u, 7u, 9u, 15u, 30u}) {
    unsigned told = 0;
    for (int i = 0; i < 2000; ++i) {
      std::vector<double> a(rounds), b(rounds);
      for (auto& one : a) one = round();
      for (auto& one : b) one = round();
      const auto said = load::tell_apart(bench::summarize(a), bench::summarize(b));
      if (said != bench::verdict::too_close) ++told;
    }
    CHECK(told <= 20);
  }
  CHECK(load::tell_apart(bench::summarize({1, 2, 3, 4, 5}), bench::summarize({7, 8, 9, 10, 11})) ==
        bench::verdict::too_few_rounds);
}

TEST_CASE("the rounds that a difference takes do tell it") {
  std::uint64_t state = 5;
  const auto round = [&](double mean) {
    const double u = (static_cast<double>(load::next_random(state) >> 11) + 1) * 0x1.0p-53;
    const double v = (static_cast<double>(load::next_random(state) >> 11) + 1) * 0x1.0p-53;
    return mean * (1 + 0.01 * std::sqrt(-2 * std::log(u)) * std::cos(6.2831853 * v));
  };
  std::vector<double> pilot(6);
  for (auto& one : pilot) one = round(100);
  const auto rounds = load::rounds_needed(pilot, 0.02);
  CHECK(rounds >= 6);
  CHECK(rounds < 60);
  unsigned told = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<double> a(rounds), b(rounds);
    for (auto& one : a) one = round(100);
    for (auto& one : b) one = round(102);
    if (load::tell_apart(bench::summarize(a), bench::summarize(b)) == bench::verdict::higher)
      ++told;
  }
  CHECK(told >= 160);
}

TEST_CASE("the highest rate that holds is found, also where a run has a bad second") {
  unsigned runs = 0;
  const load::run_at run = [&](double rate) {
    load::probe out;
    out.rate = out.came = rate;
    out.p99_us = rate < 42'000 ? 500 : 5000;
    out.stands = ++runs % 5 != 0;  // now and then one is spoiled
    return out;
  };
  const auto holds = [](const load::probe& p) { return p.stands && p.p99_us < 1000; };
  const auto found = load::highest(run, holds, 1000, 200'000);
  CHECK(found.rate <= 42'000);
  CHECK(found.rate >= 42'000 * 0.95);
  CHECK(found.tried.size() == runs);
  CHECK(load::highest(run, [](const load::probe&) { return false; }, 1000, 2000).rate == 0);
}

TEST_CASE("doctor: a machine that is set up for measuring") {
  const tree quiet({{"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"},
                    {"sys/devices/system/cpu/cpu1/online", "1"},
                    {"sys/devices/system/cpu/intel_pstate/no_turbo", "1"},
                    {"sys/devices/system/cpu/smt/active", "0"},
                    {"sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "2"},
                    {"sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc"},
                    {"sys/devices/system/node/node0/cpulist", "0-1"},
                    {"proc/stat", "cpu  100 0 100 10000 0 0 0 0 0 0"},
                    {"proc/loadavg", "0.05 0.10 0.20 1/100 1"},
                    {"proc/interrupts", "   CPU0  CPU1\n 24: 500 480 PCI eth0\nNMI: 0 9 x"}});
  for (const auto* subject : {"cores", "governor", "turbo", "SMT", "C-states", "steal",
                              "other load", "clock", "NUMA", "interrupts"}) {
    CAPTURE(subject);
    CHECK(quiet.find(subject).how == level::good);
  }
}

TEST_CASE("doctor: what spoils is named, with what to do") {
  const tree bad({{"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave"},
                  {"sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1"},
                  {"sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1"},
                  {"sys/devices/system/cpu/cpufreq/boost", "1"},
                  {"sys/devices/system/cpu/smt/active", "1"},
                  {"sys/devices/system/cpu/cpu0/cpuidle/state3/latency", "133"},
                  {"sys/devices/system/cpu/cpu0/cpuidle/state3/name", "C6"},
                  {"sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"},
                  {"sys/devices/system/node/node0/cpulist", "0"},
                  {"sys/devices/system/node/node1/cpulist", "1"},
                  {"proc/stat", "cpu  100 0 100 1000 0 0 0 300 0 0"},
                  {"proc/loadavg", "7.50 3.00 1.00 9/100 1"},
                  {"proc/interrupts", "   CPU0  CPU1\n 24: 900 10 PCI eth0"}});
  for (const auto* subject : {"governor", "turbo", "SMT", "C-states", "steal", "other load",
                              "clock", "NUMA", "interrupts"}) {
    CAPTURE(subject);
    CHECK(bad.find(subject).how == level::spoils);
    CHECK(!bad.find(subject).change.empty());
  }
  CHECK(bad.find("C-states").what.find("C6 (133 us)") != std::string::npos);
  CHECK(bad.find("steal").what.find("20.0%") != std::string::npos);
}

TEST_CASE("doctor: what a machine does not tell is no finding") {
  const tree bare(recorded{{"proc/stat", "cpu  1 0 1 100 0 0 0 0 0 0"}});
  CHECK(bare.find("governor").how == level::unknown);
  CHECK(bare.find("clock").how == level::unknown);
  CHECK(bare.find("interrupts").how == level::unknown);
}

TEST_CASE("a plan and an outcome reach another machine whole") {
  load::plan of = plan_for("tcp://[::1]:7/exchange");
  of.to.what = load::service::echo;  // said apart from the URL
  of.requests[0].body = std::string("\0\xff\r\n", 4);
  of.requests[0].headers = {"A: b"};
  of.connections = 7;
  of.mode = load::loop::open;
  of.arrivals = load::arrival::bursts;
  of.rate = 12345.5;
  of.instants = {1, 2, 3};
  of.warmup = std::chrono::milliseconds(3);
  const auto read = load::plan_from(load::form_of(of));
  CHECK(load::form_of(read) == load::form_of(of));
  CHECK(read.to.host == "::1");
  CHECK(read.to.what == load::service::echo);
  CHECK(read.instants == of.instants);

  load::outcome seen;
  seen.answers = 3;
  seen.latency.record(1000);
  seen.latency.record(123'456'789, 2);
  seen.errors["reset"] = 4;
  seen.busy = {0.25, 0.5};
  seen.slices.push_back({1, 2, 3, 4, {{5, 6}}});
  seen.machine.steal = 0.1;
  const auto told = load::outcome_from(load::form_of(seen));
  CHECK(load::form_of(told) == load::form_of(seen));
  CHECK(told.latency.count() == 3);
  CHECK(std::abs(static_cast<double>(told.latency.max()) - 123'456'789.0) < 123'456.8);
}

TEST_CASE("what is no plan is refused") {
  auto form = load::form_of(plan_for("tcp://127.0.0.1:7"));
  auto none = form;
  none["connections"] = 0;
  CHECK_THROWS_AS(load::plan_from(none), std::invalid_argument);
  none = form;
  none["window_ns"] = -1;
  CHECK_THROWS_AS(load::plan_from(none), std::invalid_argument);
  none = form;
  none.erase("url");
  CHECK_THROWS(load::plan_from(none));
  none = form;
  none["depth"] = "much";
  CHECK_THROWS(load::plan_from(none));
}

TEST_CASE("the parts of a plan are the whole of it") {
  load::plan whole = plan_for("tcp://127.0.0.1:7");
  whole.connections = 10;
  whole.rate = 1000;
  whole.instants = {0, 10, 20, 30, 40};
  unsigned connections = 0;
  double rate = 0;
  std::size_t instants = 0;
  for (unsigned i = 0; i < 3; ++i) {
    const auto part = load::part_of(whole, i, 3);
    connections += part.connections;
    rate += part.rate;
    instants += part.instants.size();
    CHECK(part.rate == doctest::Approx(100.0 * part.connections));
    if (i > 0) CHECK(part.seed != whole.seed);
  }
  CHECK(connections == 10);
  CHECK(rate == doctest::Approx(1000));
  CHECK(instants == 5);
}

TEST_CASE("a control group's CPU and memory are read from its files") {
  const auto root =
      std::filesystem::temp_directory_path() / ("weir-cgroup-" + std::to_string(::getpid()));
  const auto group = root / "sys/fs/cgroup/a.slice/b";
  std::filesystem::create_directories(group);
  std::ofstream(group / "cpu.stat") << "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n";
  std::ofstream(group / "memory.current") << "4096\n";
  const load::machine here(root);
  const auto seen = here.figures({0, "a.slice/b"});
  CHECK(seen.known);
  CHECK(seen.cpu_s == doctest::Approx(2.5));
  CHECK(seen.resident_bytes == 4096);
  CHECK_FALSE(here.figures({0, "nobody"}).known);
  CHECK_FALSE(here.figures({}).known);
  std::filesystem::remove_all(root);
}

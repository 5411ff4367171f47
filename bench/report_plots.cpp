// SVG plots through gnuplot: latency by percentile for each cell on the usual logarithmic axis, and
// throughput and CPU per request over all cells. gnuplot reads its script and data from standard
// input; nothing but the SVG files is left behind.
#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <utility>

#include "report.hpp"

namespace weir::bench {
namespace {

/// Feeds `script` to gnuplot. False, with the reason, when that did not work.
bool run_gnuplot(const std::string& script, std::string& why_not) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return why_not = std::strerror(errno), false;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[0], 0);
    ::execlp("gnuplot", "gnuplot", "-", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(ends[0]);
  if (child < 0) {
    ::close(ends[1]);
    return why_not = std::strerror(errno), false;
  }
  std::size_t at = 0;
  while (at < script.size()) {
    const ssize_t n = ::write(ends[1], script.data() + at, script.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;  // it has ended; its status tells
    at += static_cast<std::size_t>(n);
  }
  ::close(ends[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  why_not = WIFEXITED(status) && WEXITSTATUS(status) == 127
                ? "gnuplot is not installed (package gnuplot-nox)"
                : "gnuplot failed";
  return false;
}

/// Text as gnuplot's double-quoted strings want it.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string opening(const std::string& file, const std::string& title) {
  return fmt::format(
      "set terminal svg size 900,480 dynamic background rgb 'white' font 'sans-serif,13'\nset "
      "output {}\nset title {} noenhanced\n"
      "set grid ytics lc rgb '#dddddd'\nset key outside right top noenhanced\nset border 3\nset "
      "tics nomirror\n",
      quoted(file), quoted(title));
}

std::string latency_plot(const cell_outcome& c, const std::string& file) {
  std::string script = opening(file, "Latency by percentile: " + title_of(c.what));
  script +=
      "set logscale x\nset logscale y\nset xrange [1:*]\nset ylabel 'microseconds'\n"
      "set xtics ('0' 1, '50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000, '99.999' "
      "100000)\nset xlabel 'percentile'\n";
  std::string plots;
  std::size_t number = 0;
  for (const auto& s : c.servers) {
    if (s.latency.count() == 0) continue;
    script += fmt::format("$data{} << END_OF_DATA\n", number);
    std::uint64_t seen = 0;
    double last_x = 0;
    s.latency.for_each([&](std::uint64_t value_ns, std::uint64_t count) {
      const double x =
          static_cast<double>(s.latency.count()) / static_cast<double>(s.latency.count() - seen);
      seen += count;
      if (x < last_x * 1.02) return;  // finer than the eye can see
      last_x = x;
      script += fmt::format("{} {}\n", x, static_cast<double>(value_ns) / 1e3);
    });
    script += "END_OF_DATA\n";
    plots += fmt::format("{}$data{} using 1:2 with lines lw 2 title {}",
                         plots.empty() ? "plot " : ", ", number, quoted(s.spec.label));
    ++number;
  }
  return plots.empty() ? "" : script + plots + "\nunset output\nreset\n";
}

std::string bar_plot(const run_outcome& run, metric m, const std::string& title,
                     const std::string& unit, double scale, const std::string& file,
                     bool bulk = false) {
  const auto wanted = [bulk](const cell_outcome& c) { return is_bulk(c.what.kind) == bulk; };
  std::vector<std::string> shown;  // servers with a figure in at least one cell
  for (const auto& c : run.cells)
    for (const auto& s : c.servers)
      if (wanted(c) && !s.rounds.empty() &&
          std::find(shown.begin(), shown.end(), s.spec.label) == shown.end())
        shown.push_back(s.spec.label);
  if (shown.empty()) return "";
  std::string script = opening(file, title);
  script += fmt::format(
      "set style data histogram\nset style histogram errorbars gap 1.5 lw 1\nset style fill solid "
      "0.8 border -1\n"
      "set yrange [0:*]\nset ylabel {}\nset xtics noenhanced\nset bars 0.6\n$data << END_OF_DATA\n",
      quoted(unit));
  for (const auto& c : run.cells) {
    if (!wanted(c)) continue;
    script += quoted(title_of(c.what).substr(0, title_of(c.what).find(", closed")));
    for (const auto& label : shown) {
      const auto s = std::find_if(c.servers.begin(), c.servers.end(),
                                  [&](const auto& one) { return one.spec.label == label; });
      const summary total = s == c.servers.end() ? summary{} : s->of(m);
      script += total.rounds == 0 ? " NaN NaN NaN"
                                  : fmt::format(" {} {} {}", total.median * scale,
                                                total.low * scale, total.high * scale);
    }
    script += "\n";
  }
  script += "END_OF_DATA\nplot ";
  for (std::size_t i = 0; i < shown.size(); ++i)
    script +=
        fmt::format("{}$data using {}:{}:{}{} title {}", i == 0 ? "" : ", ", 3 * i + 2, 3 * i + 3,
                    3 * i + 4, i == 0 ? ":xtic(1)" : "", quoted(std::as_const(shown[i])));
  return script + "\nunset output\nreset\n";
}

}  // namespace

std::vector<std::string> save_plots(const run_outcome& run, const std::string& directory,
                                    std::string& why_not) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return why_not = directory + ": " + error.message(), std::vector<std::string>{};
  std::vector<std::string> files;
  std::string script;
  const auto add = [&](const std::string& file, const std::string& plot) {
    if (plot.empty()) return;
    script += plot;
    files.push_back(file);
  };
  std::string file = directory + "/throughput.svg";
  add(file, bar_plot(run, metric::requests_per_s, "Throughput (median, range of the rounds)",
                     "1000 requests/s", 1e-3, file));
  file = directory + "/cpu.svg";
  add(file, bar_plot(run, metric::cpu_us, "Server CPU per request (median, range of the rounds)",
                     "microseconds", 1, file));
  file = directory + "/bulk.svg";
  add(file, bar_plot(run, metric::megabytes_per_s, "Bulk data (median, range of the rounds)",
                     "MB/s", 1, file, true));
  file = directory + "/bulk-cpu.svg";
  add(file,
      bar_plot(run, metric::cpu_s_per_gigabyte,
               "Server CPU per gigabyte (median, range of the rounds)", "seconds", 1, file, true));
  for (std::size_t i = 0; i < run.cells.size(); ++i) {
    file = fmt::format("{}/latency-{}.svg", directory, i + 1);
    add(file, latency_plot(run.cells[i], file));
  }
  if (files.empty()) return why_not = "there are no figures", files;
  ::signal(SIGPIPE, SIG_IGN);
  if (!run_gnuplot(script, why_not)) files.clear();
  return files;
}

}  // namespace weir::bench

// One HTML page that holds a run: what it was measured on, its tables and its plots. No script, no
// link, no network.
#include <fmt/core.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "report.hpp"

namespace weir::bench {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

std::string drawing(const std::string& path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  const std::string text = all.str();
  const auto from = text.find("<svg");
  return from == std::string::npos ? "" : text.substr(from);
}

}  // namespace

void save_page(const run_outcome& run, const std::vector<std::string>& plots,
               const std::string& path, const std::string& summary) {
  std::ofstream out(path);
  out << "<!doctype html>\n<html lang=\"en\"><head><meta "
         "charset=\"utf-8\"><title>weir-bench</title>\n"
         "<meta name=\"viewport\" content=\"width=device-width\">\n"
         "<style>body{font:16px/1.5 sans-serif;max-width:72rem;margin:2rem auto;padding:0 "
         "1rem;color:#222}"
         "pre{font-size:13px;overflow-x:auto;background:#f6f6f6;padding:1rem}svg{max-width:100%;"
         "height:auto}</style>"
         "</head><body>\n<h1>weir-bench</h1>\n";
  out << fmt::format(
      "<p>{}, {}, {} cores; server on core {}, load on core {}. {} rounds of {:.1f} s, the servers "
      "taking turns; "
      "medians, ± half the range.</p>\n",
      escaped(run.machine.kernel), escaped(run.machine.processor), run.machine.cores,
      run.machine.server_cpu, run.machine.load_cpu, run.settings.rounds,
      static_cast<double>(run.settings.duration_ns) / 1e9);
  if (!summary.empty()) out << "<pre>" << escaped(summary) << "</pre>\n";
  out << "<pre>" << escaped(render_tables(run, {})) << "</pre>\n";
  for (const auto& plot : plots) out << "<figure>" << drawing(plot) << "</figure>\n";
  out << "</body></html>\n";
  out.flush();
  if (!out) throw std::system_error(errno, std::system_category(), path);
}

void save_page_with_plots(const run_outcome& run, const std::string& path,
                          const std::string& summary, std::string& why_not) {
  std::string folder = (std::filesystem::temp_directory_path() / "weir-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr)
    throw std::system_error(errno, std::system_category(), folder);
  try {
    save_page(run, save_plots(run, folder, why_not), path, summary);
  } catch (...) {
    std::filesystem::remove_all(folder);
    throw;
  }
  std::filesystem::remove_all(folder);
}

}  // namespace weir::bench

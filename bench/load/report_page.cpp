// The report page: one file that needs no network. The page's text and its charts' library were
// taken in by the build; the data stands in it as JSON.
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <sstream>

#include "load/page_parts.hpp"
#include "load/report.hpp"

namespace weir::load {
namespace {

using json = nlohmann::ordered_json;

std::string within(const plan& of, const outcome& seen) {
  const double us = value_of(of, seen, figure::p99_us);
  return us >= 1e3 ? fmt::format("{:.2f} ms", us / 1e3) : fmt::format("{:.0f} us", us);
}

std::string headline(const std::vector<series>& all) {
  for (const auto& one : all)
    for (const auto& judged : one.judged)
      if (!judged.good()) return "The figures do not stand: " + judged.spoiled.front().what;
  if (all.size() == 1)
    return fmt::format("{} answered {:.0f} requests a second, 99 of 100 within {}",
                       all[0].of.to.text, summary_of(all[0], figure::rate).median,
                       within(all[0].of, all[0].rounds.back()));
  if (all[0].rounds.size() < rounds_to_compare)
    return fmt::format("{} targets compared: too few rounds to tell a difference (--rounds {})",
                       all.size(), rounds_to_compare);
  bool told = false;
  for (const auto& row : figure_rows)
    for (std::size_t i = 1; i < all.size() && row.which != figure::own_cpu_us; ++i) {
      const auto said = tell_apart(summary_of(all[0], row.which), summary_of(all[i], row.which));
      told = told || said == bench::verdict::lower || said == bench::verdict::higher;
    }
  return told ? fmt::format("{} targets compared: differences were told apart", all.size())
              : fmt::format("{} targets compared: no difference that stands out of the rounds",
                            all.size());
}

template <class Pieces>
std::string joined(const Pieces& pieces) {
  std::string out;
  for (const auto piece : pieces) out += piece;
  return out;
}

/// Within a script element nothing may look like its end.
std::string for_script(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i)
    out += text[i] == '<' ? std::string("\\u003c") : std::string(1, text[i]);
  return out;
}

void put(std::string& page, std::string_view place, const std::string& what) {
  const auto at = page.find(place);
  if (at != std::string::npos) page.replace(at, place.size(), what);
}

}  // namespace

std::string page_of(const std::vector<series>& all, const run_settings& how, report_style style,
                    const std::vector<probe>& curve, const std::vector<std::string>& doctor) {
  json data = json::parse(json_of(all, how, style));
  data["headline"] = headline(all);
  json& verdict = data["verdict"] = json::array();
  std::istringstream lines(verdict_of(all));
  for (std::string line; std::getline(lines, line);) verdict.push_back(line);
  std::string about;
  for (const auto& one : all) about += describe(one.of) + ". ";
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  data["about"] =
      about + fmt::format("Load: {} on {} shard(s). {:04}-{:02}-{:02} {:02}:{:02} UTC.",
                          how.config.backend, how.config.shard_count(), utc.tm_year + 1900,
                          utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min);
  json& steps = data["curve"] = json::array();
  for (const auto& one : curve)
    steps.push_back({{"came", one.came},
                     {"p50_us", one.p50_us},
                     {"p99_us", one.p99_us},
                     {"stands", one.stands}});
  data["doctor"] = doctor;
  std::string page = joined(page_html);
  // The data last: it is a stranger's, and may hold what looks like a place.
  put(page, "/*CHART_CSS*/", joined(dygraph_css));
  put(page, "/*CHART_JS*/", joined(dygraph_js));
  put(page, "/*DATA*/", for_script(data.dump(-1, ' ', false, json::error_handler_t::replace)));
  return page;
}

}  // namespace weir::load

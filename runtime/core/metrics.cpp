// Looking series up, and what their names may be.
#include "weir/metrics.hpp"

#include <stdexcept>

namespace weir {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

bool is_name(std::string_view text) {
  if (text.empty() || !is_letter(text[0])) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

[[noreturn]] void refuse(std::string_view name, const char* why) {
  throw std::invalid_argument("metric '" + std::string(name) + "': " + why);
}

void check(std::string_view name, metric_labels labels) {
  if (!is_name(name)) refuse(name, "a name is letters, digits and _");
  if (name.starts_with("weir_")) refuse(name, "names that begin with weir_ are weir's own");
  for (const auto& [label, value] : labels)
    if (!is_name(label) || label.starts_with("__") || label == "le")
      refuse(name, "a label's name is letters, digits and _, and not le");
}

}  // namespace

metrics::series* metrics::find(std::string_view name, std::string_view help, kind what,
                               metric_labels labels) {
  check(name, labels);
  std::vector<std::pair<std::string, std::string>> sorted(labels.begin(), labels.end());
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i].first == sorted[i - 1].first) refuse(name, "a label is given twice");
  for (auto& one : all_) {
    if (one.name != name) continue;
    if (one.what != what) refuse(name, "it is of another kind");
    if (one.labels == sorted) return &one;
  }
  if (all_.size() == most_series) {
    ++refused_;
    return nullptr;
  }
  return &all_.emplace_back(series{std::string(name), std::string(help), what, std::move(sorted)});
}

metric_counter& metrics::counter(std::string_view name, std::string_view help,
                                 metric_labels labels) {
  constexpr std::string_view suffix = "_total";
  if (name.ends_with(suffix)) name.remove_suffix(suffix.size());
  auto* at = find(name, help, kind::counter, labels);
  if (at == nullptr) return counters_.front();
  if (at->index == 0) {
    at->index = counters_.size();
    counters_.emplace_back();
  }
  return counters_[at->index];
}

metric_gauge& metrics::gauge(std::string_view name, std::string_view help, metric_labels labels) {
  auto* at = find(name, help, kind::gauge, labels);
  if (at == nullptr) return gauges_.front();
  if (at->index == 0) {
    at->index = gauges_.size();
    gauges_.emplace_back();
  }
  return gauges_[at->index];
}

metric_histogram& metrics::histogram(std::string_view name, std::string_view help,
                                     std::initializer_list<double> bounds, metric_labels labels) {
  if (bounds.size() > most_bounds || !std::is_sorted(bounds.begin(), bounds.end()) ||
      std::adjacent_find(bounds.begin(), bounds.end()) != bounds.end())
    refuse(name, "a histogram's bounds grow, and are 64 at most");
  const std::vector<double> wanted(bounds);
  for (const auto& one : all_)
    if (one.name == name && one.what == kind::histogram && one.index != 0 &&
        histograms_[one.index].bounds() != wanted)
      refuse(name, "it has other bounds");
  if (histograms_.empty()) histograms_.emplace_back(std::vector<double>());
  auto* at = find(name, help, kind::histogram, labels);
  if (at == nullptr) return histograms_.front();
  if (at->index == 0) {
    at->index = histograms_.size();
    histograms_.emplace_back(wanted);
  }
  return histograms_[at->index];
}

}  // namespace weir

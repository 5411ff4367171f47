// A program's own counters, gauges and histograms, shown on /metrics beside weir's. Each shard has
// its own, so that counting is one addition without a lock; they are summed when they are read.
//
//   auto& mine = shard.local<weir::metrics>();
//   auto& orders = mine.counter("shop_orders", "orders taken", {{"kind", "book"}});
//   auto& took = mine.histogram("shop_order_seconds", "time to take an order", {0.01, 0.1, 1});
//   orders.add();
//   took.observe(0.3);
//
// Look a series up once, before the work, not for each event. References hold as long as the shard.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {

class shard;

/// Only grows.
class metric_counter {
 public:
  void add(std::uint64_t n = 1) { value_ += n; }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0;
};

/// Goes up and down. Shown as the sum over all shards.
class metric_gauge {
 public:
  void set(double value) { value_ = value; }
  void add(double n) { value_ += n; }
  double value() const { return value_; }

 private:
  double value_ = 0;
};

/// How often values were at most how large.
class metric_histogram {
 public:
  explicit metric_histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

  void observe(double value) {
    const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
    ++counts_[static_cast<std::size_t>(at - bounds_.begin())];
    sum_ += value;
  }
  const std::vector<double>& bounds() const { return bounds_; }
  /// One more than there are bounds: values beyond the last.
  const std::vector<std::uint64_t>& counts() const { return counts_; }
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
};

using metric_labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class metrics {
 public:
  /// Series of one shard. One more is counted in refused(), and what it counts is not shown: labels
  /// that strangers choose must not fill the memory.
  static constexpr std::size_t most_series = 1000;
  static constexpr std::size_t most_bounds = 64;  ///< of a histogram

  explicit metrics(shard&) {}
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;

  /// The series of this name with these labels, made by the first call. A name is
  /// [a-zA-Z_][a-zA-Z0-9_]* and does not begin with weir_; a counter's is shown with _total behind
  /// it. Throws std::invalid_argument: another name or label, a name that is of another kind.
  metric_counter& counter(std::string_view name, std::string_view help, metric_labels labels = {});
  metric_gauge& gauge(std::string_view name, std::string_view help, metric_labels labels = {});
  /// `bounds` grow; all series of a name have the same.
  metric_histogram& histogram(std::string_view name, std::string_view help,
                              std::initializer_list<double> bounds, metric_labels labels = {});
  std::uint64_t refused() const { return refused_; }

  // --- For who shows them.

  enum class kind : std::uint8_t { counter, gauge, histogram };
  struct series {
    std::string name, help;
    kind what = kind::counter;
    std::vector<std::pair<std::string, std::string>> labels;  ///< in order of their names
    std::size_t index = 0;
  };
  const std::vector<series>& all() const { return all_; }
  const metric_counter& counter_of(const series& s) const { return counters_[s.index]; }
  const metric_gauge& gauge_of(const series& s) const { return gauges_[s.index]; }
  const metric_histogram& histogram_of(const series& s) const { return histograms_[s.index]; }

 private:
  /// Null: there is no room.
  series* find(std::string_view name, std::string_view help, kind what, metric_labels labels);

  std::vector<series> all_;
  // The first of each takes what is refused.
  std::deque<metric_counter> counters_{1};
  std::deque<metric_gauge> gauges_{1};
  std::deque<metric_histogram> histograms_;
  std::uint64_t refused_ = 0;
};

}  // namespace weir

// Sums over the parts that count something, those that are gone included.
#include "weir/detail/shown_counts.hpp"

#include <algorithm>
#include <utility>

namespace weir::detail {
namespace {

void add_to(shown_counts::numbers& sums, const shown_counts::numbers& more) {
  for (const auto& one : more) {
    const auto same = std::find_if(sums.begin(), sums.end(), [&](const auto& other) {
      return other.name == one.name && other.group == one.group;
    });
    if (same == sums.end())
      sums.push_back(one);
    else
      same->value += one.value;
  }
}

}  // namespace

void shown_counts::add(std::shared_ptr<const void> of, teller tell) {
  // A program that makes a context for each connection must not fill the memory.
  if (sources_.size() >= fold_at_) {
    fold_those_gone();
    fold_at_ = std::max<std::size_t>(64, 2 * sources_.size());
  }
  sources_.push_back({std::move(of), tell});
}

void shown_counts::fold_those_gone() {
  std::erase_if(sources_, [this](const source& one) {
    if (one.of.use_count() > 1) return false;
    numbers last;
    one.tell(one.of.get(), last);
    for (auto& one_last : last)
      if (one_last.level) one_last.value = 0;
    add_to(gone_, last);
    return true;
  });
}

shown_counts::numbers shown_counts::read() {
  fold_those_gone();
  auto out = gone_;
  for (const auto& one : sources_) {
    numbers now;
    one.tell(one.of.get(), now);
    add_to(out, now);
  }
  return out;
}

}  // namespace weir::detail

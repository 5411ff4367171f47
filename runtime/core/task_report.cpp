// Counting and listing; what it says in words is in task_words.cpp.
#include "runtime/core/task_report.hpp"

#include <algorithm>

#include "weir/detail/datagram.hpp"
#include "weir/detail/home.hpp"

namespace weir::detail {
namespace {

constexpr duration piece = std::chrono::microseconds(300);
constexpr unsigned looks_a_piece = 2048;  // where a clock stands still
constexpr unsigned looks_between = 16;    // readings of the clock
constexpr std::size_t most_ready = 4096;

bool waits_longer(const task_told& a, const task_told& b) { return a.since < b.since; }

}  // namespace

task_reporter::task_reporter(shard& of, const task_bounds& bounds)
    : task_reporter(of, of.root_cancel(), bounds) {
  look_at_ready();
}

task_reporter::task_reporter(shard& of, cancel_state& top, const task_bounds& bounds)
    : of_(of), bounds_(bounds), cursor_(top) {
  out_.shard = of.index();
  out_.taken = of.now();
}

bool task_reporter::go_on() {
  const auto begun = clock_of(of_);
  bool more = true;
  for (unsigned looks = 0; more && looks < looks_a_piece; ++looks) {
    more = cursor_.step([this](const wait_told& wait) { see(wait, false); });
    if (looks % looks_between == 0 && clock_of(of_) - begun >= piece) break;
  }
  out_.longest_pause = std::max(out_.longest_pause, clock_of(of_) - begun);
  ++out_.pieces;
  return !more;
}

void task_reporter::look_at_ready() {
  std::size_t looked = 0;
  for (const auto* node = of_.ready().first(); node != nullptr && looked < most_ready;
       node = node->next, ++looked) {
    wait_told wait;
    wait.operation = "a turn of its shard";
    wait.waiter = node->handle;
    see(wait, true);
  }
}

void task_reporter::see(const wait_told& wait, bool ready) {
  ++out_.all;
  out_.ready += ready;
  const auto since = ready ? out_.taken : waits_since(wait.waiter);
  if (out_.taken - since < bounds_.at_least) return;
  ++out_.waited;
  const bool listed = out_.listed.size() < bounds_.listed ||
                      (!out_.listed.empty() && since < out_.listed.front().since);
  task_told told;
  told.ready = ready;
  told.wait = wait;
  told.since = since;
  told.chain = chain_of(wait.waiter);
  count(wait, told);
  if (listed) list(std::move(told));
}

namespace {
void look_up_ends(task_told& told) {
  const auto& wait = told.wait;
  told.remote = wait.remote;
  if (wait.stream != nullptr && wait.stream->at != nullptr) {
    told.remote = wait.stream->at->remote_endpoint(*wait.stream);
    told.local = wait.stream->at->local_endpoint(*wait.stream);
  }
  if (wait.listener != nullptr) told.local = wait.listener->local;
  if (wait.datagrams != nullptr) {
    told.local = wait.datagrams->local;
    told.remote = wait.datagrams->remote;
  }
}
}  // namespace

void task_reporter::count(const wait_told& wait, task_told& told) {
  key of{};
  of[0] = wait.operation.data();
  for (std::size_t i = 0; i < told.chain.frames.size() && i + 1 < of.size(); ++i)
    of[i + 1] = told.chain.frames[i].where;
  auto found = groups_.find(of);
  if (found == groups_.end()) {
    if (groups_.size() >= bounds_.groups) {
      ++out_.apart;
      return;
    }
    found = groups_.emplace(of, out_.groups.size()).first;
    out_.groups.emplace_back();
  }
  auto& group = out_.groups[found->second];
  if (++group.count > 1 && !waits_longer(told, group.sample)) return;
  group.sample = told;
  look_up_ends(group.sample);
}

/// The first of the list is the one that has waited for the shortest time.
void task_reporter::list(task_told&& told) {
  look_up_ends(told);
  if (bounds_.listed == 0) return;
  if (out_.listed.size() == bounds_.listed) {
    std::pop_heap(out_.listed.begin(), out_.listed.end(), waits_longer);
    out_.listed.pop_back();
  }
  out_.listed.push_back(std::move(told));
  std::push_heap(out_.listed.begin(), out_.listed.end(), waits_longer);
}

task_report task_reporter::take() {
  std::sort(out_.listed.begin(), out_.listed.end(), waits_longer);
  std::sort(out_.groups.begin(), out_.groups.end(),
            [](const task_group& a, const task_group& b) { return a.count > b.count; });
  return std::move(out_);
}

}  // namespace weir::detail

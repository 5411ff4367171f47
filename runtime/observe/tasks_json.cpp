// See tasks_json.hpp. Frames are numbered as they are met: an address is nobody's business.
#include "runtime/observe/tasks_json.hpp"

#include <map>

#include <nlohmann/json.hpp>

#include "runtime/core/log.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
namespace {

using json = nlohmann::ordered_json;

class writer {
 public:
  json task(const task_told& from, const task_report& of) {
    json out = {{"shard", of.shard}, {"state", from.ready ? "ready" : "waiting"}};
    add_wait(out, from, of);
    json chain = json::array();
    for (const auto& frame : from.chain.frames) {
      auto one = place_of(frame.where);
      one["frame"] = number_of(frame.frame);
      chain.push_back(std::move(one));
    }
    out["chain"] = std::move(chain);
    out["belongs"] = belonging(from.chain.belongs);
    return out;
  }
  json group(const task_group& from, const task_report& of) {
    json out = {{"shard", of.shard}, {"count", from.count}};
    add_wait(out, from.sample, of);
    out["belongs"] = belonging(from.sample.chain.belongs);
    return out;
  }
  static json place_of(source_at at) {
    const auto words = in_words(at);
    return {{"function", printable(words.function)},
            {"place", short_place(at)},
            {"file", printable(words.file)},
            {"line", words.line}};
  }

 private:
  static void add_wait(json& out, const task_told& from, const task_report& of) {
    const auto& wait = from.wait;
    out["operation"] = wait.operation;
    out["waits_for"] = what_it_waits_for(from);
    if (from.local.port != 0) out["local"] = from.local.to_string();
    if (from.remote.port != 0) out["remote"] = from.remote.to_string();
    if (wait.have >= 0) out["have"] = wait.have;
    if (wait.bound >= 0) out["bound"] = wait.bound;
    if (wait.holder != nullptr) out["holder"] = short_place(wait.holder);
    if (wait.asked) out["asked_to_end"] = true;
    out["waited_us"] = (of.taken - from.since).count() / 1000;
    if (wait.deadline.ns() != 0) out["ends_in_us"] = (wait.deadline - of.taken).count() / 1000;
    out.update(place_of(authors_place(from.chain)));
  }
  json belonging(const belonging_told& from) {
    using kind = belonging_told::kind;
    switch (from.of) {
      case kind::root: return {{"to", "shard"}};
      case kind::remote:
        return {{"to", "shard"}, {"origin", from.origin == nullptr ? 0 : from.origin->index()}};
      case kind::scope: {
        json out = {{"to", "scope"},
                    {"scope", number_of(from.scope)},
                    {"place", short_place(from.made)},
                    {"tasks", from.size},
                    {"failures", from.failures},
                    {"refused", from.refused}};
        if (!from.name.empty()) out["name"] = printable(from.name);
        if (from.orphaned) out["orphaned"] = true;
        return out;
      }
      case kind::join:
      case kind::other: break;
    }
    return {{"to", "other"}};
  }
  std::size_t number_of(const void* frame) {
    return numbers_.emplace(frame, numbers_.size() + 1).first->second;
  }

  std::map<const void*, std::size_t> numbers_;
};

json silent(shard& of) {
  json out = {{"shard", of.index()}};
  const auto at = of.pulse().resumed.load(std::memory_order_relaxed);
  if (at != nullptr) out["resumed"] = writer::place_of(at);
  return out;
}

}  // namespace

std::string to_tasks_json(const process_tasks& from, const process_facts& facts,
                          std::size_t listed) {
  writer to;
  json out = {{"program", printable(facts.program)},
              {"pid", facts.pid},
              {"version", facts.version},
              {"places_known", WEIR_WITH_TASKS != 0}};
  json shards = json::array(), silents = json::array(), groups = json::array(),
       tasks = json::array();
  std::uint64_t left_out = 0;
  for (const auto& one : from.shards) {
    shards.push_back({{"shard", one.shard},
                      {"tasks", one.all},
                      {"waited", one.waited},
                      {"ready", one.ready},
                      {"apart", one.apart},
                      {"pieces", one.pieces},
                      {"longest_pause_us", one.longest_pause.count() / 1000}});
    for (const auto& group : one.groups) groups.push_back(to.group(group, one));
    left_out += one.waited - std::min<std::uint64_t>(one.waited, one.listed.size());
    for (const auto& task : one.listed) tasks.push_back(to.task(task, one));
  }
  for (auto* one : from.silent) silents.push_back(silent(*one));
  out["shards"] = std::move(shards);
  out["silent_shards"] = std::move(silents);
  out["groups"] = std::move(groups);
  if (listed != 0) out["tasks"] = std::move(tasks);
  out["tasks_left_out"] = left_out;
  return out.dump(1) + "\n";
}

}  // namespace weir::detail

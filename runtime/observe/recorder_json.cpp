// Events as Chrome's trace format has them: "i" is an instant, "X" what lasted, "M" a name; times
// are microseconds. A shard is a thread of the trace. Sockets are numbered as they are met: an
// address is nobody's business.
#include "runtime/observe/recorder_json.hpp"

#include <cstdint>
#include <map>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/core/flight_words.hpp"
#include "runtime/core/log.hpp"
#include "weir/shard.hpp"

namespace weir::detail {
namespace {

using json = nlohmann::ordered_json;
using kind = flight_event::kind;

json name_of(const char* what, std::int64_t pid, unsigned tid, const std::string& name) {
  return {{"name", what}, {"ph", "M"},  {"ts", 0},
          {"pid", pid},   {"tid", tid}, {"args", {{"name", printable(name)}}}};
}

class writer {
 public:
  json event(const flight_event& from, std::int64_t pid, unsigned tid) {
    constexpr double ns_per_us = 1000;
    json out = {{"name", words_of(from.what)},
                {"cat", "weir"},
                {"ph", from.lasted_us == 0 ? "i" : "X"},
                {"ts", static_cast<double>(from.at.ns()) / ns_per_us},
                {"pid", pid},
                {"tid", tid}};
    if (from.lasted_us == 0)
      out["s"] = "t";  // of its thread
    else
      out["dur"] = from.lasted_us;
    if (from.what == kind::counted) out["name"] = static_cast<const char*>(from.about);
    out["args"] = arguments(from);
    return out;
  }

 private:
  json arguments(const flight_event& from) {
    json out = json::object();
    if (from.peer.port != 0) out["peer"] = from.peer.to_string();
    if (from.port != 0) out["port"] = from.port;
    if (from.about != nullptr) switch (about_of(from.what)) {
        case flight_about::socket:
          out["socket"] = numbers_.emplace(from.about, numbers_.size() + 1).first->second;
          break;
        case flight_about::place: {
          const auto at = static_cast<source_at>(from.about);
          out["function"] = printable(in_words(at).function);
          out["place"] = printable(short_place(at));
          break;
        }
        case flight_about::counter:
        case flight_about::nothing: break;
      }
    if (from.what == kind::sent_again)
      out["bytes"] = from.count;
    else if (from.what == kind::drain_begun || from.what == kind::drain_ended_early)
      out["tasks"] = from.count;
    else if (from.count != 1)
      out["times"] = from.count;
    if (from.error != 0) out["error"] = words_of_error(from);
    return out;
  }

  std::map<const void*, std::size_t> numbers_;
};

}  // namespace

std::string to_trace_json(std::span<shard* const> shards, const process_facts& facts,
                          std::size_t most) {
  json all = json::array(), of_shards = json::array();
  all.push_back(name_of("process_name", facts.pid, 0, facts.program));
  for (unsigned tid = 0; tid < shards.size(); ++tid) {
    const auto& recorder = shards[tid]->recorder();
    if (!recorder) continue;
    const std::string name = "shard " + std::to_string(shards[tid]->index());
    all.push_back(name_of("thread_name", facts.pid, tid, name));
    std::vector<flight_event> events(std::min(most, recorder->size()));
    events.resize(recorder->last(events));
    writer to;
    for (const auto& one : events) all.push_back(to.event(one, facts.pid, tid));
    of_shards.push_back({{"shard", shards[tid]->index()},
                         {"tid", tid},
                         {"kept", recorder->size()},
                         {"shown", events.size()},
                         {"recorded", recorder->written()}});
  }
  json out = {{"displayTimeUnit", "ms"},
              {"otherData",
               {{"program", printable(facts.program)},
                {"version", facts.version},
                {"clock", "CLOCK_MONOTONIC"},
                {"shards", std::move(of_shards)}}},
              {"traceEvents", std::move(all)}};
  return out.dump(1) + "\n";
}

}  // namespace weir::detail

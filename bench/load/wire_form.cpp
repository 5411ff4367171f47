// Plans and outcomes as JSON, and back.
#include "load/wire_form.hpp"

#include <stdexcept>

namespace weir::load {
namespace {

using json = nlohmann::json;

// Each field is named once: what `each` does with it, writing or reading, is the caller's.

struct writer {
  json out;
  template <class T>
  void operator()(const char* name, const T& value) {
    out[name] = value;
  }
};

struct reader {
  const json& from;
  template <class T>
  void operator()(const char* name, T& value) {
    from.at(name).get_to(value);
  }
};

template <class Each, class Request>
void fields_of_request(Each& each, Request& of) {
  each("weight", of.weight);
  each("method", of.method);
  each("path", of.path);
  each("headers", of.headers);
  each("body", of.body);
  each("command", of.command);
}

template <class Each, class Plan>
void fields_of_plan(Each& each, Plan& of) {
  each("connections", of.connections);
  each("depth", of.depth);
  each("size", of.size);
  each("answer_size", of.answer_size);
  each("delimiter", of.delimiter);
  each("record_type", of.record_type);
  each("service", of.to.what);
  each("mode", of.mode);
  each("arrivals", of.arrivals);
  each("rate", of.rate);
  each("burst", of.burst);
  each("instants", of.instants);
  each("requests_per_connection", of.requests_per_connection);
  each("seed", of.seed);
  each("spins", of.spins);
  each("verify", of.verify);
  each("authorities", of.authorities);
}

template <class Each, class Slice>
void fields_of_slice(Each& each, Slice& of) {
  each("begin_s", of.begin_s);
  each("seconds", of.seconds);
  each("answers", of.answers);
  each("errors", of.errors);
  each("latencies", of.latencies);
}

template <class Each, class Outcome>
void fields_of_outcome(Each& each, Outcome& of) {
  each("seconds", of.seconds);
  each("scheduled", of.scheduled);
  each("answers", of.answers);
  each("sent_bytes", of.sent_bytes);
  each("received_bytes", of.received_bytes);
  each("errors", of.errors);
  each("unfinished", of.unfinished);
  each("connects", of.connects);
  each("longest_silence_ns", of.longest_silence_ns);
  each("silences_ns", of.silences_ns);
  each("always_behind", of.always_behind);
  each("busy", of.busy);
  each("cpu_s", of.cpu_s);
  each("warmup_s", of.warmup_s);
  each("steady", of.steady);
  each("failure", of.failure);
  each("steal", of.machine.steal);
  each("others", of.machine.others);
  each("throttles", of.machine.throttles);
  each("clock_steps", of.machine.clock_steps);
  each("largest_step_ns", of.machine.largest_step_ns);
}

void read_counts(const json& from, bench::latency_histogram& into) {
  for (const auto& one : from)
    into.record(one.at(0).get<std::uint64_t>(), one.at(1).get<std::uint64_t>());
}

duration ns_of(const json& from, const char* name) {
  return duration(from.at(name).get<std::int64_t>());
}

void check(const plan& read) {
  const bool whole = !read.requests.empty() && read.connections > 0 && read.depth > 0 &&
                     read.window > duration() && read.slice > duration() && read.burst > 0;
  if (!whole) throw std::invalid_argument("a plan without requests, connections or a window");
}

}  // namespace

json counts_of(const bench::latency_histogram& of) {
  json out = json::array();
  of.for_each([&](std::uint64_t value, std::uint64_t count) { out.push_back({value, count}); });
  return out;
}

json form_of(const plan& of) {
  writer plain;
  fields_of_plan(plain, of);
  auto& out = plain.out;
  out["url"] = of.to.text;
  for (const auto& one : of.requests) {
    writer request;
    fields_of_request(request, one);
    request.out["think_ns"] = one.think.count();
    out["requests"].push_back(std::move(request.out));
  }
  out["window_ns"] = of.window.count();
  out["warmup_ns"] = of.warmup ? json(of.warmup->count()) : json();
  out["slice_ns"] = of.slice.count();
  out["timeout_ns"] = of.timeout.count();
  out["connect_timeout_ns"] = of.connect_timeout.count();
  return std::move(plain.out);
}

plan plan_from(const json& form) {
  plan out;
  out.to = parse_target(form.at("url").get<std::string>());
  reader plain{form};
  fields_of_plan(plain, out);
  for (const auto& one : form.at("requests")) {
    reader request{one};
    fields_of_request(request, out.requests.emplace_back());
    out.requests.back().think = ns_of(one, "think_ns");
  }
  out.window = ns_of(form, "window_ns");
  if (!form.at("warmup_ns").is_null()) out.warmup = ns_of(form, "warmup_ns");
  out.slice = ns_of(form, "slice_ns");
  out.timeout = ns_of(form, "timeout_ns");
  out.connect_timeout = ns_of(form, "connect_timeout_ns");
  check(out);
  return out;
}

json form_of(const outcome& of) {
  writer plain;
  fields_of_outcome(plain, of);
  auto& out = plain.out;
  out["latency"] = counts_of(of.latency);
  out["service"] = counts_of(of.service);
  out["lateness"] = counts_of(of.lateness);
  out["slices"] = json::array();
  for (const auto& one : of.slices) {
    writer part;
    fields_of_slice(part, one);
    out["slices"].push_back(std::move(part.out));
  }
  return std::move(plain.out);
}

outcome outcome_from(const json& form) {
  outcome out;
  reader plain{form};
  fields_of_outcome(plain, out);
  read_counts(form.at("latency"), out.latency);
  read_counts(form.at("service"), out.service);
  read_counts(form.at("lateness"), out.lateness);
  for (const auto& one : form.at("slices")) {
    reader part{one};
    fields_of_slice(part, out.slices.emplace_back());
  }
  return out;
}

plan part_of(const plan& whole, unsigned index, unsigned parts) {
  plan out = whole;
  out.connections = whole.connections / parts + (index < whole.connections % parts ? 1 : 0);
  const double share =
      whole.connections == 0 ? 0 : static_cast<double>(out.connections) / whole.connections;
  out.rate = whole.rate * share;
  out.seed = whole.seed + index * 0x9e3779b97f4a7c15u;
  out.instants.clear();
  for (std::size_t i = index; i < whole.instants.size(); i += parts)
    out.instants.push_back(whole.instants[i]);
  return out;
}

}  // namespace weir::load

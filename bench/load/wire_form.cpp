// Plans and outcomes as JSON, and back.
#include "load/wire_form.hpp"

#include <stdexcept>

namespace weir::load {
namespace {

using json = nlohmann::json;

void read_counts(const json& from, bench::latency_histogram& into) {
  for (const auto& one : from)
    into.record(one.at(0).get<std::uint64_t>(), one.at(1).get<std::uint64_t>());
}

json form_of(const request& of) {
  return {{"weight", of.weight},  {"think_ns", of.think.count()}, {"method", of.method},
          {"path", of.path},      {"headers", of.headers},        {"body", of.body},
          {"command", of.command}};
}

request request_from(const json& from) {
  request out;
  from.at("weight").get_to(out.weight);
  out.think = duration(from.at("think_ns").get<std::int64_t>());
  from.at("method").get_to(out.method);
  from.at("path").get_to(out.path);
  from.at("headers").get_to(out.headers);
  from.at("body").get_to(out.body);
  from.at("command").get_to(out.command);
  return out;
}

json form_of(const slice& of) {
  return {{"begin_s", of.begin_s},
          {"seconds", of.seconds},
          {"answers", of.answers},
          {"errors", of.errors},
          {"latencies", of.latencies}};
}

slice slice_from(const json& from) {
  slice out;
  from.at("begin_s").get_to(out.begin_s);
  from.at("seconds").get_to(out.seconds);
  from.at("answers").get_to(out.answers);
  from.at("errors").get_to(out.errors);
  from.at("latencies").get_to(out.latencies);
  return out;
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
  json requests = json::array();
  for (const auto& one : of.requests) requests.push_back(form_of(one));
  return {{"url", of.to.text},
          {"service", static_cast<int>(of.to.what)},
          {"requests", requests},
          {"connections", of.connections},
          {"depth", of.depth},
          {"size", of.size},
          {"answer_size", of.answer_size},
          {"delimiter", of.delimiter},
          {"record_type", of.record_type},
          {"open", of.mode == loop::open},
          {"arrivals", static_cast<int>(of.arrivals)},
          {"rate", of.rate},
          {"burst", of.burst},
          {"instants", of.instants},
          {"window_ns", of.window.count()},
          {"warmup_ns", of.warmup ? json(of.warmup->count()) : json()},
          {"slice_ns", of.slice.count()},
          {"timeout_ns", of.timeout.count()},
          {"connect_timeout_ns", of.connect_timeout.count()},
          {"requests_per_connection", of.requests_per_connection},
          {"seed", of.seed},
          {"spins", of.spins},
          {"verify", of.verify},
          {"authorities", of.authorities}};
}

plan plan_from(const json& form) {
  plan out;
  out.to = parse_target(form.at("url").get<std::string>());
  out.to.what = static_cast<service>(form.at("service").get<int>());
  for (const auto& one : form.at("requests")) out.requests.push_back(request_from(one));
  form.at("connections").get_to(out.connections);
  form.at("depth").get_to(out.depth);
  form.at("size").get_to(out.size);
  form.at("answer_size").get_to(out.answer_size);
  form.at("delimiter").get_to(out.delimiter);
  form.at("record_type").get_to(out.record_type);
  out.mode = form.at("open").get<bool>() ? loop::open : loop::closed;
  out.arrivals = static_cast<arrival>(form.at("arrivals").get<int>());
  form.at("rate").get_to(out.rate);
  form.at("burst").get_to(out.burst);
  form.at("instants").get_to(out.instants);
  out.window = ns_of(form, "window_ns");
  if (!form.at("warmup_ns").is_null()) out.warmup = ns_of(form, "warmup_ns");
  out.slice = ns_of(form, "slice_ns");
  out.timeout = ns_of(form, "timeout_ns");
  out.connect_timeout = ns_of(form, "connect_timeout_ns");
  form.at("requests_per_connection").get_to(out.requests_per_connection);
  form.at("seed").get_to(out.seed);
  form.at("spins").get_to(out.spins);
  form.at("verify").get_to(out.verify);
  form.at("authorities").get_to(out.authorities);
  check(out);
  return out;
}

json form_of(const outcome& of) {
  json slices = json::array();
  for (const auto& one : of.slices) slices.push_back(form_of(one));
  return {{"seconds", of.seconds},
          {"scheduled", of.scheduled},
          {"answers", of.answers},
          {"sent_bytes", of.sent_bytes},
          {"received_bytes", of.received_bytes},
          {"latency", counts_of(of.latency)},
          {"service", counts_of(of.service)},
          {"lateness", counts_of(of.lateness)},
          {"errors", of.errors},
          {"unfinished", of.unfinished},
          {"connects", of.connects},
          {"longest_silence_ns", of.longest_silence_ns},
          {"silences_ns", of.silences_ns},
          {"always_behind", of.always_behind},
          {"busy", of.busy},
          {"cpu_s", of.cpu_s},
          {"warmup_s", of.warmup_s},
          {"steady", of.steady},
          {"failure", of.failure},
          {"slices", slices},
          {"steal", of.machine.steal},
          {"others", of.machine.others},
          {"throttles", of.machine.throttles},
          {"clock_steps", of.machine.clock_steps},
          {"largest_step_ns", of.machine.largest_step_ns}};
}

outcome outcome_from(const json& form) {
  outcome out;
  form.at("seconds").get_to(out.seconds);
  form.at("scheduled").get_to(out.scheduled);
  form.at("answers").get_to(out.answers);
  form.at("sent_bytes").get_to(out.sent_bytes);
  form.at("received_bytes").get_to(out.received_bytes);
  read_counts(form.at("latency"), out.latency);
  read_counts(form.at("service"), out.service);
  read_counts(form.at("lateness"), out.lateness);
  form.at("errors").get_to(out.errors);
  form.at("unfinished").get_to(out.unfinished);
  form.at("connects").get_to(out.connects);
  form.at("longest_silence_ns").get_to(out.longest_silence_ns);
  form.at("silences_ns").get_to(out.silences_ns);
  form.at("always_behind").get_to(out.always_behind);
  form.at("busy").get_to(out.busy);
  form.at("cpu_s").get_to(out.cpu_s);
  form.at("warmup_s").get_to(out.warmup_s);
  form.at("steady").get_to(out.steady);
  form.at("failure").get_to(out.failure);
  for (const auto& one : form.at("slices")) out.slices.push_back(slice_from(one));
  form.at("steal").get_to(out.machine.steal);
  form.at("others").get_to(out.machine.others);
  form.at("throttles").get_to(out.machine.throttles);
  form.at("clock_steps").get_to(out.machine.clock_steps);
  form.at("largest_step_ns").get_to(out.machine.largest_step_ns);
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

// What two programs of a load say to each other: plans and outcomes as JSON, one text to a line,
// and how a plan is cut into parts. Pure; what comes is checked here.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "histogram.hpp"
#include "load/outcome.hpp"
#include "load/plan.hpp"

namespace weir::load {

inline constexpr int agent_version = 1;

/// [[ns, count], ...], rising.
nlohmann::json counts_of(const bench::latency_histogram& of);

nlohmann::json form_of(const plan& of);
nlohmann::json form_of(const outcome& of);
/// Throw nlohmann::json::exception or std::invalid_argument for what is none.
plan plan_from(const nlohmann::json& form);
outcome outcome_from(const nlohmann::json& form);

/// What the `index`-th of `parts` loads does: its connections, its share of the rate, arrivals of
/// its own. A recorded schedule is dealt out in turn. Parts beyond the connections have none.
plan part_of(const plan& whole, unsigned index, unsigned parts);

}  // namespace weir::load

// The loads beside echo, each one thread on the client's side: bulk data, short connections, HTTP.
// Like run_load, none throws for what the server does: `error` says what did not hold.
#pragma once

#include <vector>

#include "load.hpp"
#include "scenario.hpp"

namespace weir::bench {

/// Data as fast as it goes: into the first target (discard), out of the other (chargen; RFC 864,
/// whose pattern is looked for in each chunk). A request of `result` is 1 MB, as the receiver has
/// got it.
load_result run_bulk(const load_settings& settings, scenario kind,
                     const std::vector<endpoint>& targets, const load_hooks& hooks);

/// `connections` at a time are opened, asked once where `with_request` says so, and closed in good
/// order, our side first; a latency is that of the whole life.
load_result run_connect(const load_settings& settings, bool with_request, const load_hooks& hooks);

/// GET /plaintext on `connections`, `depth` in flight on each; every answer has to be a complete
/// 200.
load_result run_http(const load_settings& settings, const load_hooks& hooks);

/// The same by wrk, on `cpu`: its counts and its percentiles (50, 75, 90, 99), in whole seconds.
load_result run_wrk(const load_settings& settings, int cpu, const load_hooks& hooks);

}  // namespace weir::bench

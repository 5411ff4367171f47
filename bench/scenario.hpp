// What a server can be put under: which services it has to offer for it, and the names on the
// command line. Pure data.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace weir::bench {

enum class scenario : std::uint8_t {
  echo,             // requests of one size, each compared when it comes back
  bulk_in,          // one-way data into discard
  bulk_out,         // one-way data out of chargen
  bulk_both,        // both at once, on connections of their own
  connect,          // connect, close; over and over
  connect_request,  // connect, one request and its echo, close
  http,             // GET /plaintext, kept alive
  http_wrk          // the same, driven by wrk
};

struct scenario_description {
  scenario kind;
  std::string_view name;
  std::string_view text;
};

inline constexpr std::array<scenario_description, 8> scenarios{{
    {scenario::echo, "echo", "requests of one size, each compared when it comes back"},
    {scenario::bulk_in, "bulk-in", "data one way, into discard"},
    {scenario::bulk_out, "bulk-out", "data one way, out of chargen"},
    {scenario::bulk_both, "bulk-both", "both at once, half of the connections each"},
    {scenario::connect, "connect", "connections that are opened and closed"},
    {scenario::connect_request, "connect-request", "the same with one request in between"},
    {scenario::http, "http", "GET /plaintext on connections that are kept"},
    {scenario::http_wrk, "http-wrk", "the same, driven by wrk (which must be installed)"},
}};

/// What the server must listen for: names as in its `listening NAME ADDR:PORT` lines.
inline std::vector<std::string_view> services_of(scenario kind) {
  switch (kind) {
    case scenario::bulk_in: return {"discard"};
    case scenario::bulk_out: return {"chargen"};
    case scenario::bulk_both: return {"discard", "chargen"};
    case scenario::http:
    case scenario::http_wrk: return {"http"};
    case scenario::echo:
    case scenario::connect:
    case scenario::connect_request: break;
  }
  return {"echo"};
}

/// Where ports must not be waited for: TIME_WAIT can be switched off in a network of our own.
inline bool wants_private_network(scenario kind) {
  return kind == scenario::connect || kind == scenario::connect_request;
}

inline bool is_bulk(scenario kind) {
  return kind == scenario::bulk_in || kind == scenario::bulk_out || kind == scenario::bulk_both;
}

}  // namespace weir::bench

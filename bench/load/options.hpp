// The options of `weir-bench load` as a user writes them, and the plans that they mean.
#pragma once

#include <string>
#include <vector>

#include "load/judgement.hpp"
#include "load/plan.hpp"
#include "load/report.hpp"
#include "load/runner.hpp"

namespace weir::load {

struct options {
  std::vector<std::string> urls;
  unsigned connections = 1;
  unsigned depth = 0;  // 0: 1, and 1000 for datagrams of an open loop
  std::size_t size = 64;
  double rate = 0;
  std::string arrivals = "poisson";
  unsigned burst = 10;
  std::string replay;
  double duration_s = 10;
  std::string warmup = "auto";
  double timeout_s = 5;
  unsigned requests_per_connection = 0;
  bool no_keep_alive = false;

  std::string service;
  std::string method = "GET";
  std::vector<std::string> headers;
  std::string body, body_file;
  std::string command = "PING";
  std::string record_type = "A";
  std::size_t answer_size = 0;
  std::string delimiter;
  double think_ms = 0;
  std::string mix;
  bool insecure = false;
  std::string authorities;

  std::string backend = "auto";
  unsigned shards = 1;
  bool pin = false;
  bool spin = false;
  std::vector<std::string> keys;  // KEY=VALUE of weir's configuration
  unsigned rounds = 1;
  std::vector<int> pids;             // one for all targets, or one for each
  std::vector<std::string> cgroups;  // the same
  std::vector<std::string> agents;
  std::string server_agent;
  std::uint64_t seed = 1;

  std::string json_file, csv_file, hdr_file, prometheus_file, page_file;
  std::string baseline;
  bool live = false, quiet = false, anyway = false, markdown = false;
  double max_errors = 1;  // percent
};

/// Throws std::invalid_argument for what cannot be.
plan plan_of(const options& o, const std::string& url);
/// Of each URL, with the server that is watched beside it.
std::vector<plan> plans_of(const options& o);
run_settings settings_of(const options& o);
/// From words of weir's configuration, as run_settings has them.
run_settings settings_from(std::vector<std::string> words);
tolerances tolerances_of(const options& o);

/// Requests of a file: a JSON array of {"weight", "method", "path", "headers", "body", "command",
/// "think_ms"}. Throws std::invalid_argument.
std::vector<request> read_mix(const std::string& path, const request& usual);
/// A line each: seconds from the start, rising. Throws std::invalid_argument.
std::vector<std::uint64_t> read_instants(const std::string& path);

}  // namespace weir::load

// What a load is told to do: how many connections, what they ask, when, and for how long. Pure
// data; the command line fills it, the engine follows it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "load/target.hpp"
#include "weir/shard.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir::load {

/// One kind of request among several.
struct request {
  double weight = 1;           ///< how often, against the others
  duration think = {};         ///< closed loop: how long its connection waits after the answer
  std::string method = "GET";  ///< HTTP
  std::string path;            ///< HTTP; empty: the URL's
  std::vector<std::string> headers;  ///< HTTP: "Name: value"
  std::string body;                  ///< HTTP: content; else what is sent
  std::string command = "PING";      ///< redis: words; one in quotes may hold blanks
};

/// Whose CPU and memory are read: a process with all its threads, or a cgroup (version 2).
struct watched_server {
  pid_t pid = 0;       ///< 0: none
  std::string cgroup;  ///< its path below /sys/fs/cgroup
  bool any() const { return pid > 0 || !cgroup.empty(); }
};

enum class loop : std::uint8_t { closed, open };
enum class arrival : std::uint8_t { constant, poisson, bursts, recorded };

struct plan {
  target to;
  std::vector<request> requests;  ///< one at least
  unsigned connections = 1;
  unsigned depth = 1;             ///< requests in flight on a connection
  std::size_t size = 64;          ///< bytes of an echo's request
  std::size_t answer_size = 0;    ///< exchange: bytes of an answer
  std::string delimiter;          ///< exchange: an answer's last bytes, where it has no size
  std::string record_type = "A";  ///< dns

  loop mode = loop::closed;
  arrival arrivals = arrival::poisson;
  double rate = 0;                      ///< open loop: requests a second, of all connections
  unsigned burst = 1;                   ///< arrivals `bursts`: requests that are due at one instant
  std::vector<std::uint64_t> instants;  ///< arrivals `recorded`: ns from the start, rising

  duration window = std::chrono::seconds(10);
  std::optional<duration> warmup = {};         ///< unset: until the rate stands still, at most 10 s
  duration slice = std::chrono::seconds(1);    ///< of the time line
  duration timeout = std::chrono::seconds(5);  ///< a later answer is an error
  duration connect_timeout = std::chrono::seconds(10);
  unsigned requests_per_connection = 0;  ///< then it is closed and opened anew; 0: kept
  std::uint64_t seed = 1;
  bool spins = false;  ///< the shard does not sleep: short waits are made by turning

  /// In place of connecting and securing: for tests.
  std::function<task<any_stream>(shard&)> connect = {};
  bool verify = true;  ///< TLS: chain and name
  std::string authorities;
  watched_server server = {};  ///< whose CPU is read

  /// Whether a request may be written by the one who reads the answers: all that can be in flight
  /// fits into a socket's buffers, so that the server never waits for us to read first.
  bool writes_fit() const {
    constexpr std::size_t fits = 16 * 1024;
    return size * depth <= fits && body_bytes() * depth <= fits;
  }
  std::size_t body_bytes() const {
    std::size_t most = 0;
    for (const auto& one : requests)
      if (one.body.size() > most) most = one.body.size();
    return most;
  }
};

}  // namespace weir::load
